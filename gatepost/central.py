"""``gatepost central``: policy service, issuer and record store, together or apart.

Owns: the command line. Refuses: everything else; ``central.app`` is the composition root.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from gateway.errors import ConfigInvalid

_EXIT_CONFIGURATION = 78


@click.command()
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    required=True,
    help="The services' TOML configuration.",
)
def central(path: Path) -> None:
    """Run the central services until SIGTERM; `services` in the file says which."""
    from central import app  # needs the extra [central]
    from central.config import load

    try:
        app.serve(load(str(path)), started=_announce)
    except ConfigInvalid as error:
        click.echo(f"gatepost central: {error}", err=True)
        raise SystemExit(_EXIT_CONFIGURATION) from error


def _announce(url: str) -> None:
    sys.stdout.write(msgspec.json.encode({"url": url}).decode() + "\n")
    sys.stdout.flush()
