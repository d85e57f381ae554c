"""Whether the keys of a chain were anybody's to use, held against a root from outside.

Owns: feeding the export verifier (``gateway.evidence``) with roots, certificates and records of
one instance, and its two verdicts about trust, with seqs in place of lines. Refuses: files, and
judging anything itself. Memory grows by some 32 bytes per record, which the verifier keeps.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Final

import msgspec

from gateway.evidence import Auditor
from gateway.verdicts import Problem, Verdict
from spool.scan import StoredRecord

MEANINGS: Final = {
    "roots": "every root chains from the pinned fingerprint",
    "entitlement": "every record's key was certified for its instance, tenant, region and time",
}
"""Verdict → what it being true means."""


class Entitlement:
    """``lines``: root documents, then the certificates of the chain, with newlines."""

    def __init__(self, fingerprint: str, lines: Iterable[bytes]) -> None:
        self._auditor = Auditor(fingerprint)
        self._line = 0
        self._runs: list[tuple[int, int]] = []
        for line in lines:
            self._add(line)
        self._documents = self._line

    def add(self, stored: StoredRecord) -> None:
        """Judge the next record of the chain."""
        self._add(stored.envelope_line() + b"\n")
        if not self._runs or stored.seq - self._line != self._runs[-1][1] - self._runs[-1][0]:
            self._runs.append((self._line, stored.seq))

    def _add(self, line: bytes) -> None:
        self._line += 1
        self._auditor.add(line)

    def verdicts(self) -> list[Verdict]:
        """Roots, and entitlement with what is wrong about the certificates themselves."""
        report = self._auditor.report()
        entitlement = report.verdict("entitlement")
        bad = [
            problem
            for problem in report.verdict("signatures").problems
            if problem.line is not None and problem.line <= self._documents
        ]
        if bad:
            entitlement = msgspec.structs.replace(
                entitlement,
                state="false",
                problem_count=entitlement.problem_count + len(bad),
                problems=[*bad, *entitlement.problems],
            )
        return [self._named(one) for one in (report.verdict("roots"), entitlement)]

    def _named(self, verdict: Verdict) -> Verdict:
        problems = [Problem(None, self._where(one.line) + one.cause) for one in verdict.problems]
        return msgspec.structs.replace(verdict, problems=problems)

    def _where(self, line: int | None) -> str:
        if line is None or line <= self._documents:
            return ""
        first_line, first_seq = self._runs[bisect_right(self._runs, (line, 2**63)) - 1]
        return f"seq {first_seq + line - first_line}: "
