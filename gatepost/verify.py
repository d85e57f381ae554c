"""``gatepost verify``: exported records, checked offline by somebody who trusts nobody.

Owns: reading the export, progress, the report as table or JSON, the exit code. Refuses: any
network, store or spool, and any default for the root: it is given, or nothing is verified. The
checks themselves are ``gateway.evidence``.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, cast

import click
import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from gatepost.faults import InputOutputError
from gatepost.terminal import cell
from gateway import limits
from gateway.evidence import VERDICTS, Auditor, Report

_COLOURS: Final = {"true": "green", "false": "red", "incomplete": "yellow"}
_LINE_BYTES_MAX: Final = 2 * limits.POLICY_BUNDLE_BYTES_MAX
_FINGERPRINT: Final = re.compile(r"sha256:[0-9a-f]{64}")
_LINES_PER_UPDATE: Final = 512
_SUMMARIES: Final = {
    0: "[green]all proved[/green]",
    1: "[red]a check failed[/red]",
    3: "[yellow]nothing is false, but something is not proved[/yellow] (exit code 3)",
}


@click.command()
@click.argument("export", type=click.Path(path_type=Path))
@click.option(
    "--root",
    required=True,
    help="Fingerprint of root 1: sha256:<hex>. Get it from its owner, never from the export.",
)
@click.option("--json", "as_json", is_flag=True, help="The report as one JSON object.")
def verify(export: Path, root: str, as_json: bool) -> None:
    """Verify the records in EXPORT (NDJSON, gzip or not).

    Exit 0: all proved. 1: a check failed. 2: the input cannot be read. 3: incomplete.
    """
    if _FINGERPRINT.fullmatch(root) is None:
        raise click.UsageError(f"--root {root!r} is not sha256: and 64 hex digits")
    try:
        report = _audited(export, root, quiet=as_json)
    except OSError as error:
        raise InputOutputError(f"{export}: {error.strerror or error}") from error
    except (EOFError, zlib.error) as error:
        raise InputOutputError(f"{export}: the gzip data is cut or damaged: {error}") from error
    if as_json:
        click.echo(msgspec.json.encode(report))
    else:
        show(report, Console())
    raise SystemExit(report.exit_code)


def _audited(export: Path, root: str, *, quiet: bool) -> Report:
    auditor = Auditor(root)
    size = export.stat().st_size
    shown = Progress(transient=True, disable=quiet, console=Console(stderr=True))
    with _opened(export) as (raw, lines), shown as progress:
        task = progress.add_task("verifying", total=size)
        for number, line in enumerate(_lines(lines)):
            auditor.add(line)
            if number % _LINES_PER_UPDATE == 0:
                progress.update(task, completed=raw.tell())
    return auditor.report()


@contextmanager
def _opened(export: Path) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """The file itself, for progress, and what to read lines from."""
    with export.open("rb") as raw:
        if raw.read(2) != b"\x1f\x8b":
            raw.seek(0)
            yield raw, raw
            return
        raw.seek(0)
        with gzip.open(raw) as unpacked:
            yield raw, cast("BinaryIO", unpacked)


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Lines with their newlines; an endless line is cut, and then fails its form check."""
    while line := file.readline(_LINE_BYTES_MAX):
        yield line


def show(report: Report, console: Console) -> None:
    """Print ``report``: one row per verdict, then the first problems of each, then notices."""
    console.print(
        f"{report.records} records of {report.instances} instances, {report.lines} lines; "
        f"root {report.fingerprint}"
    )
    table = Table("verdict", "", "checked", "meaning", box=None)
    for verdict in report.verdicts:
        colour = _COLOURS.get(verdict.state, "dim")
        table.add_row(
            verdict.name,
            f"[{colour}]{verdict.state}[/{colour}]",
            str(verdict.counted),
            VERDICTS[verdict.name],
        )
    console.print(table)
    for verdict in report.verdicts:
        for problem in verdict.problems:
            where = "" if problem.line is None else f"line {problem.line}: "
            console.print(cell(f"{verdict.name}: {where}{problem.cause}"))
        left = verdict.problem_count - len(verdict.problems)
        if left > 0:
            console.print(f"{verdict.name}: and {left} more")
    for notice in report.notices:
        console.print(cell(f"note: {notice}"))
    console.print(f"[bold]{_SUMMARIES[report.exit_code]}[/bold]")
