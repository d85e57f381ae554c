"""``gatepost spool verify``: every check on every instance of a spool, one verdict each.

Owns: the two passes, the report as table or JSON and the exit code. Refuses: one word over all
of it, and entitlement without a root from outside; the checks are ``spool.audit`` and
``spool.entitlement``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click
import msgspec
from rich.console import Console
from rich.table import Table

from gatepost.spool_place import FILES, Place, find_place, place_options, progress, reading
from gatepost.terminal import cell, table_console
from gateway.evidence import Auditor
from gateway.verdicts import Tally, Verdict
from spool import audit, entitlement
from spool.audit import InstanceAudit, shown_keys
from spool.entitlement import Entitlement
from spool.extract import certificate_lines
from spool.scan import StoredRecord
from spool.survey import Home, Survey, survey
from spool.walk import Walk

_COLOURS: Final = {"true": "green", "false": "red", "incomplete": "yellow"}
_FINGERPRINT: Final = re.compile(r"sha256:[0-9a-f]{64}")
_MEANINGS: Final = audit.MEANINGS | entitlement.MEANINGS
_INTEGRITY_ONLY: Final = (
    "without --root this proves integrity only: nobody without an instance's key changed or added "
    "a record. Whether the key was anybody's to use, it does not say"
)
_SUMMARIES: Final = {
    0: "[green]nothing is false, nothing is open[/green]",
    1: "[red]a check failed[/red]",
    3: "[yellow]nothing is false, but something is not proved[/yellow] (exit code 3)",
}


class InstanceReport(msgspec.Struct, frozen=True, kw_only=True):
    """Verdicts on one instance, and what must be told beside them."""

    instance: str
    state: str
    first_seq: int | None
    last_seq: int | None
    verdicts: list[Verdict]
    notes: list[str]


class SpoolReportOnDisk(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of it. ``root``: the fingerprint that keys were held against, or null."""

    root: str | None
    instances: list[InstanceReport]
    notes: list[str]

    @property
    def exit_code(self) -> int:
        """0 nothing false or open · 1 a check failed · 3 nothing false but incomplete."""
        states = {verdict.state for one in self.instances for verdict in one.verdicts}
        if "false" in states:
            return 1
        return 3 if "incomplete" in states else 0


@click.command()
@place_options
@click.option("--instance", help="This one only.")
@click.option("--root", help="Fingerprint of root 1, sha256:<hex>: check entitlement, too.")
@click.option(
    "--roots",
    type=click.Path(path_type=Path),
    help="Directory of root documents 1.json, 2.json, …; by default the configuration's.",
)
@click.option("--json", "as_json", is_flag=True, help="The report as one JSON object.")
def verify(
    config: Path | None,
    directory: Path | None,
    instance: str | None,
    root: str | None,
    roots: Path | None,
    as_json: bool,
) -> None:
    """Check checksums, order, chain and signatures of what stands in a spool.

    Exit 0: nothing is false or open. 1: a check failed. 2: it cannot be read. 3: incomplete.
    """
    if root is not None and _FINGERPRINT.fullmatch(root) is None:
        raise click.UsageError(f"--root {root!r} is not sha256: and 64 hex digits")
    place = find_place(config, directory, roots)
    report = _report(place, place.homes(instance), root)
    if as_json:
        click.echo(msgspec.json.encode(report))
    else:
        _show(report, table_console())
    raise SystemExit(report.exit_code)


def _report(place: Place, homes: list[Home], root: str | None) -> SpoolReportOnDisk:
    root_lines = [] if root is None else place.root_lines()
    total = 2 * sum(home.segment_bytes for home in homes)
    with progress("verifying", total) as advance, reading(place.root):
        instances = [_audited(home, root, root_lines, advance) for home in homes]
    notes = [_INTEGRITY_ONLY] if root is None else _custody(root, root_lines)
    return SpoolReportOnDisk(root=root, instances=instances, notes=notes)


def _custody(root: str, root_lines: list[bytes]) -> list[str]:
    """Who keeps the keys, as the newest root says that chains from ``root``."""
    auditor = Auditor(root)
    for line in root_lines:
        auditor.add(line)
    custody = auditor.report().custody
    return [] if custody is None else [f"custody of the root: {custody}"]


def _audited(
    home: Home, root: str | None, root_lines: list[bytes], advance: Callable[[int], None]
) -> InstanceReport:
    seen = survey(FILES, home, advance)
    found = seen.findings
    if found is None:
        return InstanceReport(
            instance=home.instance,
            state=seen.condition,
            first_seq=None,
            last_seq=None,
            verdicts=[_unread(seen.version)],
            notes=[],
        )
    keys = shown_keys(found.public_key, found.certificates)
    judge = InstanceAudit(keys, open_ended=home.may_be_written and not found.sealed)
    trust = None
    if root is not None:
        trust = Entitlement(root, [*root_lines, *certificate_lines(seen)])
    walk = Walk(FILES, home.directory, home.instance, may_be_written=home.may_be_written)
    for view in walk:
        judge.add(view)
        if trust is not None:
            for item in view.items:
                if isinstance(item, StoredRecord):
                    trust.add(item)
        advance(view.bytes_read)
    trusted = [Tally().verdict("entitlement")] if trust is None else trust.verdicts()
    return InstanceReport(
        instance=home.instance,
        state=seen.condition,
        first_seq=found.first_seq,
        last_seq=found.last_seq,
        verdicts=[*judge.verdicts(), *trusted],
        notes=_notes(seen, walk),
    )


def _unread(version: int) -> Verdict:
    tally = Tally(incomplete=1)
    tally.note(None, f"format version {version}: start a newer program to read it")
    return tally.verdict("form")


def _notes(seen: Survey, walk: Walk) -> list[str]:
    notes = []
    found = seen.findings
    if found is not None and found.first_seq:
        notes.append(f"seq 0 to {found.first_seq - 1} are not here: shipped and deleted")
    if walk.writing_bytes:
        notes.append(f"{walk.writing_bytes} bytes were being written")
    if seen.deleted or walk.deleted:
        notes.append("segments were shipped and deleted meanwhile")
    return notes


def _show(report: SpoolReportOnDisk, console: Console) -> None:
    for one in report.instances:
        seqs = "no record" if one.first_seq is None else f"seq {one.first_seq}–{one.last_seq}"
        console.print(cell(f"{one.instance}  {one.state}  {seqs}", "bold"))
        table = Table("verdict", "", "checked", "meaning", box=None)
        for verdict in one.verdicts:
            colour = _COLOURS.get(verdict.state, "dim")
            table.add_row(
                verdict.name,
                f"[{colour}]{verdict.state}[/{colour}]",
                str(verdict.counted),
                _MEANINGS[verdict.name],
            )
        console.print(table)
        for verdict in one.verdicts:
            for problem in verdict.problems:
                console.print(cell(f"{verdict.name}: {problem.cause}"))
            left = verdict.problem_count - len(verdict.problems)
            if left > 0:
                console.print(f"{verdict.name}: and {left} more")
        for note in one.notes:
            console.print(cell(f"note: {note}"))
        console.print()
    for note in report.notes:
        console.print(cell(f"note: {note}"))
    console.print(f"[bold]{_SUMMARIES[report.exit_code]}[/bold]")
