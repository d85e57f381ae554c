"""From the places where a rule may have hit to what it found there.

Owns: windows around hits, the exact match, checks and context words, and the choice among
overlapping findings. Refuses: scanning (``scanner.py``) and where a text came from (``views.py``).
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

from gateway import limits
from gateway.classify.checks import CARVERS, CHECKS
from gateway.classify.pack import CONTEXT_BYTES, Rule
from gateway.errors import ConfigInvalid
from gateway.vocabulary import LEVEL_RANK


class Spans(NamedTuple):
    """``spans``: byte offsets of findings. ``saturated``: there were more candidates than
    SCAN_CANDIDATES_PER_RULE_MAX, and the rest was not looked at."""

    spans: list[tuple[int, int]]
    saturated: bool


class Matcher:
    """One rule, ready to judge. Its expressions are compiled when they are first needed."""

    def __init__(self, rule: Rule) -> None:
        """Raises ConfigInvalid for a check or carver that this version does not know."""
        self.rule = rule
        unknown = [name for name in rule.checks if name not in CHECKS]
        if rule.carve is not None and rule.carve not in CARVERS:
            unknown.append(rule.carve)
        if unknown:
            raise ConfigInvalid(f"rule {rule.id!r}: unknown check {unknown[0]!r}")
        self._checks = tuple(CHECKS[name] for name in rule.checks)
        self._carve = None if rule.carve is None else CARVERS[rule.carve]

    @cached_property
    def _match(self) -> re.Pattern[bytes]:
        flags = re.IGNORECASE if self.rule.caseless else 0
        try:
            return re.compile(self.rule.match.encode(), flags)
        except re.error as error:
            raise ConfigInvalid(f"rule {self.rule.id!r}: `match`: {error}") from None

    @cached_property
    def _context(self) -> re.Pattern[bytes] | None:
        if not self.rule.context:
            return None
        words = b"|".join(re.escape(word.encode()) for word in self.rule.context)
        return re.compile(rb"(?<![A-Za-z])(?:" + words + rb")", re.IGNORECASE)

    def find(self, text: bytes, ends: Sequence[int]) -> Spans:
        """What the rule finds in ``text`` near ``ends``, the ends of its hits in any order."""
        spans: list[tuple[int, int]] = []
        candidates = 0
        for low, high in self._windows(len(text), sorted(ends)):
            if not self._has_context(text, low, high):
                continue
            for match in self._match.finditer(text, low, high):
                candidates += 1
                if candidates > limits.SCAN_CANDIDATES_PER_RULE_MAX:
                    return Spans(spans, saturated=True)
                spans.extend(self._accepted(text, match))
        return Spans(spans, saturated=False)

    def _windows(self, size: int, ends: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Windows around ascending ``ends``; those that touch are one: nothing is matched twice."""
        low: int | None = None
        high = 0
        for end in ends:
            start = max(0, end - self.rule.before)
            if low is None:
                low = start
            elif start > high:
                yield low, high
                low = start
            high = min(size, end + self.rule.after)
        if low is not None:
            yield low, high

    def _accepted(self, text: bytes, match: re.Match[bytes]) -> Iterator[tuple[int, int]]:
        start, end = match.span(match.lastindex or 0)
        found = text[start:end]
        # NUL stands between pieces only; nothing is ever split over two of them.
        if b"\0" in found:
            return
        carved = [(0, len(found))] if self._carve is None else self._carve(found)
        for low, high in carved:
            candidate = found[low:high]
            if all(check(candidate) for check in self._checks) and self._has_context(
                text, start + low, start + high
            ):
                yield start + low, start + high

    def _has_context(self, text: bytes, start: int, end: int) -> bool:
        """Whether a context word stands near ``start``..``end``, or within."""
        if self._context is None:
            return True
        low, high = max(0, start - CONTEXT_BYTES), end + CONTEXT_BYTES
        return any(
            b"\0" not in text[word.end() : start] and b"\0" not in text[end : word.start()]
            for word in self._context.finditer(text, low, high)
        )


class Found(NamedTuple):
    """A finding in a text, in bytes. ``rule``: index in the pack."""

    rule: int
    start: int
    end: int


def without_overlaps(found: Sequence[Found], rules: Sequence[Rule]) -> list[Found]:
    """``found`` in order of place; of two that overlap the higher level stays, then the rule that
    stands earlier in the pack, then the longer one. So the level of a text never sinks, but for
    what a rule says it ``contains``."""

    def rank(one: Found) -> tuple[int, int, int, int]:
        level = LEVEL_RANK[rules[one.rule].level]
        return (-level, one.rule, one.start - one.end, one.start)

    kept: list[Found] = []
    places: list[int] = []
    for one in sorted(_without_contained(found, rules), key=rank):
        index = bisect_left(places, one.start)
        clear_before = index == 0 or kept[index - 1].end <= one.start
        clear_after = index == len(kept) or one.end <= kept[index].start
        if clear_before and clear_after:
            kept.insert(index, one)
            places.insert(index, one.start)
    return kept


def _without_contained(found: Sequence[Found], rules: Sequence[Rule]) -> list[Found]:
    """``found`` without what stands whole inside a finding whose rule contains it."""
    containers = [one for one in found if rules[one.rule].contains]
    return [
        one
        for one in found
        if not any(
            whole.start <= one.start
            and one.end <= whole.end
            and rules[one.rule].id in rules[whole.rule].contains
            for whole in containers
        )
    ]
