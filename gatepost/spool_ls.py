"""``gatepost spool ls``: the instances of a spool, and what is left of each.

Owns: the table and its JSON. Refuses: signatures (``verify``) and what was set aside
(``quarantine``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click
import msgspec
from rich.table import Table

from gatepost.spool_place import FILES, find_place, place_options, progress, reading
from gatepost.terminal import cell, table_console
from spool.survey import Survey, survey

_COLOURS: Final = {"live": "green", "shipping": "cyan", "dead": "yellow", "unknown": "magenta"}


class InstanceLine(msgspec.Struct, frozen=True, kw_only=True):
    """One instance. ``state``: ``spool.survey.Condition``. ``format``: of its segments.

    The members about records are null where the format is newer than this program. Seqs are of
    what is here: what came before was shipped and deleted.
    """

    instance: str
    state: str
    sealed: bool | None
    tenant: str | None
    region: str | None
    first_seq: int | None
    last_seq: int | None
    records: int | None
    bytes: int
    segments: int
    prepared: int
    damaged: int
    quarantine_files: int
    quarantine_bytes: int
    settled: bool
    format: int


@click.command()
@place_options
@click.option("--json", "as_json", is_flag=True, help="One JSON array of instances.")
def ls(config: Path | None, directory: Path | None, as_json: bool) -> None:
    """List the instances under a spool root, oldest last record first."""
    place = find_place(config, directory)
    homes = place.homes()
    total = sum(home.segment_bytes for home in homes)
    with progress("reading", total) as advance, reading(place.root):
        surveys = [survey(FILES, home, advance) for home in homes]
    surveys.sort(key=lambda one: (one.findings and one.findings.last_id) or "")
    lines = [_line(one) for one in surveys]
    if as_json:
        click.echo(msgspec.json.encode(lines))
    elif lines:
        table_console().print(_table(lines))
    else:
        click.echo(f"{place.root} holds no instance")


def _line(seen: Survey) -> InstanceLine:
    home, found = seen.home, seen.findings
    return InstanceLine(
        instance=home.instance,
        state=seen.condition,
        sealed=None if found is None else found.sealed,
        tenant=None if found is None else found.tenant,
        region=None if found is None else found.region,
        first_seq=None if found is None else found.first_seq,
        last_seq=None if found is None else found.last_seq,
        records=None if found is None else found.records,
        bytes=home.bytes_used,
        segments=home.segments,
        prepared=home.prepared,
        damaged=seen.damages,
        quarantine_files=home.quarantine_files,
        quarantine_bytes=home.quarantine_bytes,
        settled=home.settled is not None,
        format=seen.version,
    )


def _table(lines: list[InstanceLine]) -> Table:
    table = Table(
        *("instance", "state", "end", "tenant/region", "seq", "records", "MiB", "segments"),
        *("quarantine", "settled", "format"),
        box=None,
    )
    for one in lines:
        place = "-" if one.tenant is None else f"{one.tenant}/{one.region}"
        seqs = "-" if one.first_seq is None else f"{one.first_seq}–{one.last_seq}"
        aside = (
            f"{one.quarantine_files} ({one.quarantine_bytes} B)" if one.quarantine_files else "-"
        )
        table.add_row(
            cell(one.instance),
            cell(one.state, _COLOURS[one.state]),
            cell({True: "sealed", False: "open", None: "?"}[one.sealed]),
            cell(place),
            cell(seqs),
            cell("?" if one.records is None else str(one.records)),
            cell(f"{one.bytes / 2**20:.1f}"),
            cell(f"{one.segments} + {one.prepared} ahead" if one.prepared else str(one.segments)),
            cell(aside, "red" if one.quarantine_files else ""),
            cell("yes" if one.settled else "no"),
            cell(f"{one.format}" + (f", {one.damaged} damaged" if one.damaged else "")),
        )
    return table
