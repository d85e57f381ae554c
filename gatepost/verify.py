"""``gatepost verify``: exported records, checked offline by somebody who trusts nobody.

Owns: the options, progress, and the report in colours. Refuses: the same as ``verifier.py``, which
does everything else and runs by itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click
import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from gatepost.export_file import Unusable
from gatepost.faults import InputOutputError
from gatepost.terminal import cell, table_console
from gatepost.verifier import SUMMARIES, asked_of, audited, check_jobs, check_root, heading, told
from gateway.evidence import VERDICTS, Asked, Report

_COLOURS: Final = {"true": "green", "false": "red", "incomplete": "yellow"}
_SUMMARY_COLOURS: Final = {0: "green", 1: "red", 3: "yellow"}


@click.command()
@click.argument("export", type=click.Path(path_type=Path))
@click.option(
    "--root",
    required=True,
    help="Fingerprint of root 1: sha256:<hex>. Get it from its owner, never from the export.",
)
@click.option(
    "--pin",
    type=click.Path(path_type=Path),
    help="A checkpoint of this log that you kept: the log must have grown from it.",
)
@click.option(
    "--witness",
    "witnesses",
    multiple=True,
    help="Verifier key (name+id+base64) of a witness whose cosignature counts. Repeatable.",
)
@click.option("--quorum", type=int, help="How many of the witnesses are wanted; by default all.")
@click.option(
    "--witness-policy",
    "policy",
    type=click.Path(path_type=Path),
    help="A C2SP tlog-policy: witnesses, groups and the quorum, instead of --witness and --quorum.",
)
@click.option(
    "--jobs",
    type=int,
    help="Processes that verify signatures; by default up to three, one for a small export.",
)
@click.option("--json", "as_json", is_flag=True, help="The report as one JSON object.")
def verify(
    export: Path,
    root: str,
    pin: Path | None,
    witnesses: tuple[str, ...],
    quorum: int | None,
    policy: Path | None,
    jobs: int | None,
    as_json: bool,
) -> None:
    """Verify the records in EXPORT (NDJSON, gzip or not).

    Exit 0: all proved. 1: a check failed. 2: the input cannot be read. 3: incomplete.
    """
    try:
        check_root(root)
        check_jobs(jobs)
        asked = asked_of(pin, witnesses, quorum, policy)
    except Unusable as error:
        raise click.UsageError(str(error)) from error
    try:
        report = _audited(export, root, asked, jobs, quiet=as_json)
    except (Unusable, OSError) as error:
        raise InputOutputError(str(error)) from error
    if as_json:
        click.echo(msgspec.json.encode(report))
    else:
        show(report, table_console())
    raise SystemExit(report.exit_code)


def _audited(export: Path, root: str, asked: Asked, jobs: int | None, *, quiet: bool) -> Report:
    size = export.stat().st_size if export.exists() else 0
    shown = Progress(transient=True, disable=quiet, console=Console(stderr=True))
    with shown as progress:
        task = progress.add_task("verifying", total=size)
        return audited(
            export, root, asked, jobs, lambda done: progress.update(task, completed=done)
        )


def show(report: Report, console: Console) -> None:
    """Print ``report``: one row per verdict, then the first problems of each, then notices."""
    console.print(cell(heading(report)))
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
    for line in told(report):
        console.print(cell(line))
    colour = _SUMMARY_COLOURS[report.exit_code]
    console.print(f"[bold {colour}]{SUMMARIES[report.exit_code]}[/bold {colour}]")
