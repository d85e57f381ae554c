"""``gatepost store reopen-log``: after a backup was restored that lacks acknowledged leaves.

Owns: the command line: drafting, signing and installing a log statement. Refuses: deciding that
leaves were lost; daemons say so (alarms ``store_unproven``, ``store_two_histories``).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click
import msgspec

from gatepost.faults import InputOutputError
from gateway import documents
from gateway.errors import ConfigInvalid, DocumentInvalid

if TYPE_CHECKING:
    from collections.abc import Callable

    from central.record_store.maintenance import Maintenance

ResultT = TypeVar("ResultT")


@click.command()
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    required=True,
    help="The central services' configuration.",
)
@click.option("--tenant", required=True)
@click.option("--region", required=True)
@click.option("--reason", required=True, help="Stands in the statement, for every auditor.")
@click.option(
    "--revocation-key",
    "keys",
    type=click.Path(path_type=Path),
    multiple=True,
    help="A key file of the role revocation; as many as its threshold.",
)
@click.option(
    "--last-checkpoint",
    type=click.Path(path_type=Path),
    help="The newest checkpoint note that anybody has: from a daemon's log-seen.json.",
)
@click.option("--json", "as_json", is_flag=True)
def reopen_log(
    path: Path,
    tenant: str,
    region: str,
    reason: str,
    keys: tuple[Path, ...],
    last_checkpoint: Path | None,
    as_json: bool,
) -> None:
    """Close the log of TENANT and REGION and open the next one, by a signed statement.

    Daemons then accept the new log, and ship again what they still hold. What is lost stays lost,
    and shows.
    """
    note = None if last_checkpoint is None else _note(last_checkpoint)
    statement = _with_store(
        path, lambda store: store.reopen(tenant, region, reason, note, [str(key) for key in keys])
    )
    if as_json:
        click.echo(documents.encode(statement))
        return
    click.echo(f"closed {statement.closed_origin}")
    click.echo(f"opened {statement.opened_origin}")
    click.echo("Daemons go on with their next batch, and ship again what they hold.")


def _note(path: Path) -> str:
    """The note in ``path``: bare, or as a daemon keeps it. Raises InputOutputError."""
    try:
        text = path.read_text()
    except OSError as error:
        raise InputOutputError(f"{path}: {error.strerror}") from error
    if not text.startswith("{"):
        return text
    try:
        return msgspec.json.decode(text, type=dict[str, str])["note"]
    except (msgspec.DecodeError, KeyError) as error:
        raise InputOutputError(f"{path} is no checkpoint note: {error}") from error


def _with_store(path: Path, work: Callable[[Maintenance], ResultT]) -> ResultT:
    from central.config import load  # needs the extra [central]
    from central.errors import Refused
    from central.record_store.maintenance import Maintenance

    try:
        with Maintenance(load(str(path))) as store:
            return work(store)
    except (ConfigInvalid, DocumentInvalid, Refused) as error:
        raise InputOutputError(str(error)) from error
