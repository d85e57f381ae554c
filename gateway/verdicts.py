"""What an audit says: separate verdicts, each with what it counted and where it failed.

Owns: the list of verdicts, their states, the report and the exit code. Refuses: judging
(``evidence.py`` and what it is made of) and any single "valid" over all of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

State = Literal["true", "false", "incomplete", "not_applicable"]
"""``false``: a check failed. ``incomplete``: nothing is false, and something is not proved.
``not_applicable``: nothing was asked, or there was nothing to look at."""

VERDICTS: Final[dict[str, str]] = {
    "roots": "every root chains from the pinned fingerprint",
    "form": "every line is the exact form of a known document",
    "signatures": "every signature is valid",
    "entitlement": "every record's key was certified for its instance, tenant, region and time",
    "chain": "no record is missing, twice, out of turn or linked to another one",
    "forks": "no place in a chain has two records",
    "inclusion": "every record is in the log, and stands at its place",
    "consistency": "the log only grew, as the pinned checkpoint and the daemons saw it",
    "witnesses": "the witnesses that were named cosigned the checkpoint",
    "revocations": "no record is by a key that was taken back before others had seen it",
    "time": "no record's own time contradicts what the log had seen by then",
    "instances": "every certified instance shows its chain",
    "tail": "every chain ends in a seal",
    "outcomes": "every allowed call has its completion",
}
"""Verdict → what it being true means. Causes come before their consequences."""

_INFORMATIONAL: Final = frozenset({"outcomes"})
_PROBLEMS_KEPT: Final = 20


class Problem(msgspec.Struct, frozen=True):
    """``line``: of the export, from 1; None where it is about no single line."""

    line: int | None
    cause: str


class Verdict(msgspec.Struct, frozen=True):
    """``counted``: what the verdict was reached on. ``problems``: the first of ``problem_count``.

    ``informational`` verdicts are shown and do not decide the exit code.
    """

    name: str
    state: State
    counted: int
    problem_count: int
    problems: list[Problem]
    informational: bool


class Cosignature(msgspec.Struct, frozen=True):
    """``time``: ``YYYY-MM-DDTHH:MM:SS.ffffffZ``, by the clock of the witness ``name``."""

    name: str
    time: str


class Anchor(msgspec.Struct, frozen=True):
    """The checkpoint that all was held against. ``root``: base64; ``cosigned``: by witnesses that
    were named, the others' lines are passed over."""

    origin: str
    size: int
    root: str
    cosigned: list[Cosignature]


class Grades(msgspec.Struct, frozen=True):
    """How well the times of records are proved; each record counts once, in its best grade.

    ``claimed`` (T0): by the daemon alone. ``bracketed`` (T1): the log holds it, with the time at
    which it arrived. ``cosigned`` (T2): it is below a checkpoint that enough witnesses have seen.
    ``stamped`` (T3, RFC 3161) is not built, and so always 0.
    """

    claimed: int
    bracketed: int
    cosigned: int
    stamped: int = 0


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All verdicts, in the order of ``VERDICTS``, and what a reader must be told beside them.

    ``custody``: of the newest root, None without one. ``complete``: the export holds every leaf of
    the log, and they add up to the checkpoint. ``anchor``: None where no checkpoint was proved.
    """

    fingerprint: str
    custody: str | None
    lines: int
    records: int
    instances: int
    complete: bool
    anchor: Anchor | None
    grades: Grades
    verdicts: list[Verdict]
    notices: list[str]

    @property
    def exit_code(self) -> int:
        """0 all proved · 1 a check failed · 3 nothing false but incomplete."""
        states = {verdict.state for verdict in self.verdicts if not verdict.informational}
        if "false" in states:
            return 1
        return 3 if "incomplete" in states else 0

    @property
    def cause(self) -> tuple[str, Problem] | None:
        """(verdict, problem) that comes first: of the false ones, else of the incomplete."""
        for state in ("false", "incomplete"):
            for verdict in self.verdicts:
                if verdict.state == state and not verdict.informational:
                    return verdict.name, verdict.problems[0]
        return None

    def verdict(self, name: str) -> Verdict:
        """The verdict called ``name``. Raises KeyError."""
        for verdict in self.verdicts:
            if verdict.name == name:
                return verdict
        raise KeyError(name)


class Tally(msgspec.Struct):
    """One verdict in the making. ``problems``: the first false ones, then the incomplete."""

    counted: int = 0
    false: int = 0
    incomplete: int = 0
    problems: list[Problem] = []
    lacking: list[Problem] = []

    def note(self, line: int | None, cause: str, *, lacks: bool = False) -> None:
        """Keep a problem, if there are not enough of them. ``lacks``: nothing is false there."""
        kept = self.lacking if lacks else self.problems
        if len(kept) < _PROBLEMS_KEPT:
            kept.append(Problem(line, cause))

    def verdict(self, name: str) -> Verdict:
        """What this tally comes to, as the verdict ``name``."""
        state: State = "true"
        if self.false:
            state = "false"
        elif self.incomplete:
            state = "incomplete"
        elif not self.counted:
            # Nothing was looked at, so nothing was found true.
            state = "not_applicable"
        return Verdict(
            name=name,
            state=state,
            counted=self.counted,
            problem_count=self.false + self.incomplete,
            problems=[*self.problems, *self.lacking][:_PROBLEMS_KEPT],
            informational=name in _INFORMATIONAL,
        )


class Tallies:
    """Every verdict in the making."""

    def __init__(self, names: Iterable[str] = VERDICTS) -> None:
        self._tallies = {name: Tally() for name in names}

    def of(self, name: str) -> Tally:
        """The one called ``name``, for who counts a thing with every record."""
        return self._tallies[name]

    def count(self, name: str, number: int = 1) -> None:
        """``number`` more things were looked at for ``name``."""
        self._tallies[name].counted += number

    def counted(self, name: str) -> int:
        """How many things were looked at for ``name``."""
        return self._tallies[name].counted

    def false(self, name: str, cause: str, line: int | None) -> None:
        """A check of ``name`` failed."""
        tally = self._tallies[name]
        tally.false += 1
        tally.note(line, cause)

    def incomplete(self, name: str, cause: str, line: int | None) -> None:
        """Something that ``name`` is about is not proved."""
        tally = self._tallies[name]
        tally.incomplete += 1
        tally.note(line, cause, lacks=True)

    def verdicts(self) -> list[Verdict]:
        """What they come to, in order."""
        return [tally.verdict(name) for name, tally in self._tallies.items()]
