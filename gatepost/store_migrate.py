"""``gatepost store migrate``: bring a record store's database to this version, offline.

Owns: the command line, progress and the summary. Refuses: the migration itself
(``central.record_store.migration``); no key is needed for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from gatepost.store_place import database_of, telling_faults
from gatepost.terminal import progress_bar

if TYPE_CHECKING:
    from central.record_store.migration import Migration


@click.command()
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    required=True,
    help="The central services' configuration.",
)
@click.option("--check", is_flag=True, help="Only say what there is to do.")
@click.option("--copy", type=click.Path(path_type=Path), help="Where the copy goes; a new file.")
@click.option("--no-copy", is_flag=True, help="Make no copy before.")
@click.option("--json", "as_json", is_flag=True)
def migrate(path: Path, check: bool, copy: Path | None, no_copy: bool, as_json: bool) -> None:
    """Bring the record store's database to this version, while the store is stopped.

    A copy is made before, beside it unless --copy names another place. The store would do the same
    when it starts, without a copy. Exit 1: the database is damaged. 2: it could not be done.
    """
    if no_copy and copy is not None:
        raise click.UsageError("--copy and --no-copy contradict each other")
    done = _looked(path) if check else _migrated(path, copy, no_copy=no_copy)
    if as_json:
        click.echo(msgspec.json.encode(done))
        return
    if done.found == done.version:
        click.echo(f"{done.database} has schema {done.version}: nothing to do")
        return
    to_do = "to be migrated" if check else "migrated"
    click.echo(f"{done.database}: schema {done.found} → {done.version}, {to_do}")
    if done.copy is not None:
        click.echo(f"as it was: {done.copy}; remove it when the store runs well")


def _looked(path: Path) -> Migration:
    from central.record_store import migration  # needs the extra [central]

    with telling_faults():
        return migration.look(database_of(path))


def _migrated(path: Path, copy: Path | None, *, no_copy: bool) -> Migration:
    from central.record_store import migration

    with telling_faults(), progress_bar("copying") as shown:
        database = database_of(path)
        beside = f"{database}.schema-{migration.look(database).found}"
        target = None if no_copy else str(copy or beside)
        return migration.migrate(database, target, shown)
