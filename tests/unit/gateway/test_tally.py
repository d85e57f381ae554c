"""Counts: cumulative, by code and listener, with one byte form."""

from __future__ import annotations

from gateway import documents
from gateway.tally import Tally


def test_counts_are_cumulative_and_by_word() -> None:
    tally = Tally()
    for outcome in ("deny", "allow", "deny"):
        tally.decided(outcome)
    tally.completed("ok")
    tally.turned_away("too_busy", "tcp")
    tally.turned_away("too_busy", "agent")
    tally.turned_away("too_busy", "tcp")
    tally.turned_away("no_key", "agent")
    counters = tally.counters()
    assert counters.decisions == {"allow": 1, "deny": 2}
    assert counters.completions == {"ok": 1}
    assert counters.turned_away == {"no_key": {"agent": 1}, "too_busy": {"agent": 1, "tcp": 2}}
    assert tally.turned_away_total == 4


def test_counters_are_a_snapshot() -> None:
    tally = Tally()
    tally.turned_away("too_busy", "tcp")
    before = tally.counters()
    tally.turned_away("too_busy", "tcp")
    tally.decided("allow")
    assert before.turned_away == {"too_busy": {"tcp": 1}}
    assert before.decisions == {}
    assert "turned_away=2" in repr(tally)


def test_equal_counts_have_equal_bytes_whatever_came_first() -> None:
    one, other = Tally(), Tally()
    for tally, order in ((one, (0, 1)), (other, (1, 0))):
        for place in order:
            tally.decided(("allow", "deny")[place])
            tally.completed(("ok", "timeout")[place])
            tally.turned_away(("no_key", "draining")[place], "tcp")
            tally.turned_away("too_busy", ("tcp", "agent")[place])
    assert documents.encode(one.counters()) == documents.encode(other.counters())
