"""The configuration of a simulated daemon, written as operators write it: TOML, read from a file.

Every world has its own directory with the files that a daemon reads from a real disk: keys of
providers, keys of the token issuer, compiled packs. Owns: the text and these files. Refuses:
building configuration in any other way than through ``sidecar.config.read``.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Final

from sidecar import config
from sidecar.config import SidecarConfig
from tests.sim.agent import STRANGER, UID
from tests.sim.central import ADDRESS, REGION, TENANT, root_document
from tests.sim.faulty import BODY_BYTES_MAX
from tests.sim.net import LOOPBACK
from tests.sim.policies import HOME_UPSTREAMS, ROUTE_ANSWERS_FIRST, SCOPE
from tests.sim.provider import COMPANY_KEY
from tests.sim.tokens import (
    AGENT,
    AUDIENCE,
    ISSUER,
    KEYLESS,
    LOCAL_TOKEN,
    REVOKED_PERSON,
    REVOKED_TOKEN,
)
from tests.sim.weather import AGENT_PORT, AGENT_SOCKET

SPOOL: Final = "/var/spool"
ADMIN: Final = "/run/gatepost/admin/admin.sock"
HOST_KEY: Final = "/etc/gatepost/host.key"
TOKEN: Final = "/etc/gatepost/token"
PROBE: Final = "0.0.0.0:4142"
SPOOL_BYTES_MAX: Final = 2 * 1024 * 1024
_LINGER_SECONDS: Final = 2.0
"""So long that a crash mostly finds records that are not in the store."""

_PSEUDONYM_KEY: Final = b"n" * 32
_STYLES: Final = ("bearer", "x-api-key", "x-goog-api-key", "api-key")
_TEXT: Final = f"""
tenant = "{TENANT}"
region = "{REGION}"
overhead_header = true

[listen]
tcp_port = {AGENT_PORT.rpartition(":")[2]}
tcp_hosts = ["localhost", "{LOOPBACK}"]
admin_socket = "{ADMIN}"

[[listen.unix]]
path = "{AGENT_SOCKET}"
agent = "{AGENT}"
uids = [{UID}]

[[listen.agents]]
uid = {UID}
agent = "{AGENT}"

[[listen.agents]]
uid = {STRANGER}
agent = "idle"

[central]
url = "http://{ADDRESS}"

[trust]
root_sha256 = "{root_document().digest}"

[spool]
directory = "{SPOOL}"
# Small segments, so that many are made and deleted.
segment_bytes = {256 * 1024}
spool_bytes_max = {SPOOL_BYTES_MAX}
spool_free_bytes_min = 0
ship_linger_seconds = {_LINGER_SECONDS}

[policy]
scope = "{SCOPE}"
directory = "/var/policy"

[identity]
audience = ["{AUDIENCE}"]
agents = [{{ id = "{AGENT}" }}, {{ id = "idle" }}]
tokens = [{{ agent = "{AGENT}", sha256 = "{hashlib.sha256(LOCAL_TOKEN.encode()).hexdigest()}" }}]
revoked = [
    {{ issuer = "people", token_id = "{REVOKED_TOKEN}" }},
    {{ issuer = "people", subject = "{REVOKED_PERSON}" }},
]
"""


def _issuer(name: str, issuer: str, jwks: Path) -> str:
    return f"""
[[identity.issuers]]
id = "{name}"
issuer = "{issuer}"
kind = "delegation"
algorithms = ["Ed25519"]
jwks_file = "{jwks}"
"""


def _upstream(name: str, host: str, style: str, region: str, path: str = "") -> str:
    return f"""
[[upstreams]]
name = "{name}"
url = "https://{host}.example{path}"
region = "{region}"
credential = "{style}"
"""


def _route(name: str, prefix: str, protocol: str, upstreams: str, more: str = "") -> str:
    pair = [f"{upstreams}-1", f"{upstreams}-2"]
    return f"""
[[routes]]
name = "{name}"
prefix = "{prefix}"
protocol = "{protocol}"
upstreams = {pair}
body_bytes_max = {BODY_BYTES_MAX}
first_byte_seconds_max = 30.0
stream_idle_seconds_max = 30.0
{more}
"""


def _calls() -> str:
    parts: list[str] = []
    for name, style in (
        ("openai", "bearer"),
        ("claude", "x-api-key"),
        ("google", "x-goog-api-key"),
    ):
        for number, region in ((1, HOME_UPSTREAMS), (2, "eu")):
            parts.append(_upstream(f"{name}-{number}", f"llm-{number}", style, region))
    for number in (1, 2):
        parts.append(_upstream(f"tools-{number}", f"tools-{number}", "api-key", "local"))
        parts.append(_upstream(f"ledger-{number}", f"tools-{number}", "bearer", "local", "/ledger"))
    parts += [
        _route("openai", "/openai", "openai", "openai"),
        _route(ROUTE_ANSWERS_FIRST, "/quick", "openai", "openai"),
        _route("anthropic", "/anthropic", "anthropic", "claude"),
        _route("gemini", "/gemini", "gemini", "google"),
        _route("bedrock", "/bedrock", "bedrock", "openai"),
        _route("orders", "/mcp/orders", "mcp", "tools", 'server = "orders"'),
        _route("ledger", "/tool/ledger", "http", "ledger", 'server = "ledger"'),
        _route("files", "/files", "openai", "openai", "opaque_upload = true"),
    ]
    return "".join(parts)


def write(directory: Path, packs: Path, *, one_time: bool) -> SidecarConfig:
    """The configuration of one world, written to ``directory`` and read from there.

    ``packs``: where compiled packs are kept; ``one_time``: whether the first enrolment is by a
    one-time token, which registers a host key of the daemon's own.
    """
    parts = [_TEXT, f"[enrolment]\nhost_key_file = '{HOST_KEY}'\n"]
    if one_time:
        parts.append(f"one_time_token_file = '{TOKEN}'\n")
    pseudonyms = directory / "pseudonyms.key"
    pseudonyms.write_bytes(base64.b64encode(_PSEUDONYM_KEY))
    pseudonyms.chmod(0o600)
    parts.append(f"[pseudonyms]\nkey_file = '{pseudonyms}'\n")
    parts.append(f"[classification]\ncache_directory = '{packs}'\n")
    for style in _STYLES:
        file = directory / f"{style}.credential"
        file.write_text(f"{COMPANY_KEY}\n")
        file.chmod(0o600)
        parts.append(f'\n[[credentials]]\nid = "{style}"\nfile = "{file}"\nstyle = "{style}"\n')
    parts.append(_issuer("people", ISSUER, jwks_file(directory)))
    parts.append(_issuer("keyless", KEYLESS, directory / "missing.json"))
    path = directory / "sidecar.toml"
    path.write_text("".join([*parts, _calls()]))
    return config.read(str(path))


def jwks_file(directory: Path) -> Path:
    """Where the token issuer's keys are."""
    return directory / "jwks.json"
