"""``gatepost store reopen-log``: after a backup was restored that lacks acknowledged leaves.

Owns: the command line: drafting, signing and installing a log statement in one go, or writing its
draft. Refuses: deciding that leaves were lost; daemons say so (alarms ``store_unproven``,
``store_two_histories``).
"""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from gatepost.faults import InputOutputError
from gatepost.signed_file import write_envelope
from gatepost.store_place import with_store
from gateway import documents
from gateway.documents import LogStatement


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
@click.option(
    "--draft",
    type=click.Path(path_type=Path),
    help="Change nothing: write the statement here, for others to sign (gatepost keys sign).",
)
@click.option("--who", help="Stands in the store's record of this act; else who runs the command.")
@click.option("--json", "as_json", is_flag=True)
def reopen_log(
    path: Path,
    tenant: str,
    region: str,
    reason: str,
    keys: tuple[Path, ...],
    last_checkpoint: Path | None,
    draft: Path | None,
    who: str | None,
    as_json: bool,
) -> None:
    """Close the log of TENANT and REGION and open the next one, by a signed statement.

    Daemons then accept the new log, and ship again what they still hold. What is lost stays lost,
    and shows.
    """
    note = None if last_checkpoint is None else _note(last_checkpoint)
    asked = (tenant, region, reason, note, [str(key) for key in keys])
    if draft is not None:
        envelope = with_store(path, lambda store: store.draft(*asked))
        write_envelope(draft, envelope)
        click.echo(
            f"wrote {draft}; nothing is changed yet. Holders of the role revocation sign it:\n"
            f"  gatepost keys sign {draft} --root ROOTS --key THEIR.key\n"
            f"then: gatepost store install-statement {draft} --config {path}"
        )
        return
    tell(with_store(path, lambda store: store.reopen(*asked, who)), as_json=as_json)


def tell(statement: LogStatement, *, as_json: bool) -> None:
    """Print what was closed and opened."""
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
