"""What goes wrong in a simulated world, and when: one seed is one weather.

Crashes come at chosen moments: about half of them between a write and its sync, more than a tenth
between changes of names, others before a write, at once, or after so many operations of a start.
Everything else lasts a while and passes. Faults that overlap are meant to.
"""

from __future__ import annotations

import errno
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

import anyio

from tests.sim.central import ADDRESS, Central
from tests.sim.clock import SimClock
from tests.sim.disk import Faults, Moment
from tests.sim.net import SimNetwork
from tests.sim.provider import MODELS, TOOLS, Provider
from tests.sim.publisher import Publisher
from tests.sim.restoring import Restorer

AGENT_SOCKET: Final = "/run/gatepost/agent/agent.sock"
AGENT_PORT: Final = "127.0.0.1:4141"
_AT_ONCE: Final = 0.15
_MOMENTS: Final[tuple[Moment, ...]] = ("sync", "names", "write")
_MOMENT_WEIGHTS: Final = (6, 2, 1)
_START_CRASHES: Final = 0.55
_START_SKIPS_MAX: Final = 12
_DOWN_SECONDS_MAX: Final = 60.0
_STOPPING_SECONDS: Final = 30.0
"""So long that a stop is mostly over by then."""
_START_READS_MAX: Final = 40
_SPOOL: Final = "/var/spool"
_EVENTS: Final = {
    "stop": 10,
    "publish": 10,
    "central_away": 8,
    "central_cut": 8,
    "central_slow": 5,
    "central_twice": 4,
    "upstream_away": 4,
    "upstream_cut": 4,
    "agents_cut": 5,
    "lock": 3,
    "slow_flush": 5,
    "full_disk": 4,
    "failed_sync": 3,
    "failed_write": 3,
    "failed_read": 3,
    "rot": 6,
    "unread": 8,
    "hurry": 10,
    "clock_step": 3,
}


class Daemons(Protocol):
    """What the weather may do to the daemon, and to its present disk."""

    @property
    def faults(self) -> Faults: ...

    @property
    def down_seconds(self) -> float:
        """For how long no daemon has taken calls; 0 while one does."""

    def crash(self) -> None:
        """The machine or process is gone now."""

    def arm(self, moment: Moment, under: str, skips: int) -> None:
        """The power fails before the next operation of this kind, too, after so many more."""

    def stop(self) -> None:
        """SIGTERM."""

    def fail_next_sync(self) -> None: ...

    def fail_next_write(self, code: int | None) -> None:
        """``code``: of the error; None for a write that writes nothing."""

    def fail_next_read(self, under: str, skips: int) -> None:
        """Of a path that begins so, after so many more reads."""

    def rot(self) -> None:
        """Something that was written no longer reads back."""

    def fill_disk(self, spare_bytes: int | None) -> None:
        """Leave that much room on the volume; None for all of it."""


class Weather:
    """``mean_seconds`` of virtual time lie between two events, ``crash_seconds`` between two
    attempts to crash the daemon."""

    def __init__(
        self,
        daemons: Daemons,
        publisher: Publisher,
        network: SimNetwork,
        central: Central,
        provider: Provider,
        clock: SimClock,
        chance: random.Random,
        mean_seconds: float,
        crash_seconds: float,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._daemons = daemons
        self._publisher = publisher
        self._network = network
        self._central = central
        self._provider = provider
        self._clock = clock
        self._chance = chance
        self._mean_seconds = mean_seconds
        self._crash_seconds = crash_seconds
        self._troubles = 0
        self._calm_since = 0.0
        self._spared = 0
        self._reads_to_fail: int | None = None

    @property
    def calm_seconds(self) -> float:
        """For how long nothing has stood between the daemon and the central services."""
        return 0.0 if self._troubles else anyio.current_time() - self._calm_since

    @property
    def _sparing(self) -> bool:
        """Whether nothing crashes now: a daemon that never serves teaches nothing more."""
        return self._spared > 0 or self._daemons.down_seconds > _DOWN_SECONDS_MAX

    @contextmanager
    def _troubling(self) -> Iterator[None]:
        self._troubles += 1
        try:
            yield
        finally:
            self._troubles -= 1
            self._calm_since = anyio.current_time()

    async def run(self) -> None:
        """Until cancelled."""
        names, weights = list(_EVENTS), list(_EVENTS.values())
        async with anyio.create_task_group() as passing:
            passing.start_soon(self._crashes)
            while True:
                await anyio.sleep(self._chance.expovariate(1 / self._mean_seconds))
                (name,) = self._chance.choices(names, weights)
                self.counts[name] += 1
                happen: Callable[[], Coroutine[None, None, None]] = getattr(self, f"_{name}")
                passing.start_soon(happen)

    def clear(self) -> None:
        """Fair weather from here on."""
        network = self._network
        network.refused.clear()
        network.silent.clear()
        network.latency.clear()
        network.cut_rate.clear()
        self._central.duplicate_rate = 0.0
        self._provider.trouble = 0.0
        faults = self._daemons.faults
        faults.cut_before = frozenset()
        faults.sync_error_at = faults.write_error_at = faults.read_error_at = None
        faults.flush_seconds = Faults().flush_seconds
        self._daemons.fill_disk(None)

    def arm_start(self) -> None:
        """A daemon is about to start: often the power fails again before it serves."""
        if self._reads_to_fail is not None:
            self._daemons.fail_next_read(_SPOOL, self._reads_to_fail)
            self._reads_to_fail = None
        if not self._sparing and self._chance.random() < _START_CRASHES:
            (moment,) = self._chance.choices(_MOMENTS, _MOMENT_WEIGHTS)
            self._daemons.arm(moment, "/", self._chance.randrange(_START_SKIPS_MAX))

    # -- what may happen

    async def _crashes(self) -> None:
        while True:
            await anyio.sleep(self._chance.expovariate(1 / self._crash_seconds))
            if self._sparing:
                continue
            if self._chance.random() < _AT_ONCE:
                self._daemons.crash()
                continue
            (moment,) = self._chance.choices(_MOMENTS, _MOMENT_WEIGHTS)
            under = "/" if self._chance.random() < 0.25 else _SPOOL
            self._daemons.arm(moment, under, 0)

    async def _stop(self) -> None:
        """Mostly in fair weather; sometimes while nothing can be shipped, or until just then."""
        if self._chance.random() < 0.6:
            self._daemons.stop()
            return
        with self._troubling():
            self._network.refused.add(ADDRESS)
            self._network.sever(ADDRESS)
            await self._last(0, 40)
            self._daemons.stop()
            await self._last(15, 40)
            self._network.refused.discard(ADDRESS)

    async def _publish(self) -> None:
        await self._publisher.publish()

    async def _lock(self) -> None:
        await self._publisher.lock()
        await self._last(60, 300)
        await self._publisher.unlock()

    async def _central_away(self) -> None:
        with self._troubling():
            places = self._chance.choice((self._network.refused, self._network.silent))
            places.add(ADDRESS)
            self._network.sever(ADDRESS)
            await self._last(10, 600)
            places.discard(ADDRESS)

    async def _central_cut(self) -> None:
        with self._troubling():
            self._network.cut_rate[ADDRESS] = self._chance.uniform(0.05, 0.5)
            self._network.sever(ADDRESS)
            await self._last(30, 300)
            self._network.cut_rate.pop(ADDRESS, None)
            self._network.sever(ADDRESS)

    async def _central_slow(self) -> None:
        with self._troubling():
            self._network.latency[ADDRESS] = (0.0, self._chance.uniform(2.0, 15.0))
            self._network.sever(ADDRESS)
            await self._last(30, 300)
            self._network.latency.pop(ADDRESS, None)
            self._network.sever(ADDRESS)

    async def _central_twice(self) -> None:
        self._central.duplicate_rate = 0.5
        await self._last(30, 300)
        self._central.duplicate_rate = 0.0

    async def _upstream_away(self) -> None:
        address = self._chance.choice((*MODELS, *TOOLS))
        self._network.refused.add(address)
        if self._chance.random() < 0.5:
            self._network.sever(address)
        await self._last(5, 200)
        self._network.refused.discard(address)

    async def _upstream_cut(self) -> None:
        for address in (*MODELS, *TOOLS):
            self._network.sever(address, share=0.7)

    async def _agents_cut(self) -> None:
        for address in (AGENT_SOCKET, AGENT_PORT):
            self._network.sever(address, share=0.7)

    async def _slow_flush(self) -> None:
        faults = self._daemons.faults
        faults.flush_seconds = self._chance.uniform(0.2, 2.5)
        await self._last(5, 60)
        faults.flush_seconds = Faults().flush_seconds

    async def _full_disk(self) -> None:
        self._daemons.fill_disk(self._chance.choice((0, 1_000, 50_000, 300_000)))
        await self._last(5, 120)
        self._daemons.fill_disk(None)

    async def _failed_sync(self) -> None:
        self._daemons.fail_next_sync()

    async def _failed_write(self) -> None:
        """Once. A volume that shares its blocks can be full for a file that has its size."""
        self._daemons.fail_next_write(self._chance.choice((errno.EIO, errno.ENOSPC, None)))

    async def _failed_read(self) -> None:
        self._daemons.fail_next_read("/", 0)

    async def _unread(self) -> None:
        """A start that cannot read what a dead instance left, and an orderly stop soon after."""
        self._reads_to_fail = self._chance.randrange(_START_READS_MAX)
        await self._live_shortly(6, 30)

    async def _hurry(self) -> None:
        """A stop right after a start, while the issuer and the store take their time."""
        with self._troubling():
            self._network.latency[ADDRESS] = (0.0, self._chance.uniform(1.0, 6.0))
            self._network.sever(ADDRESS)
            await self._live_shortly(3, 14)
            self._network.latency.pop(ADDRESS, None)

    async def _live_shortly(self, least_seconds: float, most_seconds: float) -> None:
        """Another life, which is stopped so long after the crash, and does not crash."""
        self._spared += 1
        self._daemons.crash()
        await self._last(least_seconds, most_seconds)
        self._daemons.stop()
        await self._last(_STOPPING_SECONDS, _STOPPING_SECONDS)
        self._spared -= 1

    async def _rot(self) -> None:
        """While records wait for the store, because what is in the store cannot be lost."""
        with self._troubling():
            self._network.refused.add(ADDRESS)
            self._network.sever(ADDRESS)
            await self._last(2, 30)
            self._daemons.rot()
            await self._last(0, 10)
            self._network.refused.discard(ADDRESS)

    async def restore_store(self, restorer: Restorer) -> None:
        """Once: the store comes back from a backup; its log is reopened before that, or later."""
        await self._last(30, 120)
        restorer.back_up()
        await self._last(20, 150)
        with self._troubling():
            self._network.refused.add(ADDRESS)
            self._network.sever(ADDRESS)
            try:
                await self._last(5, 20)
                # A daemon that starts again sends what is on its disk anyway: this one lives on.
                self._spared += 1
                restorer.restore()
                await self._last(5, 20)
                if self._chance.random() < 0.5:
                    self._network.refused.discard(ADDRESS)
                    await self._last(20, 60)
            finally:
                restorer.reopen()
                self._network.refused.discard(ADDRESS)
        self.counts["store_restored"] += 1
        await self._last(60, 90)
        self._daemons.stop()
        await self._last(_STOPPING_SECONDS, _STOPPING_SECONDS)
        self._spared -= 1

    async def _clock_step(self) -> None:
        """The clock jumps; most jumps are put right after a while, by another one."""
        seconds = self._chance.choice((-3_600, -90, -5, 5, 50, 600))
        self._calm_since = anyio.current_time()
        self._clock.step(seconds)
        if self._chance.random() < 0.8:
            await self._last(30, 600)
            self._calm_since = anyio.current_time()
            self._clock.step(-seconds)

    async def _last(self, least_seconds: float, most_seconds: float) -> None:
        await anyio.sleep(self._chance.uniform(least_seconds, most_seconds))
