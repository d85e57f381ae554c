"""``gatepost replay``: what a bundle makes of decisions that were recorded.

Owns: the options, reading decisions one by one, and the report. Refuses: proving the
records (``gatepost verify`` does that first) and, where a record is of a version that this one does
not know, guessing.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Final

import click
import msgspec
from rich.console import Console
from rich.progress import Progress

from gatepost.central_client import CentralClient, client_of
from gatepost.export_file import Unusable
from gatepost.faults import InputOutputError
from gatepost.replay_bundle import read_given
from gatepost.replay_judge import GivenBundle, Judge, NotKept, OwnBundles
from gatepost.replay_report import Summary, Tally, show
from gatepost.replay_source import ExportFile, Source, StoreExport
from gatepost.terminal import table_console
from gatepost.verifier import check_root
from gateway import documents, envelope_line, log_line, record, seal
from gateway.documents import Envelope
from gateway.errors import DocumentInvalid
from gateway.record import Decision
from gateway.replay import VERDICTS, Verdict

_ENCODER: Final = msgspec.json.Encoder()
_DECISION: Final = b'{"v":%d,"kind":"decision"' % record.VERSION
_LISTED: Final[tuple[Verdict, ...]] = ("changed", "undetermined")


@click.command()
@click.argument("export", type=click.Path(path_type=Path), required=False)
@click.option(
    "--bundle",
    type=click.Path(path_type=Path),
    help="A signed bundle as the policy service serves it, or a policy as its author writes it. "
    "Without it each decision is put to the bundle that decided it, fetched from --central.",
)
@click.option("--central", help="Base URL of the central services: instead of EXPORT, or for it.")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    help="A file with an auditor's token, to read the decisions from --central.",
)
@click.option(
    "--filter",
    "filters",
    multiple=True,
    metavar="NAME=VALUE",
    help="Of the store's filters, as decided_from=2026-11-01T00:00:00Z. Repeatable.",
)
@click.option(
    "--root",
    help="Fingerprint of root 1: the bundle must be signed as the export's root documents want.",
)
@click.option(
    "--only",
    type=click.Choice(VERDICTS),
    multiple=True,
    help="List these only. Repeatable; by default changed and undetermined, with --json all.",
)
@click.option(
    "--limit", type=click.IntRange(0), default=20, show_default=True, help="List at most so many."
)
@click.option(
    "--json", "as_json", is_flag=True, help="A line of JSON per decision, a summary last."
)
def replay(
    export: Path | None,
    bundle: Path | None,
    central: str | None,
    token_file: Path | None,
    filters: tuple[str, ...],
    root: str | None,
    only: tuple[Verdict, ...],
    limit: int,
    as_json: bool,
) -> None:
    """Put recorded decisions to a bundle again: those in EXPORT (NDJSON, gzip or not), or those
    that the record store at --central holds.

    Exit 0: all the same, or not by rules. 1: something changed. 2: the input cannot be read. 3:
    nothing changed, but something is undetermined or was left out.
    """
    tally = Tally(only or (VERDICTS if as_json else _LISTED), 0 if as_json else limit)
    try:
        source = _source(export, central, token_file, filters)
        judge = _judge(bundle, central, None if root is None else check_root(root))
        summary = _replayed(source, judge, tally, as_json=as_json)
    except Unusable as error:
        raise InputOutputError(str(error)) from error
    if as_json:
        _write({"summary": summary})
    else:
        show(summary, tally, table_console())
    raise SystemExit(summary.exit_code)


def _source(
    export: Path | None, central: str | None, token_file: Path | None, filters: tuple[str, ...]
) -> Source:
    if export is not None:
        if token_file is not None or filters:
            raise click.UsageError("--token-file and --filter are for a store, not for EXPORT")
        return ExportFile(export)
    if central is None or token_file is None:
        raise click.UsageError("name EXPORT, or --central and --token-file")
    pairs = [one.partition("=") for one in filters]
    if not all(middle and value for _, middle, value in pairs):
        raise click.UsageError("--filter is NAME=VALUE")
    return StoreExport(client_of(central, token_file), {name: value for name, _, value in pairs})


def _judge(bundle: Path | None, central: str | None, fingerprint: str | None) -> Judge:
    if bundle is not None:
        return GivenBundle(read_given(bundle), fingerprint)
    if central is None:
        raise click.UsageError("name --bundle, or --central for the bundles that decided")
    return OwnBundles(CentralClient(central.rstrip("/"), None), fingerprint)


def _replayed(source: Source, judge: Judge, tally: Tally, *, as_json: bool) -> Summary:
    shown = Progress(transient=True, disable=as_json, console=Console(stderr=True))
    with shown as progress:
        task = progress.add_task("replaying", total=source.total())
        lines = source.lines(lambda done: progress.update(task, completed=done))
        if judge.fingerprint is not None:
            lines = _after_roots(lines, judge)
        started = time.perf_counter()
        for decision in _decisions(lines, tally.skipped):
            try:
                found = judge.judge(decision)
            except NotKept as error:
                tally.skipped[str(error)] += 1
                continue
            if tally.add(found) and as_json:
                _write(found)
        seconds = time.perf_counter() - started
    given = judge.given
    return Summary(
        digest=None if given is None else given.digest,
        scope=None if given is None else given.scope,
        version=None if given is None else given.version,
        bundles=judge.bundles,
        signatures_checked=judge.fingerprint is not None,
        decisions=tally.decisions,
        own=tally.own,
        verdicts=dict(tally.verdicts),
        other_outcome=tally.other_outcome,
        skipped=dict(tally.skipped),
        seconds=round(seconds, 3),
        exit_code=tally.exit_code,
    )


def _after_roots(lines: Iterator[bytes], judge: Judge) -> Iterator[bytes]:
    """``lines`` from the first record on, once ``judge`` has seen the roots before it."""
    found: list[Envelope] = []
    first: list[bytes] = []
    for line in lines:
        if envelope_line.is_record(line):
            first.append(line)
            break
        found += _roots_in(line)
    judge.trust(found)
    return chain(first, lines)


def _roots_in(line: bytes) -> list[Envelope]:
    try:
        envelope = seal.parse_envelope(line)
    except DocumentInvalid:
        return []
    return [envelope] if envelope.payload_type == documents.ROOT else []


def _decisions(lines: Iterator[bytes], skipped: Counter[str]) -> Iterator[Decision]:
    """The decisions of an export; ``skipped`` counts what else could be one, by cause."""
    for line in lines:
        try:
            if envelope_line.is_record(line):
                found = _decision(envelope_line.read_record(line).payload)
                if found is not None:
                    yield found
            elif log_line.is_log_line(line):
                log_line.read(line)
            else:
                envelope_line.read_envelope(line)
        except _UnknownRecord as error:
            skipped[str(error)] += 1
        except (DocumentInvalid, msgspec.DecodeError):
            skipped["not a line of an export: see gatepost verify"] += 1


class _UnknownRecord(Exception):
    """A record that this version cannot read, for a cause out of a short list."""


def _decision(payload: bytes) -> Decision | None:
    """The decision in ``payload``; None if that is a record of another kind.

    Raises _UnknownRecord and ``msgspec.DecodeError``.
    """
    if not payload.startswith(_DECISION):
        leading = record.decode_leading(payload)
        if leading.v != record.VERSION:
            raise _UnknownRecord("a record of a version that this one does not know")
        if leading.kind not in record.KINDS:
            raise _UnknownRecord("a record of a kind that this version does not know")
        if leading.kind != "decision":
            return None
    found = record.decode(payload)
    return found if isinstance(found, Decision) else None


def _write(line: object) -> None:
    sys.stdout.buffer.write(_ENCODER.encode(line) + b"\n")
