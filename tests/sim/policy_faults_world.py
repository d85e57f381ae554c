"""A daemon's policy cache in the simulated world, with its checker.

``FaultWorld`` runs the real refresh loop against ``PolicyEnd``. Whatever goes wrong there, one law
holds (``keep``): the policy in force does not change but by time, no attempt outlives its
deadline, and what is published afterwards comes into force.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio

from policy_cache.cache import PolicyCache
from policy_cache.status import PolicyStatus
from tests.sim.loop import elapse, simulate
from tests.sim.net import Host, SimNetwork
from tests.sim.policy_end import ADDRESS, PolicyEnd, daemon_side
from tests.unit.policy_cache.cache_world import World, held

HOUR = 3_600.0


class FaultWorld:
    """``world``: publisher, disk and clock; ``end``: the service; ``cache``: the daemon's."""

    def __init__(self, tasks: anyio.abc.TaskGroup, world: World) -> None:
        self.world = world
        self.network = SimNetwork(random.Random(1))
        self.end = PolicyEnd(world.source)
        self.tasks = tasks
        self.source, self.dialer = daemon_side(self.network)
        self.cache: PolicyCache
        tasks.start_soon(self.end.serve, Host(self.network))

    async def start(self) -> None:
        """A daemon starts: it loads, and its refresher runs."""
        self.cache = self.world.cache(source=self.source)
        await self.cache.load()
        self.tasks.start_soon(self.cache.run)
        await elapse(1)

    def up(self) -> None:
        """The service can be reached."""
        self.network.refused.discard(ADDRESS)

    def down(self) -> None:
        """The service refuses every connection."""
        self.network.refused.add(ADDRESS)

    @property
    def status(self) -> PolicyStatus:
        return self.cache.status()

    @property
    def state(self) -> str:
        return self.status.state

    async def keep(self, heal: Callable[[], None], minutes: float = 3) -> PolicyStatus:
        """The checker: a fault has begun; the status at its end, before ``heal``."""
        before, version = held(self.cache), self.world.bundle_version
        assert before.version == version - 1, "a newer version is there to be missed"
        for _ in range(round(minutes * 6)):
            await elapse(10)
            assert held(self.cache).digest == before.digest
            assert held(self.cache).head_version == before.head_version
        seen = self.status
        assert seen.failures_in_a_row > 1
        heal()
        self.world.publish(version)
        await elapse(75)
        assert held(self.cache).version == version
        assert (self.status.failures_in_a_row, self.status.state) == (0, "fresh")
        return seen


@asynccontextmanager
async def fault_world(world: World | None = None) -> AsyncIterator[FaultWorld]:
    """A world with version 1 in force in a running daemon."""
    async with anyio.create_task_group() as tasks:
        made = FaultWorld(tasks, world or World())
        made.world.publish(1)
        await made.start()
        assert held(made.cache).version == 1
        yield made
        tasks.cancel_scope.cancel()


def in_world(act: Callable[[], Awaitable[None]]) -> None:
    """Run one history in virtual time."""
    simulate(1, act)
