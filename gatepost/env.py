"""``gatepost env``: the variables that point an agent's SDKs at a running Gatepost.

Owns: the mapping from a daemon's listeners and routes to the variables that SDKs read. Refuses:
keys; the placeholder that an SDK insists on is not one.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final

import click
import msgspec

from gatepost.faults import InputOutputError
from gateway.errors import ConfigInvalid
from sidecar.config import SidecarConfig, parse

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


def variables(config: SidecarConfig, port: int | None = None) -> dict[str, str]:
    """Variable → value for every provider route. ``port``: the bound one, if it was 0."""
    found: dict[str, str] = {}
    if not config.listen.tcp:
        return found
    chosen = config.listen.tcp_port if port is None else port
    base = f"http://127.0.0.1:{chosen}"
    for route in config.routes:
        for name, suffix in _BASE_URLS.get(route.protocol, ()):
            found.setdefault(name, f"{base}{route.prefix}{suffix}")
        key = _KEYS.get(route.protocol)
        if key is not None:
            # SDKs refuse to start without a key; it is dropped, the company's is used.
            found.setdefault(key, _PLACEHOLDER)
    found["NO_PROXY"] = _NO_PROXY
    found["no_proxy"] = _NO_PROXY
    return found


@click.command()
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    default=Path(".gatepost/sidecar.toml"),
    show_default=True,
    help="The daemon's configuration.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of shell lines.")
def env(path: Path, as_json: bool) -> None:
    """Print the variables that point an agent at Gatepost: eval "$(gatepost env)"."""
    try:
        config = parse(path.read_text(), str(path))
    except OSError as error:
        raise InputOutputError(
            f"{path}: {error.strerror}; start `gatepost up`, or name a file with --config"
        ) from error
    except ConfigInvalid as error:
        raise InputOutputError(str(error)) from error
    found = variables(config)
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    for name, value in found.items():
        click.echo(f"export {name}={shlex.quote(value)}")
