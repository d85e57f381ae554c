"""``gatepost store restore-check``: whether a backup, or a restored database, is whole.

Owns: the command line, progress and the summary. Refuses: the checks themselves
(``central.record_store.soundness``).
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from gatepost.store_place import telling_faults
from gatepost.terminal import progress_bar

if TYPE_CHECKING:
    from central.record_store.soundness import LogState
    from gateway.roots import RoleKeys

_UNSIGNED = "signatures of the checkpoints were not checked: give --roots and --root for that"


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--roots",
    type=click.Path(path_type=Path),
    help="Directory of root documents: check the log's signatures, too.",
)
@click.option("--root", help="Fingerprint of root 1, sha256:<hex>, with --roots.")
@click.option("--json", "as_json", is_flag=True, help="The logs as one JSON list.")
def restore_check(file: Path, roots: Path | None, root: str | None, as_json: bool) -> None:
    """Hold a record store's database against itself: FILE is one, or the directory of a backup.

    Exit 0: all true. 1: something is not, and the first such thing is named. 2: it cannot be read.
    """
    if (roots is None) != (root is None):
        raise click.UsageError("give --roots and --root together")
    logs = _checked(file, roots, root)
    if as_json:
        click.echo(msgspec.json.encode(logs))
        return
    for log in logs:
        click.echo(f"{log.origin}: {log.size} leaves, all as kept")
        click.echo(log.checkpoint or "no checkpoint yet: the next batch signs one\n")
    click.echo("Everything is true." if roots else f"Everything is true; {_UNSIGNED}.")


def _checked(file: Path, roots: Path | None, root: str | None) -> list[LogState]:
    from central.record_store import backup, soundness  # needs the extra [central]

    with telling_faults(), progress_bar("checking") as shown:
        keys = _log_keys(roots, root)
        path = backup.hold_against_manifest(str(file)) if file.is_dir() else str(file)
        with contextlib.closing(soundness.open_unchanged(path)) as connection:
            total = sum(log.size for log in soundness.states(connection))
            done = 0

            def advance(count: int) -> None:
                nonlocal done
                done += count
                shown(done, total)

            return soundness.check(connection, keys, advance)


def _log_keys(roots: Path | None, root: str | None) -> RoleKeys | None:
    from central.keys import RootFiles

    return None if roots is None else RootFiles(str(roots), root).role("log")
