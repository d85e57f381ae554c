"""A whole system on one machine: central services, far ends, daemon, in the right order.

Owns: writing the two configurations of a development home, starting the processes and
publishing the policy. Refuses: what the processes do, and running where a port is taken.
"""

from __future__ import annotations

import os
import urllib.request
from pathlib import Path
from typing import Final

import msgspec

from gatepost.central_client import CentralClient
from gatepost.faults import InputOutputError
from gatepost.home import REGION, SCOPE, TENANT, Home, toml_text
from gatepost.process import Child, Children
from gateway.ports import WallClock

AGENT: Final = "demo-agent"
AUDIENCE: Final = "gatepost"
ISSUER: Final = "https://idp.example"
FAR_END_KEY: Final = "sk-company-key-of-the-far-end"
_POLICY_PATH: Final = f"/v1/policy/{SCOPE.replace('/', '%2F')}"

_CENTRAL: Final = """\
data_directory = {data}
roots_directory = {roots}
root_fingerprint = "{root}"
port = {port}

[[tenants]]
name = "{tenant}"
regions = ["{region}"]
scope = "{scope}"

[keys]
issuer = {issuer}
log = {log}
policy_head = {policy_head}
digest_wrap = {digest_wrap}

[policy]
resign_seconds = 30
# One person works on this machine: there is nobody else to approve what widens access.
widening_needs_approval = false

[[one_time_tokens]]
name = "this-machine"
tenant = "{tenant}"
region = "{region}"
sha256 = "{one_time_sha256}"

[[people]]
name = "operator"
tenant = "{tenant}"
role = "admin"
sha256 = "{operator_sha256}"

[[people]]
name = "auditor"
tenant = "{tenant}"
role = "auditor"
sha256 = "{auditor_sha256}"
"""

_SIDECAR: Final = """\
# Written by `gatepost up`; delete the directory to begin anew.
tenant = "{tenant}"
region = "{region}"

[central]
url = "{central}"

[trust]
root_sha256 = "{root}"

[enrolment]
host_key_file = {host_key}
one_time_token_file = {one_time}

[policy]
scope = "{scope}"
directory = {policy}
refresh_seconds_min = {refresh_min}
refresh_seconds_max = {refresh_max}

[spool]
directory = {spool}
spool_bytes_max = 67108864

[classification]
cache_directory = {cache}

[listen]
tcp_port = {tcp_port}
admin_socket = {admin}
probe_host = "127.0.0.1"
probe_port = {probe_port}
allow_uid_0 = {uid_0}

[[listen.unix]]
path = {agent_socket}
agent = "{agent}"

[[listen.agents]]
uid = {uid}
agent = "{agent}"

[identity]
{identity}
[[identity.agents]]
id = "{agent}"

[upstream_access]
allowed_private_hosts = ["127.0.0.1"]

[[credentials]]
id = "openai"
file = {openai_key}
style = "bearer"

[[credentials]]
id = "anthropic"
file = {anthropic_key}
style = "x-api-key"

[[upstreams]]
name = "openai"
url = "{openai_url}"
region = "us"
credential = "openai"

[[upstreams]]
name = "anthropic"
url = "{anthropic_url}"
region = "us"
credential = "anthropic"

[[upstreams]]
name = "orders"
url = "{tools_url}"
region = "local"

[[routes]]
name = "openai"
prefix = "/openai"
protocol = "openai"
upstreams = ["openai"]

[[routes]]
name = "anthropic"
prefix = "/anthropic"
protocol = "anthropic"
upstreams = ["anthropic"]

[[routes]]
name = "orders"
prefix = "/mcp/orders"
protocol = "mcp"
server = "orders"
upstreams = ["orders"]
"""

_IDENTITY: Final = """\
audience = ["{audience}"]
[[identity.issuers]]
id = "idp"
issuer = "{issuer}"
kind = "delegation"
jwks_file = {jwks}
algorithms = ["Ed25519"]
typ = ["JWT"]
"""


_OPENER: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Loopback is never behind a proxy, whatever the environment says."""


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """Ports to listen on; 0 picks a free one."""

    central: int = 0
    tcp: int = 0
    probe: int = 0


class Refresh(msgspec.Struct, frozen=True):
    """How often the daemon asks for policy, in seconds."""

    seconds_min: float = 30.0
    seconds_max: float = 60.0


class _Counts(msgspec.Struct):
    total: int
    by_path: dict[str, int]


class _Entry(msgspec.Struct):
    version: int


class FarEnd(msgspec.Struct, frozen=True, kw_only=True):
    """A process at the other end that counts what reaches it."""

    child: Child
    url: str
    token: str

    def counts(self) -> dict[str, int]:
        """``<path>`` or ``tool:<name>`` → how often. Raises InputOutputError."""
        request = urllib.request.Request(  # noqa: S310 - our own loopback address
            f"{self.url}/_count", headers={"x-far-end-token": self.token}
        )
        try:
            with _OPENER.open(request, timeout=5) as answer:
                return msgspec.json.decode(answer.read(), type=_Counts).by_path
        except OSError as error:
            raise InputOutputError(f"{self.url}: {error}") from error


class Daemon(msgspec.Struct, frozen=True, kw_only=True):
    """A running daemon and what it announced."""

    child: Child
    instance: str
    tcp_port: int
    probe_port: int


def write_central(home: Home, port: int) -> None:
    """Write the configuration of the central services; port 0 picks a free one."""
    home.central_toml.write_text(
        _CENTRAL.format(
            data=toml_text(home.directory / "central"),
            roots=toml_text(home.roots),
            root=home.root_fingerprint,
            port=port,
            tenant=TENANT,
            region=REGION,
            scope=SCOPE,
            issuer=toml_text(home.key_file("issuer")),
            log=toml_text(home.key_file("log")),
            policy_head=toml_text(home.key_file("policy_head")),
            digest_wrap=toml_text(home.key_file("digest_wrap")),
            one_time_sha256=home.token_sha256(home.one_time_token),
            operator_sha256=home.token_sha256(home.operator_token),
            auditor_sha256=home.token_sha256(home.auditor_token),
        )
    )


def start_central(children: Children, home: Home, port: int) -> str:
    """Configure and start the central services; returns their URL. Raises StartFailed."""
    write_central(home, port)
    return str(run_central(children, home).wait_ready()["url"])


def run_central(children: Children, home: Home) -> Child:
    """Start the central services of ``home.central_toml``; they announce their ``url``."""
    return children.start("central", "gatepost", ["central", "--config", str(home.central_toml)])


def start_far_end(children: Children, name: str, arguments: list[str]) -> FarEnd:
    """Start ``gatepost.far_end.<name>``. Raises StartFailed."""
    child = children.start(name, f"gatepost.far_end.{name}", ["--port", "0", *arguments])
    announced = child.wait_ready()
    return FarEnd(
        child=child,
        url=f"http://127.0.0.1:{announced['port']}",
        token=str(announced["token"]),
    )


def start_daemon(children: Children, home: Home) -> Daemon:
    """Start the daemon of ``home.sidecar_toml``. Raises StartFailed."""
    child = children.start("sidecar", "gatepost", ["run", "--config", str(home.sidecar_toml)])
    announced = child.wait_ready()
    tcp_port, probe_port = announced["tcp_port"], announced["probe_port"]
    assert isinstance(tcp_port, int)
    assert isinstance(probe_port, int)
    return Daemon(
        child=child,
        instance=str(announced["instance"]),
        tcp_port=tcp_port,
        probe_port=probe_port,
    )


class Upstreams(msgspec.Struct, frozen=True, kw_only=True):
    """Where the daemon sends calls, and the files of the keys it sends with them."""

    openai_url: str
    openai_key: Path
    anthropic_url: str
    anthropic_key: Path
    tools_url: str


def write_sidecar(
    home: Home,
    central: str,
    upstreams: Upstreams,
    ports: Ports,
    refresh: Refresh,
    jwks: Path | None = None,
) -> None:
    """Write the daemon's configuration."""
    uid = os.getuid()
    identity = (
        ""
        if jwks is None
        else _IDENTITY.format(audience=AUDIENCE, issuer=ISSUER, jwks=toml_text(jwks))
    )
    text = _SIDECAR.format(
        tenant=TENANT,
        region=REGION,
        central=central,
        root=home.root_fingerprint,
        host_key=toml_text(home.host_key),
        one_time=toml_text(home.one_time_token),
        scope=SCOPE,
        policy=toml_text(home.directory / "policy"),
        refresh_min=refresh.seconds_min,
        refresh_max=refresh.seconds_max,
        spool=toml_text(home.directory / "spool"),
        cache=toml_text(home.directory / "cache"),
        tcp_port=ports.tcp,
        admin=toml_text(home.admin_socket),
        probe_port=ports.probe,
        uid_0="true" if uid == 0 else "false",
        agent_socket=toml_text(home.agent_socket),
        agent=AGENT,
        uid=uid,
        identity=identity,
        openai_key=toml_text(upstreams.openai_key),
        anthropic_key=toml_text(upstreams.anthropic_key),
        openai_url=upstreams.openai_url,
        anthropic_url=upstreams.anthropic_url,
        tools_url=upstreams.tools_url,
    )
    home.sidecar_toml.write_text(text)


def publish(home: Home, central: str, version: int, clock: WallClock) -> str:
    """Sign the home's policy as ``version`` and publish it; returns its digest.

    Raises InputOutputError for a policy that no daemon would take, and with the service's own
    words if it refuses.
    """
    issued = home.bundle(version, clock.wall_us())
    operator(home, central).post(f"{_POLICY_PATH}/bundles", issued.envelope)
    return issued.digest


def newest_version(home: Home, central: str) -> int:
    """The newest version that was ever published here, 0 for none. Raises InputOutputError."""
    log = operator(home, central).get(f"{_POLICY_PATH}/log")
    return max((entry.version for entry in msgspec.json.decode(log, type=list[_Entry])), default=0)


def operator(home: Home, central: str) -> CentralClient:
    """A client of the central services that holds the home's operator token."""
    return CentralClient(central, home.operator_token.read_text().strip())
