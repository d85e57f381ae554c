"""``gatepost env``: the variables that point an agent's SDKs at a running Gatepost.

Owns: the mapping from a daemon's listeners and routes to the variables that SDKs read. Refuses:
keys; the placeholder that an SDK insists on is not one.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click
import msgspec

from gatepost import config_file
from gatepost.admin_socket import ask_status
from gatepost.faults import InputOutputError
from sidecar.callers import TCP_LISTENER
from sidecar.config import SidecarConfig

_PLACEHOLDER: Final = "held-by-gatepost"
_NO_PROXY: Final = "127.0.0.1,localhost,::1"

_BASE_URLS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "openai": (("OPENAI_BASE_URL", "/v1"),),
    "anthropic": (("ANTHROPIC_BASE_URL", ""),),
    "gemini": (("GOOGLE_GEMINI_BASE_URL", ""),),
    "bedrock": (("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", ""),),
}
_KEYS: Final[dict[str, str]] = {
    "openai": "OPENAI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
    "gemini": "GEMINI_API_KEY",
}


def variables(config: SidecarConfig, port: int) -> dict[str, str]:
    """Variable → value for every provider route. ``port``: where loopback calls are taken."""
    found: dict[str, str] = {}
    base = f"http://127.0.0.1:{port}"
    for route in config.routes:
        for name, suffix in _BASE_URLS.get(route.protocol, ()):
            found.setdefault(name, f"{base}{route.prefix}{suffix}")
        key = _KEYS.get(route.protocol)
        if key is not None:
            # SDKs refuse to start without a key; it is dropped, the company's is used.
            found.setdefault(key, _PLACEHOLDER)
    found["NO_PROXY"] = found["no_proxy"] = _NO_PROXY
    return found


def _beside(found: dict[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """``found``, with what the environment already keeps away from its proxy."""
    kept = environment.get("NO_PROXY") or environment.get("no_proxy") or ""
    hosts = [*kept.split(","), *_NO_PROXY.split(",")]
    joined = ",".join(dict.fromkeys(host.strip() for host in hosts if host.strip()))
    return {**found, "NO_PROXY": joined, "no_proxy": joined}


def _bound_port(config: SidecarConfig) -> int:
    """The port of loopback calls; where the daemon picks one, the running daemon is asked."""
    if config.listen.tcp_port:
        return config.listen.tcp_port
    for listener in ask_status(config.listen.admin_socket).listeners:
        if listener.name == TCP_LISTENER:
            return int(listener.address.rpartition(":")[2])
    raise InputOutputError("the daemon does not listen on loopback yet; try again")


@click.command()
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    default=config_file.DEFAULT,
    show_default=True,
    help="The daemon's configuration.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of shell lines.")
def env(path: Path, as_json: bool) -> None:
    """Print the variables that point an agent at Gatepost: eval "$(gatepost env)"."""
    config = config_file.load(path)
    if not config.listen.tcp:
        raise InputOutputError(
            f"{path}: listen.tcp is false, and no variable leads an SDK to a Unix socket; "
            "give its HTTP client the socket path"
        )
    found = _beside(variables(config, _bound_port(config)), os.environ)
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    for name, value in found.items():
        click.echo(f"export {name}={shlex.quote(value)}")
