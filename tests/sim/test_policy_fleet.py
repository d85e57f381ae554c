"""A thousand daemons ask one source for policy, by the real refresh loop on a virtual clock.

Their first question comes without jitter, because a start waits for it: daemons that are started
in the same second ask in the same second, once. From then on no second may see more than three
times the mean.
"""

from __future__ import annotations

import random

import anyio
import pytest

from policy_cache.fetch import FetchFailed
from tests.sim.loop import elapse, simulate
from tests.unit.policy_cache.cache_world import UNREACHABLE, World
from tests.unit.policy_cache.policy_world import Dice

PODS = 1_000
_RESIGN_SECONDS = 90

# Each asks thousands of times; on a busy machine that takes longer than a test usually may.
pytestmark = pytest.mark.timeout(300)


class Chance(Dice):
    """A daemon's own chance."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._random = random.Random(seed)

    def fraction(self) -> float:
        return self._random.random()


class Fleet:
    """``PODS`` daemons of one scope, all started at once."""

    def __init__(self, tasks: anyio.abc.TaskGroup) -> None:
        self.world = World()
        self._tasks = tasks

    def start(self) -> None:
        for number in range(PODS):
            self._tasks.start_soon(self.world.cache(Chance(number)).run)

    async def publish_for(self, seconds: float) -> None:
        """A policy service that signs a new head before the last one is stale."""
        for _ in range(round(seconds / _RESIGN_SECONDS)):
            self.world.publish()
            await elapse(_RESIGN_SECONDS)

    def seconds(self, start: float, end: float, first: str = "head") -> list[int]:
        """How many attempts began in each second. ``first``: what an attempt asks for first."""
        found = [0] * round(end - start)
        for at, name in self.world.source.asked:
            if name == first and start <= at < end:
                found[int(at - start)] += 1
        return found


def assert_spread(found: list[int]) -> None:
    mean = sum(found) / len(found)
    assert mean > PODS / 60 / 2, "they hardly ask at all"
    assert max(found) < 3 * mean, (max(found), mean)


def test_a_fleet_that_was_started_at_once_does_not_ask_in_step() -> None:
    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            fleet = Fleet(tasks)
            fleet.world.publish()
            fleet.start()
            await fleet.publish_for(180)
            assert fleet.seconds(0, 1) == [PODS]
            assert_spread(fleet.seconds(30, 180))
            tasks.cancel_scope.cancel()

    simulate(1, main)


def test_a_fleet_does_not_come_back_in_step_when_a_common_outage_ends() -> None:
    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            fleet = Fleet(tasks)
            fleet.world.publish()
            fleet.start()
            await fleet.publish_for(90)
            fleet.world.source.down = UNREACHABLE
            await elapse(270)
            fleet.world.source.down = None
            await fleet.publish_for(180)
            assert_spread(fleet.seconds(360, 420))
            assert_spread(fleet.seconds(420, 540))
            tasks.cancel_scope.cancel()

    simulate(2, main)


def test_a_fleet_that_is_started_into_an_outage_and_told_when_to_come_back_does_not_in_step() -> (
    None
):
    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            fleet = Fleet(tasks)
            fleet.world.source.down = FetchFailed("status", "503", 20.0)
            fleet.start()
            await elapse(180)
            assert_spread(fleet.seconds(90, 180, "root 1"))
            fleet.world.source.down = None
            await fleet.publish_for(180)
            assert_spread(fleet.seconds(270, 360))
            tasks.cancel_scope.cancel()

    simulate(3, main)
