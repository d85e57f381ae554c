"""What goes wrong in a simulated world, and when: one seed is one weather.

Crashes come at chosen moments: half of them between a write and its sync, a tenth between
changes of names and their sync, others at once or after so many operations of a start. Everything
else lasts a while and passes. Faults that overlap are meant to.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Final, Literal, Protocol

import anyio

from tests.sim.central import ADDRESS, Central
from tests.sim.clock import SimClock
from tests.sim.disk import Faults
from tests.sim.net import SimNetwork
from tests.sim.provider import MODELS, TOOLS, Provider
from tests.sim.publisher import Publisher

AGENT_SOCKET: Final = "/run/gatepost/agent/agent.sock"
AGENT_PORT: Final = "127.0.0.1:4141"
CrashKind = Literal["sync", "names", "write", "now"]

_CRASHES: Final[dict[CrashKind, int]] = {"sync": 5, "names": 1, "write": 1, "now": 3}
_EVENTS: Final = {
    "crash": 40,
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
    "clock_step": 3,
}


class Daemons(Protocol):
    """What the weather may do to the daemon, and to its present disk."""

    @property
    def faults(self) -> Faults: ...

    def crash(self) -> None:
        """The machine or process is gone now."""

    def arm(self, kind: Literal["write", "sync", "names"], under: str) -> None:
        """The power fails before the next operation of this kind."""

    def stop(self) -> None:
        """SIGTERM."""

    def fail_next_sync(self) -> None: ...

    def fill_disk(self, spare_bytes: int | None) -> None:
        """Leave that much room on the volume; None for all of it."""


class Weather:
    """``mean_seconds`` of virtual time lie between two events."""

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
        self._troubles = 0
        self._calm_since = 0.0

    @property
    def calm_seconds(self) -> float:
        """For how long nothing has stood between the daemon and the central services."""
        return 0.0 if self._troubles else anyio.current_time() - self._calm_since

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
        faults.cut_before = faults.sync_error_at = faults.cut_at_operation = None
        faults.flush_seconds = Faults().flush_seconds
        self._daemons.fill_disk(None)

    def draw_start(self) -> int | None:
        """At which operation of the next start the power fails again; mostly never."""
        if self._chance.random() > 0.2:
            return None
        self.counts["crash_in_start"] += 1
        return self._chance.randrange(1, 80)

    # -- what may happen

    async def _crash(self) -> None:
        (kind,) = self._chance.choices(list(_CRASHES), list(_CRASHES.values()))
        self.counts[f"crash_{kind}"] += 1
        if kind == "now":
            self._daemons.crash()
        else:
            under = "/" if self._chance.random() < 0.25 else "/var/spool"
            self._daemons.arm(kind, under)

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
            await self._last(10, 1_500)
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

    async def _clock_step(self) -> None:
        self._calm_since = anyio.current_time()
        self._clock.step(self._chance.choice((-3_600, -90, -5, 5, 50, 600)))

    async def _last(self, least_seconds: float, most_seconds: float) -> None:
        await anyio.sleep(self._chance.uniform(least_seconds, most_seconds))
