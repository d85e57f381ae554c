"""Sets of seqs behave as sets do, however they are cut into ranges."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from spool.ranges import NONE, SeqRanges

SEQS = st.sets(st.integers(0, 40), max_size=20)


def ranges(seqs: set[int]) -> SeqRanges:
    return SeqRanges((seq, seq) for seq in seqs)


def members(found: SeqRanges) -> set[int]:
    return {seq for first, last in found for seq in range(first, last + 1)}


@given(SEQS, SEQS, st.integers(-1, 41))
def test_arithmetic_is_that_of_sets(one: set[int], other: set[int], seq: int) -> None:
    left, right = ranges(one), ranges(other)
    assert members(left) == one
    assert members(left | right) == one | other
    assert members(left - right) == one - other
    assert members(left.through(seq)) == {each for each in one if each <= seq}
    assert members(left.since(seq)) == {each for each in one if each >= seq}
    assert (seq in left) == (seq in one)
    assert left.count == len(one)
    assert (left.first, left.last) == (min(one, default=None), max(one, default=None))
    assert bool(left) == bool(one)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=8))
def test_pairs_in_any_order_become_sorted_ranges_that_do_not_touch(
    pairs: list[tuple[int, int]],
) -> None:
    found = list(SeqRanges(pairs))
    assert found == sorted(found)
    assert all(before[1] + 1 < after[0] for before, after in pairwise(found))
    assert members(SeqRanges(found)) == {
        seq for first, last in pairs for seq in range(first, last + 1)
    }


def test_equal_sets_are_equal() -> None:
    assert SeqRanges([(3, 4), (1, 2)]) == SeqRanges([(1, 4)])
    assert hash(SeqRanges([(3, 4), (1, 2)])) == hash(SeqRanges([(1, 4)]))
    assert SeqRanges([(4, 3)]) == NONE != SeqRanges([(0, 0)])
    assert repr(SeqRanges([(1, 4)])) == "SeqRanges([(1, 4)])"
