"""Every earlier root of a log can be told, however its leaves came."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway import merkle
from gateway.log_history import LogHistory


@given(st.lists(st.integers(0, 70), max_size=6))
def test_roots_do_not_depend_on_how_the_leaves_came(counts: list[int]) -> None:
    history, frontier, roots = LogHistory(), merkle.Frontier(), [merkle.EMPTY_ROOT]
    for count in counts:
        first = frontier.size
        leaves = [merkle.leaf_hash(b"%d" % (first + at)) for at in range(count)]
        for leaf in leaves:
            frontier.append(leaf)
            roots.append(frontier.root())
        history.extend(leaves, range(first, first + count))
        assert history.size == frontier.size
    assert [history.root(size) for size in range(history.size + 1)] == roots
    assert [history.received_us(at) for at in range(history.size)] == list(range(history.size))


def test_a_time_beyond_all_times_is_kept_as_the_last() -> None:
    history = LogHistory()
    history.extend([merkle.leaf_hash(b"")], [2**64 - 1])
    assert history.received_us(0) == 2**63 - 1
