"""``gatepost spool quarantine``: what was set aside, and what to do about it.

Owns: the list, the views of a record and of bytes, and the advice. Refuses: deleting, and
sending anything again; what is here stays until a start removes it after its time.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from rich.console import Console
from rich.table import Table

from gatepost.faults import InputOutputError
from gatepost.spool_place import FILES, Place, find_place, place_options, progress, reading
from gatepost.terminal import cell, plain, table_console
from gateway.errors import UNREADABLE
from spool import aside, home
from spool.aside import Aside, list_aside
from spool.examine import Damage
from spool.survey import Home
from spool.walk import NewerFormat, Walk

_ROW_BYTES: Final = 16
_VIEW_BYTES: Final = 4096
_ADVICE: Final = {
    "refused": (
        "the store refused this record alone, again and again, and it is not sent again. Ask its "
        "operator about the reason; the record is evidence, keep a copy"
    ),
    "unknown": "not a file of the daemon's: find out who put it there",
    "torn_or_rot": (
        "a group that a crash tore before anybody was answered, or rot in one that was; the "
        "store's newest chain head tells which. Nothing to repair"
    ),
    "damaged": (
        "records that may have been answered cannot be read: check the volume, and keep these "
        "bytes; the hole in the chain is evidence"
    ),
    "foreign": "bytes of another place or instance: find out who copied or restored files",
    "repeat": "a seq that stood there already: tell the security team",
    "header": "the first page of a segment is damaged, its records are not: check the volume",
    "stretch": (
        "its segment is gone (what could be read of it was shipped); the `recovered` record of "
        "the successor names these bytes and their digest"
    ),
}
_KEPT: Final = (
    "What a dead instance set aside is removed with its directory 30 days after it was recorded."
)


class AsideLine(msgspec.Struct, frozen=True, kw_only=True):
    """One file. ``rule``: of the damage, null for others and where the segment is gone."""

    file: Aside
    rule: str | None
    advice: str


@click.group(invoke_without_command=True)
@place_options
@click.option("--json", "as_json", is_flag=True, help="One JSON array of files.")
@click.pass_context
def quarantine(
    context: click.Context, config: Path | None, directory: Path | None, as_json: bool
) -> None:
    """List damaged bytes and refused records that were set aside; `show` prints one."""
    if context.invoked_subcommand is not None:
        if config or directory or as_json:
            raise click.UsageError("options stand behind `show`")
        return
    place = find_place(config, directory)
    lines = _lines(place, place.homes())
    if as_json:
        click.echo(msgspec.json.encode(lines))
    elif not lines:
        click.echo("nothing is set aside")
    else:
        _print(lines, table_console())


@quarantine.command()
@click.argument("name")
@place_options
@click.option("--instance", help="Whose, where several have a file of this name.")
@click.option(
    "--bytes",
    "bytes_max",
    type=click.IntRange(1),
    default=_VIEW_BYTES,
    show_default=True,
    help="Bytes to show of a stretch.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def show(
    name: str,
    config: Path | None,
    directory: Path | None,
    instance: str | None,
    bytes_max: int,
    as_json: bool,
) -> None:
    """Print the file NAME: the payload of a refused record, or a hex view of bytes."""
    place = find_place(config, directory)
    homes = place.homes(instance)
    owners = [one for one in homes if name in _names(one)]
    if not owners:
        raise InputOutputError(f"no quarantine under {place.root} has a file {name!r}")
    if len(owners) > 1:
        owned = ", ".join(one.instance for one in owners)
        raise click.UsageError(f"{name} is there {len(owners)} times; add --instance: {owned}")
    (line,) = (one for one in _lines(place, owners) if one.file.name == name)
    path = f"{owners[0].directory}/{home.QUARANTINE_NAME}/{name}"
    with reading(place.root):
        payload = aside.refused_payload(FILES, path) if line.file.kind == "refused" else None
        data = aside.read_part(FILES, path, 0, bytes_max) if payload is None else payload
    if as_json:
        click.echo(msgspec.json.encode(_document(line, payload, data)))
        return
    click.echo(plain(f"{line.file.instance}  {name}  {line.file.digest}"))
    click.echo(plain(f"{line.rule or line.file.kind}: {line.advice}."))
    for text in _text(payload) or hex_rows(data):
        click.echo(text)
    left = line.file.bytes_used - len(data)
    if payload is None and left > 0:
        click.echo(f"… and {left} more bytes; see --bytes")


def _names(place: Home) -> list[str]:
    with reading(Path(place.directory)):
        return home.quarantined_names(FILES, place.directory)


def _lines(place: Place, homes: list[Home]) -> list[AsideLine]:
    found = []
    total = sum(one.segment_bytes for one in homes if one.quarantine_files)
    with progress("reading", total) as advance, reading(place.root):
        for one in homes:
            files = list(list_aside(FILES, one.directory, one.instance))
            rules: dict[tuple[int, int], str] = {}
            if any(file.kind == "stretch" for file in files):
                rules = _rules(one)
            advance(one.segment_bytes)
            for file in files:
                rule = rules.get((file.base_seq or 0, file.offset or 0))
                rule = rule if file.kind == "stretch" else None
                found.append(AsideLine(file=file, rule=rule, advice=_ADVICE[rule or file.kind]))
    return found


def _rules(one: Home) -> dict[tuple[int, int], str]:
    """(base seq, offset) → rule of the damage that is still in the segments."""
    walk = Walk(FILES, one.directory, one.instance, may_be_written=one.may_be_written)
    found = {}
    try:
        for view in walk:
            for item in view.items:
                if isinstance(item, Damage):
                    found[item.base_seq, item.offset] = item.rule
                    # With much damage the whole segment is kept, under offset 0.
                    found.setdefault((item.base_seq, 0), item.rule)
    except NewerFormat:
        return {}
    return found


def _print(lines: list[AsideLine], console: Console) -> None:
    table = Table("instance", "name", "what", "bytes", "where or why", "digest", box=None)
    for one in lines:
        file = one.file
        where = f"segment {file.base_seq}, offset {file.offset}"
        if file.kind == "refused":
            where = f"seq {file.seq}, {file.status}: {file.reason}"
        table.add_row(
            cell(file.instance),
            cell(file.name),
            cell(one.rule or file.kind, "red"),
            cell(str(file.bytes_used)),
            cell("" if file.kind == "unknown" else where),
            cell(file.digest),
        )
    console.print(table)
    for word, advice in {(one.rule or one.file.kind): one.advice for one in lines}.items():
        console.print(cell(f"{word}: {advice}."))
    console.print(_KEPT)


def _document(line: AsideLine, payload: bytes | None, data: bytes) -> dict[str, Any]:
    document = msgspec.structs.asdict(line)
    if payload is not None and _text(payload):
        return document | {"payload": msgspec.Raw(payload)}
    return document | {"hex": data.hex()}


def _text(payload: bytes | None) -> list[str]:
    """A payload as indented JSON, fit for a terminal; nothing for what is no JSON."""
    if payload is None:
        return []
    try:
        return [plain(line) for line in msgspec.json.format(payload).decode().split("\n")]
    except UNREADABLE:
        return []


def hex_rows(data: bytes) -> Iterator[str]:
    """Offset, bytes and printable characters, 16 to a row."""
    for at in range(0, len(data), _ROW_BYTES):
        row = data[at : at + _ROW_BYTES]
        shown = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        yield f"{at:08x}  {row.hex(' '):<{3 * _ROW_BYTES - 1}}  {shown}"
