"""``gatepost witness``: cosign the checkpoints of logs that others keep.

Owns: the command line. Refuses: everything else; ``central.witness.app`` is the composition root.
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
    help="The witness's TOML configuration.",
)
def witness(path: Path) -> None:
    """Run a witness (C2SP tlog-witness) until SIGTERM.

    It prints its URL and its verifier key, which the operators of logs and their auditors need.
    """
    from central.witness import app  # needs the extra [central]
    from central.witness.config import load

    try:
        app.serve(load(str(path)), started=_announce)
    except ConfigInvalid as error:
        click.echo(f"gatepost witness: {error}", err=True)
        raise SystemExit(_EXIT_CONFIGURATION) from error


def _announce(url: str, key: str) -> None:
    sys.stdout.write(msgspec.json.encode({"url": url, "key": key}).decode() + "\n")
    sys.stdout.flush()
