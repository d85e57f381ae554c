"""The configuration of a pod's daemon: the file of ``k8s/base``, for the services of a test.

Owns: which of its values name a place outside the pod, and an upstream over IPv6 beside its own.
Refuses: touching what is decided there, listeners and users above all.
"""

from __future__ import annotations

import tomllib
from typing import Final

from gatepost.home import REGION, SCOPE
from tests.integration.system import replaced
from tests.system.container import ROOT

_TEXT: Final = (ROOT / "k8s" / "base" / "sidecar.toml").read_text()
_SETTINGS: Final = tomllib.loads(_TEXT)

CALL_PORT: Final[int] = _SETTINGS["listen"]["tcp_port"]
PROBE_PORT: Final[int] = _SETTINGS["listen"]["probe_port"]
AGENT_ID: Final[str] = _SETTINGS["listen"]["agents"][0]["agent"]

_TOKEN: Final = 'service_account_token_file = "/var/run/secrets/gatepost/token"\n'
_HOST_KEY: Final = """\
host_key_file = "/var/lib/gatepost/host.key"
one_time_token_file = "/var/run/secrets/gatepost/token"
worker = 0
"""

_OVER_IPV6: Final = """
[upstream_access]
allowed_private_hosts = ["{host}", "{host6}"]

[[upstreams]]
name = "openai6"
url = "http://[{host6}]:{port6}"
region = "eu"
credential = "openai"

[[routes]]
name = "openai6"
prefix = "/openai6"
protocol = "openai"
upstreams = ["openai6"]
"""


def config_text(*, central: str, root: str, provider: str, provider6: str) -> str:
    """The configuration; ``central`` is a URL, ``provider`` and ``provider6`` are ``host,port``."""
    host, _, port = provider.rpartition(",")
    host6, _, port6 = provider6.rpartition(",")
    own = ("issuer_url = ", "ca_file = ")
    lines = [line for line in _TEXT.splitlines(keepends=True) if not line.startswith(own)]
    text = "".join(lines)
    assert _TOKEN in text
    text = replaced(
        region=f'"{REGION}"',
        root_sha256=f'"{root}"',
        # The box's own keys lie on one disk.
        require_offline_root="false",
        scope=f'"{SCOPE}"',
    )(text)
    text = text.replace(_TOKEN, _HOST_KEY)
    text = text.replace(_SETTINGS["central"]["url"], central)
    text = text.replace(_SETTINGS["upstreams"][0]["url"], f"http://{host}:{port}")
    return text + _OVER_IPV6.format(host=host, host6=host6, port6=port6)
