"""``gatepost spool export``: records of a spool as lines that ``gatepost verify`` reads.

Owns: the file, which is never half there and never written over by accident, and saying whether
it is the whole. Refuses: changing a byte of a record; lines are what would be shipped.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

import click
import msgspec

from gatepost.faults import InputOutputError
from gatepost.spool_place import FILES, Place, find_place, place_options, progress, reading
from gatepost.terminal import plain
from spool.extract import Taken, certificate_lines, record_lines
from spool.survey import Home, survey

_MODE: Final = 0o600
_NO_ROOTS: Final = (
    "no root documents: `gatepost verify` needs them in front; name their directory with --roots"
)

Write = Callable[[bytes], int]


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What was written. ``complete``: root documents, and of each instance the whole chain."""

    complete: bool
    roots: int
    certificates: int
    records: int
    instances: list[Taken]
    notes: list[str]


@click.command()
@place_options
@click.option("--instance", help="This one only; otherwise all, one after the other.")
@click.option("--from", "from_seq", type=click.IntRange(0), help="First seq; with --instance.")
@click.option("--to", "to_seq", type=click.IntRange(0), help="Last seq; with --instance.")
@click.option(
    "--roots",
    type=click.Path(path_type=Path),
    help="Directory of root documents 1.json, 2.json, …; by default the configuration's.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write to this file instead of standard output.",
)
@click.option("--force", is_flag=True, help="Replace the file if it is there.")
@click.option("--json", "as_json", is_flag=True, help="The summary on standard error as JSON.")
def export(
    config: Path | None,
    directory: Path | None,
    instance: str | None,
    from_seq: int | None,
    to_seq: int | None,
    roots: Path | None,
    output: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Write root documents, certificates and records, for `gatepost verify`.

    Exit 0: complete. 2: it cannot be read or written. 3: partial; standard error says why.
    """
    if instance is None and (from_seq is not None or to_seq is not None):
        raise click.UsageError("--from and --to count in one chain: name it with --instance")
    if from_seq is not None and to_seq is not None and to_seq < from_seq:
        raise click.UsageError(f"--to {to_seq} is before --from {from_seq}")
    place = find_place(config, directory, roots)
    homes = place.homes(instance)
    with _written(place.root, output, force=force) as write:
        summary = _export(place, homes, write, from_seq=from_seq or 0, to_seq=to_seq)
    if as_json:
        click.echo(msgspec.json.encode(summary), err=True)
    else:
        for text in _told(summary):
            click.echo(plain(text), err=True)
    raise SystemExit(0 if summary.complete else 3)


def _export(
    place: Place, homes: list[Home], write: Write, *, from_seq: int, to_seq: int | None
) -> Summary:
    roots = place.root_lines()
    certificates = 0
    instances: list[Taken] = []
    notes = [] if roots else [_NO_ROOTS]
    for line in roots:
        write(line)
    with (
        progress("exporting", 2 * sum(home.segment_bytes for home in homes)) as advance,
        reading(place.root),
    ):
        for home in homes:
            seen = survey(FILES, home, advance)
            if seen.findings is None:
                notes.append(f"{home.instance} has format version {seen.version}: left out")
                continue
            for line in certificate_lines(seen):
                certificates += 1
                write(line)
            taken = Taken(home.instance)
            for line in record_lines(
                FILES, seen, taken, from_seq=from_seq, to_seq=to_seq, advance=advance
            ):
                write(line)
            instances.append(taken)
    return Summary(
        complete=bool(instances) and not notes and all(one.complete for one in instances),
        roots=len(roots),
        certificates=certificates,
        records=sum(one.records for one in instances),
        instances=instances,
        notes=notes,
    )


def _told(summary: Summary) -> Iterator[str]:
    for one in summary.instances:
        seqs = "no record" if one.first_seq is None else f"seq {one.first_seq} to {one.last_seq}"
        if one.complete:
            yield f"complete: {one.instance}, {seqs}, from start to seal"
        else:
            yield f"partial: {one.instance}, {seqs}; {'; '.join(one.missing)}"
    if not summary.instances:
        yield "partial: no instance"
    for note in summary.notes:
        yield f"partial: {note}"
    yield f"{summary.roots} roots, {summary.certificates} certificates, {summary.records} records"


@contextmanager
def _written(root: Path, output: Path | None, *, force: bool) -> Iterator[Write]:
    """What writes a line. A file gets its name once it is whole. Raises InputOutputError."""
    if output is None:
        yield sys.stdout.buffer.write
        return
    if output.resolve().is_relative_to(root.resolve()):
        raise InputOutputError(f"{output} is inside the spool, where only the daemon writes")
    part = output.with_name(output.name + ".part")
    try:
        if output.exists() and not force:
            raise FileExistsError
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE), "wb") as file:
            try:
                yield file.write
                file.flush()
                _name(file, part, output, force=force)
            finally:
                with suppress(FileNotFoundError):
                    part.unlink()
    except FileExistsError as error:
        raise InputOutputError(
            f"{error.filename or output} is there already; name another file, or use --force"
        ) from error
    except OSError as error:
        raise InputOutputError(f"{output}: {error.strerror or error}") from error


def _name(file: BinaryIO, part: Path, output: Path, *, force: bool) -> None:
    os.fsync(file.fileno())
    if force:
        part.replace(output)
    else:
        # A link, unlike a rename, never takes the place of a file that came meanwhile.
        os.link(part, output)
