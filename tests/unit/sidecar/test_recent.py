"""The ring of last decisions: bounded, in order, and telling whoever waits."""

from __future__ import annotations

import anyio
import msgspec
import pytest

from sidecar.recent import RECENT_MAX, RecentDecision, RecentDecisions
from tests import specimens
from tests.sim.loop import elapse, simulate


def filled(count: int) -> RecentDecisions:
    recent = RecentDecisions()
    for number in range(count):
        add(recent, number)
    return recent


def add(recent: RecentDecisions, number: int) -> None:
    recent.add(msgspec.structs.replace(specimens.DECISION, id=str(number)))


def ids(found: list[RecentDecision]) -> list[int]:
    return [int(one.id) for one in found]


def test_a_line_holds_what_the_record_holds() -> None:
    (line,) = filled(1).newest()
    decision = specimens.DECISION
    assert (line.time, line.person) == (decision.time.decided, decision.person.id)
    assert (line.agent, line.route) == (decision.agent.id, decision.model.route)
    assert (line.level, line.categories) == (decision.data.level, decision.data.categories)
    assert (line.outcome, line.reason) == (decision.decision.outcome, decision.decision.reason)
    assert line.policy_version == decision.policy.version
    assert set(msgspec.structs.asdict(line)) == {
        *("id", "time", "person", "agent", "route", "operation", "model", "tool", "level"),
        *("categories", "outcome", "reason", "policy_version"),
    }


@pytest.mark.parametrize("count", [0, 1, RECENT_MAX, RECENT_MAX + 1, 3 * RECENT_MAX])
def test_the_ring_is_bounded_and_the_count_is_not(count: int) -> None:
    recent = filled(count)
    assert recent.count == count
    kept = ids(recent.newest(10_000))
    assert kept == list(range(max(0, count - RECENT_MAX), count))
    assert ids(recent.newest(3)) == kept[-3:]


def test_what_came_since_is_told_once_and_in_order() -> None:
    recent = filled(5)
    assert ids(recent.since(3)) == [3, 4]
    assert ids(recent.since(5)) == []
    assert ids(recent.since(9)) == []
    for number in range(5, RECENT_MAX + 50):
        add(recent, number)
    found = ids(recent.since(5))
    assert found == list(range(50, RECENT_MAX + 50)), "what fell out of the ring is gone"


def test_every_waiter_wakes_with_the_next_one_and_not_before() -> None:
    woken: list[int] = []

    async def wait(recent: RecentDecisions, beyond: int) -> None:
        await recent.wait_beyond(beyond)
        woken.append(beyond)

    async def world() -> None:
        recent = filled(2)
        async with anyio.create_task_group() as tasks:
            for beyond in (1, 2, 2, 3):
                tasks.start_soon(wait, recent, beyond)
            await elapse(1)
            assert woken == [1]
            add(recent, 3)
            await elapse(1)
            assert sorted(woken) == [1, 2, 2]
            add(recent, 4)
        assert sorted(woken) == [1, 2, 2, 3]

    simulate(1, world)
