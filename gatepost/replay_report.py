"""What a replay says at its end: totals, the decisions that are not the same, an exit code.

Owns: counting, and keeping the first few of what is shown, however long the export is. Refuses:
verdicts (``gateway.replay``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec
from rich.console import Console
from rich.table import Table

from gatepost.terminal import cell
from gateway.replay import VERDICTS, Replayed, Ruling, Verdict

_MEANINGS: dict[Verdict, str] = {
    "same": "the bundle gives the recorded ruling",
    "changed": "it gives another one",
    "undetermined": "that depends on what the record does not hold",
    "not_by_rules": "refused before any rule was asked, by whatever bundle",
}
_COLOURS = {"same": "green", "changed": "red", "undetermined": "yellow", "not_by_rules": "dim"}


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """``bundles``: how many the decisions were put to. ``own``: decisions that the bundle they were
    put to had made. ``other_outcome``: of the changed ones, those whose outcome cannot be what it
    was. ``skipped``: cause → lines that were left out.
    """

    digest: str | None
    scope: str | None
    version: int | None
    bundles: int
    signatures_checked: bool
    decisions: int
    own: int
    verdicts: dict[str, int]
    other_outcome: int
    skipped: dict[str, int]
    seconds: float
    exit_code: int


class Tally:
    """Counts verdicts and keeps the first ``shown_max`` of ``kinds``."""

    def __init__(self, kinds: Sequence[Verdict], shown_max: int) -> None:
        self.shown: list[Replayed] = []
        self.left_out = 0
        self.skipped: Counter[str] = Counter()
        self.verdicts: Counter[str] = Counter(dict.fromkeys(VERDICTS, 0))
        self.other_outcome = 0
        self.own = 0
        self._kinds = frozenset(kinds)
        self._shown_max = shown_max

    def add(self, found: Replayed) -> bool:
        """Take in one verdict; whether it is of the wanted kinds."""
        self.verdicts[found.verdict] += 1
        self.own += found.own
        self.other_outcome += "outcome" in found.differs
        if found.verdict not in self._kinds:
            return False
        if len(self.shown) < self._shown_max:
            self.shown.append(found)
        else:
            self.left_out += 1
        return True

    @property
    def decisions(self) -> int:
        return self.verdicts.total()

    @property
    def exit_code(self) -> int:
        """1 if anything changed; 3 if something is open, was left out, or nothing was there."""
        if self.verdicts["changed"]:
            return 1
        if self.verdicts["undetermined"] or self.skipped or not self.decisions:
            return 3
        return 0


def show(summary: Summary, tally: Tally, console: Console) -> None:
    """Print totals, then the first decisions of the wanted kinds."""
    console.print(cell(_heading(summary)))
    totals = Table("verdict", "decisions", "meaning", box=None)
    for verdict in VERDICTS:
        colour = _COLOURS[verdict] if summary.verdicts[verdict] else "dim"
        meaning = _MEANINGS[verdict]
        if verdict == "changed" and summary.verdicts[verdict]:
            meaning += f"; {summary.other_outcome} with another outcome"
        totals.add_row(f"[{colour}]{verdict}[/{colour}]", str(summary.verdicts[verdict]), meaning)
    console.print(totals)
    for cause, count in sorted(summary.skipped.items()):
        console.print(cell(f"left out: {count} lines: {cause}", "yellow"))
    if tally.shown:
        console.print(_listed(tally.shown))
    if tally.left_out:
        console.print(f"and {tally.left_out} more; --limit shows more, --json all")
    per_second = summary.decisions / max(summary.seconds, 1e-6)
    console.print(f"{summary.seconds:.1f} s, {per_second:.0f} decisions/s", style="dim")


def _heading(summary: Summary) -> str:
    checked = "signatures checked" if summary.signatures_checked else "signatures not checked"
    if summary.digest is None and (summary.own or not summary.bundles):
        what = f"the {summary.bundles} bundles that decided them, {checked}"
    elif summary.digest is None:
        what = "a plain policy: no record was decided by it"
    else:
        what = (
            f"bundle {summary.scope} version {summary.version}, {checked}, {summary.digest}; "
            f"{summary.own} were decided by it"
        )
    return f"{summary.decisions} decisions put to {what}"


def _listed(shown: Sequence[Replayed]) -> Table:
    table = Table("decision", "time", "", "before", "after", "why", box=None)
    for one in shown:
        table.add_row(
            cell(one.id),
            cell(one.time[:19]),
            cell(one.verdict, _COLOURS[one.verdict]),
            cell(_ruling(one.before)),
            cell(_ruling(one.after)),
            cell(_why(one)),
        )
    return table


def _ruling(ruling: Ruling) -> str:
    if not ruling.outcomes:
        return "anything"
    rules = [*ruling.rules, *(f"{rule}?" for rule in ruling.open_rules)]
    told = " or ".join(ruling.outcomes)
    return f"{told} ({'/'.join(ruling.reasons)})" + (f" by {', '.join(rules)}" if rules else "")


def _why(one: Replayed) -> str:
    parts = [one.note or ""]
    if one.differs:
        parts.append(f"differs: {', '.join(one.differs)}")
    if one.missing:
        parts.append(f"not recorded whole: {', '.join(one.missing)}")
    return "; ".join(filter(None, parts))
