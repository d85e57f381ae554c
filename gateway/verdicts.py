"""What an audit says: separate verdicts, each with what it counted and where it failed.

Owns: the list of verdicts, their states, the report and the exit code. Refuses: judging
(``evidence.py`` does) and any single "valid" over all of it.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

State = Literal["true", "false", "incomplete", "not_applicable"]
"""``false``: a check failed. ``incomplete``: nothing is false, and something is not proved."""

VERDICTS: Final[dict[str, str]] = {
    "roots": "every root chains from the pinned fingerprint",
    "form": "every line is the exact form of a known document",
    "signatures": "every signature is valid",
    "entitlement": "every record's key was certified for its instance, tenant, region and time",
    "chain": "no record is missing, twice, out of turn or linked to another one",
    "forks": "no place in a chain has two records",
    "tail": "every chain ends in a seal",
    "outcomes": "every allowed call has its completion",
    "inclusion": "every record is in the log",
    "consistency": "the log only grew",
    "witnesses": "others have seen the log",
}
"""Verdict → what it being true means. Causes come before their consequences."""

_INFORMATIONAL: Final = frozenset({"outcomes"})
LOG_VERDICTS: Final = ("inclusion", "consistency", "witnesses")
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


class Report(msgspec.Struct, frozen=True):
    """All verdicts, in the order of ``VERDICTS``, and what a reader must be told beside them."""

    fingerprint: str
    lines: int
    records: int
    instances: int
    verdicts: list[Verdict]
    notices: list[str]

    @property
    def exit_code(self) -> int:
        """0 all proved · 1 a check failed · 3 nothing false but incomplete."""
        states = {verdict.state for verdict in self.verdicts if not verdict.informational}
        if "false" in states:
            return 1
        return 3 if "incomplete" in states else 0

    def verdict(self, name: str) -> Verdict:
        """The verdict called ``name``. Raises KeyError."""
        for verdict in self.verdicts:
            if verdict.name == name:
                return verdict
        raise KeyError(name)


class Tally(msgspec.Struct):
    """One verdict in the making."""

    counted: int = 0
    false: int = 0
    incomplete: int = 0
    problems: list[Problem] = []

    def note(self, line: int | None, cause: str) -> None:
        """Keep a problem, if there are not enough of them."""
        if len(self.problems) < _PROBLEMS_KEPT:
            self.problems.append(Problem(line, cause))

    def verdict(self, name: str) -> Verdict:
        """What this tally comes to, as the verdict ``name``."""
        state: State = "true"
        if name in LOG_VERDICTS:
            state = "not_applicable"
        elif self.false:
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
            problems=self.problems,
            informational=name in _INFORMATIONAL,
        )
