"""``gatepost central`` and ``gatepost issuer``: the central services, together or apart.

Owns: the command lines. Refuses: everything else; ``central.app`` is the composition root.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from gateway.errors import ConfigInvalid

if TYPE_CHECKING:
    from central.config import ServiceName

_EXIT_CONFIGURATION = 78

_config = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    required=True,
    help="The services' TOML configuration.",
)


@click.command()
@_config
def central(path: Path) -> None:
    """Run the central services until SIGTERM; `services` in the file says which."""
    _run(path, None)


@click.command()
@_config
def issuer(path: Path) -> None:
    """Run the issuer alone until SIGTERM, on port 4145; it must not hold the log's key."""
    _run(path, "issuer")


def _run(path: Path, only: ServiceName | None) -> None:
    from central import app  # needs the extra [central]
    from central.config import load

    try:
        config = load(str(path), only)
        app.serve(config, started=lambda url: _announce(url, one_operator=config.one_operator))
    except ConfigInvalid as error:
        click.echo(f"gatepost {only or 'central'}: {error}", err=True)
        raise SystemExit(_EXIT_CONFIGURATION) from error


def _announce(url: str, *, one_operator: bool) -> None:
    line = msgspec.json.encode({"url": url, "one_operator": one_operator})
    sys.stdout.write(line.decode() + "\n")
    sys.stdout.flush()
