"""``gatepost store backup``: a copy of the record store's database, while it runs.

Owns: the command line, progress and the summary. Refuses: the copy itself
(``central.record_store.backup``); no key is needed for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from gatepost.store_place import database_of, telling_faults
from gatepost.terminal import progress_bar

if TYPE_CHECKING:
    from central.record_store.backup import Manifest


@click.command()
@click.argument("dest", type=click.Path(path_type=Path))
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    required=True,
    help="The central services' configuration.",
)
@click.option("--json", "as_json", is_flag=True, help="The manifest as one JSON object.")
def backup(dest: Path, path: Path, as_json: bool) -> None:
    """Copy the record store's database into the new directory DEST, with a manifest.

    The store may run meanwhile. Exit 1: the database is damaged. 2: it could not be copied.
    """
    manifest = _backed_up(path, dest)
    if as_json:
        click.echo(msgspec.json.encode(manifest))
        return
    click.echo(f"{dest}: {manifest.bytes} bytes, sha256 {manifest.sha256}")
    for log in manifest.logs:
        click.echo(f"  {log.origin}: {log.size} leaves")
    click.echo(f"Check it where it is kept: gatepost store restore-check {dest}")


def _backed_up(path: Path, dest: Path) -> Manifest:
    from central.record_store.backup import back_up  # needs the extra [central]
    from gateway.io.clock import SystemClock

    with telling_faults(), progress_bar("copying") as shown:
        return back_up(database_of(path), str(dest), SystemClock().wall_us(), shown)
