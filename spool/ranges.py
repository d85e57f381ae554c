"""Sets of seqs, kept as ranges: a lost stretch of a chain is two numbers, however long it is.

Owns: their arithmetic. Pure; a set never changes. Refuses: knowing what a set is of.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator


class SeqRanges:
    """Seqs as (first, last) pairs; both ends belong to it. Sorted, and apart from each other."""

    __slots__ = ("_pairs",)

    def __init__(self, pairs: Iterable[tuple[int, int]] = ()) -> None:
        """Any pairs, in any order; one whose first is above its last is empty."""
        merged: list[tuple[int, int]] = []
        for first, last in sorted(pairs):
            if first > last:
                continue
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(merged[-1][1], last))
            else:
                merged.append((first, last))
        self._pairs = tuple(merged)

    def __repr__(self) -> str:
        return f"SeqRanges({list(self._pairs)})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SeqRanges) and self._pairs == other._pairs

    def __hash__(self) -> int:
        return hash(self._pairs)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self._pairs)

    def __bool__(self) -> bool:
        return bool(self._pairs)

    def __contains__(self, seq: int) -> bool:
        return any(first <= seq <= last for first, last in self._pairs)

    @property
    def count(self) -> int:
        """How many seqs."""
        return sum(last - first + 1 for first, last in self._pairs)

    @property
    def first(self) -> int | None:
        """The lowest seq."""
        return self._pairs[0][0] if self._pairs else None

    @property
    def last(self) -> int | None:
        """The highest seq."""
        return self._pairs[-1][1] if self._pairs else None

    def __or__(self, other: SeqRanges) -> SeqRanges:
        return SeqRanges((*self._pairs, *other._pairs)) if other else self

    def __sub__(self, other: SeqRanges) -> SeqRanges:
        left: list[tuple[int, int]] = []
        taken = list(other)
        for first, last in self._pairs:
            for taken_first, taken_last in taken:
                if taken_last < first:
                    continue
                if taken_first > last:
                    break
                left.append((first, taken_first - 1))
                first = taken_last + 1
            left.append((first, last))
        return SeqRanges(left)

    def through(self, seq: int) -> SeqRanges:
        """Those up to ``seq``."""
        return SeqRanges((first, min(last, seq)) for first, last in self._pairs)

    def since(self, seq: int) -> SeqRanges:
        """Those from ``seq`` on."""
        return SeqRanges((max(first, seq), last) for first, last in self._pairs)


NONE = SeqRanges()
