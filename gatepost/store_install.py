"""``gatepost store install-statement``: a log statement that several people signed takes effect.

Owns: the command line. Refuses: drafting it (``store_reopen.py``) and signing it
(``keys_sign.py``).
"""

from __future__ import annotations

from pathlib import Path

import click

from gatepost.signed_file import read_envelope
from gatepost.store_place import with_store
from gatepost.store_reopen import tell


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    required=True,
    help="The central services' configuration.",
)
@click.option("--who", help="Stands in the store's record of this act; else who runs the command.")
@click.option("--json", "as_json", is_flag=True)
def install_statement(file: Path, path: Path, who: str | None, as_json: bool) -> None:
    """Close a log and open the next, as the signed log statement in FILE says."""
    envelope = read_envelope(file)
    tell(with_store(path, lambda store: store.install(envelope, who)), as_json=as_json)
