"""The account of what waits for the store, against a plain list."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from spool.backlog import Backlog

_STEPS = st.lists(
    st.one_of(
        st.lists(st.integers(100, 20_000), min_size=1, max_size=40),
        st.floats(0.0, 1.0),
    ),
    max_size=60,
)


@given(_STEPS)
def test_bytes_and_age_are_those_of_the_records_that_wait(
    steps: list[list[int] | float],
) -> None:
    backlog = Backlog()
    waiting: list[tuple[int, int, float]] = []
    seq, acked = -1, -1
    for now, step in enumerate(steps):
        if isinstance(step, list):
            waiting += [(seq + 1 + at, size, now) for at, size in enumerate(step)]
            seq += len(step)
            backlog.became_durable(float(now), seq, step)
        else:
            acked += round(step * (seq - acked))
            backlog.acknowledged(acked)
            waiting = [one for one in waiting if one[0] > acked]
        assert backlog.frame_bytes == sum(size for _, size, _ in waiting)
        age = backlog.oldest_seconds(float(now))
        assert age == (now - waiting[0][2] if waiting else None)


def test_a_long_backlog_shrinks_as_it_is_shipped() -> None:
    backlog = Backlog()
    backlog.became_durable(0.0, 99_999, [1_000] * 100_000)
    for through in range(0, 100_000, 500):
        backlog.acknowledged(through)
        assert backlog.frame_bytes == 1_000 * (99_999 - through)
    backlog.acknowledged(99_999)
    assert repr(backlog) == "Backlog(records=0, bytes=0)"
