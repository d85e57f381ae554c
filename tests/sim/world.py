"""The whole system in one process, on virtual time, by one seed.

Composes the real daemon (``node.py``), the real central services (``central.py``), providers,
agents and weather on one seeded loop, runs them until every agent has made its calls, then heals
everything, waits until all is shipped, and checks. One seed is one history.
"""

from __future__ import annotations

import gc
import hashlib
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import anyio
import msgspec

from tests.sim import central as services
from tests.sim import configuration
from tests.sim.agent import STRANGER, UID, Agent, Way
from tests.sim.asking import draw_kind, fitted
from tests.sim.central import Central
from tests.sim.checkers import FinalCheck
from tests.sim.clock import SimClock
from tests.sim.duties import with_more_to_redact
from tests.sim.entropy import SeededEntropy
from tests.sim.intruder import Intruder
from tests.sim.ledger import Call, Ledger
from tests.sim.loop import simulate
from tests.sim.net import Host, SimNetwork
from tests.sim.node import Node
from tests.sim.operator import Operator
from tests.sim.pack import shared_packs
from tests.sim.policies import CLASSES, call_name
from tests.sim.provider import Provider
from tests.sim.publisher import Publisher
from tests.sim.restoring import Restorer
from tests.sim.signatures import remembered_signatures
from tests.sim.tokens import TokenIssuer
from tests.sim.twists import draw_twist
from tests.sim.weather import AGENT_PORT, AGENT_SOCKET, Weather

_HEALING_SECONDS_MAX: Final = 6 * 3_600.0
_IN_FORCE_SECONDS: Final = 150.0
"""Two refreshes, and the longest wait after a failed one."""
_BEHIND_SECONDS: Final = 50.0
_DOWN_SECONDS: Final = 5.0
_BETWEEN_LOOKS_SECONDS: Final = 5.0
_LINES_KEPT: Final = 30
_ROTATION_SECONDS: Final = 900.0
_WAYS: Final = (
    *(Way(AGENT_SOCKET, UID, "unix"),) * 12,
    *(Way(AGENT_PORT, UID, "tcp"),) * 4,
    *(Way(AGENT_PORT, None, "local"),) * 3,
    Way(AGENT_SOCKET, STRANGER, "stranger"),
)
"""How agents come in, each as often as it stands here."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How large a world is: ``calls`` of each agent; ``restores``: whether the record store is once
    put back to a backup. Means are seconds of virtual time: between
    calls of an agent, events of the weather, attempts at a crash, and looks at the status."""

    agents: int = 12
    calls: int = 118
    think_seconds: float = 2.5
    weather_seconds: float = 50.0
    crash_seconds: float = 4.0
    look_seconds: float = 40.0
    certificate_seconds: int = 24 * 3_600
    hang_up: float = 0.05
    trouble: float = 0.15
    restores: bool = False


def plan_of(seed: int) -> Plan:
    """The plan of a seed: most are stormy, some calmer, crowded, or as long as half a day."""
    if seed % 10 == 5:
        return Plan(agents=8, calls=45, think_seconds=10.0, crash_seconds=150.0, restores=True)
    if seed % 10 == 8:
        return Plan(
            agents=20,
            calls=100,
            think_seconds=1.0,
            weather_seconds=20.0,
            crash_seconds=2.5,
            hang_up=0.1,
        )
    if seed % 10 == 9:
        return Plan(
            agents=6,
            calls=18,
            think_seconds=1_200.0,
            weather_seconds=1_500.0,
            crash_seconds=2_000.0,
            look_seconds=300.0,
            certificate_seconds=3_600,
        )
    return Plan()


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a run amounted to. ``crashes_before``: how many came before which operation of the
    disk, or ``now`` for between two; ``history``: a digest of all that was seen."""

    seed: int
    calls: int
    crashes: int
    crashes_before: dict[str, int]
    lives: int
    cuts: int
    hours: float
    counts: dict[str, int]
    violations: list[str]
    log: list[str]
    history: str

    def __str__(self) -> str:
        return (
            f"seed {self.seed}: {self.calls} calls, {self.crashes} crashes in {self.lives} lives, "
            f"{self.cuts} connections cut, {self.hours:.1f} virtual hours"
        )


class World:
    """One simulated world. ``directory``: files of central keys, the same for every world."""

    def __init__(self, seed: int, plan: Plan, directory: Path) -> None:
        self.seed = seed
        self.plan = plan
        self.ledger = Ledger()
        self._asked = 0
        self._chance = chance = random.Random(seed)
        self._healed = anyio.Event()
        self._true_clock = true_clock = SimClock()
        node_clock = _node_clock(self._part())
        files = directory / f"world-{seed}"
        files.mkdir(exist_ok=True)
        self.issuer = TokenIssuer(configuration.jwks_file(files))
        self.network = SimNetwork(self._part())
        self.central = Central(
            services.configuration(directory, plan.certificate_seconds),
            true_clock,
            SeededEntropy(chance.randrange(2**64)),
            self._part(),
        )
        self.publisher = Publisher(self.central, true_clock, self._part())
        self.provider = Provider(self.ledger, self._part(), plan.trouble)
        self.node = Node(
            configuration.write(files, directory / "packs", one_time=seed % 2 == 0),
            node_clock,
            self.network,
            self.central,
            self.ledger,
            self._part(),
        )
        self._restorer = Restorer(self.central, true_clock, self.ledger, self.node.held)
        self.weather = Weather(
            self.node,
            self.publisher,
            self.network,
            self.central,
            self.provider,
            node_clock,
            self._part(),
            plan.weather_seconds,
            plan.crash_seconds,
        )

    def _part(self) -> random.Random:
        """Chance of a part's own, so that parts do not change each other's."""
        return random.Random(self._chance.getrandbits(64))

    async def run(self) -> Outcome:
        """The whole history; never raises for a broken law, the outcome says so."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.central.serve, Host(self.network))
            tasks.start_soon(self.provider.serve, Host(self.network))
            await anyio.sleep(0.01)
            await self.publisher.publish()
            tasks.start_soon(self._lives)
            tasks.start_soon(self._look)
            async with anyio.create_task_group() as calling:
                calling.start_soon(self._stop_at_violation, calling.cancel_scope)
                await self._calls_in_weather()
                calling.cancel_scope.cancel()
            if not self.ledger.violations:
                await self._heal()
            if not self.ledger.violations:
                await self._check()
            tasks.cancel_scope.cancel()
        return self._outcome()

    async def _calls_in_weather(self) -> None:
        async with anyio.create_task_group() as around:
            around.start_soon(self.weather.run)
            around.start_soon(self._rotate_token_keys)
            around.start_soon(self._intruder().run)
            if self.plan.restores:
                around.start_soon(self.weather.restore_store, self._restorer)
            async with anyio.create_task_group() as agents:
                for _ in range(self.plan.agents):
                    agents.start_soon(self._agent, self._part())
            around.cancel_scope.cancel()

    def _intruder(self) -> Intruder:
        think_seconds = self.plan.think_seconds
        return Intruder(Host(self.network), self.ledger, self._part(), think_seconds)

    async def _stop_at_violation(self, scope: anyio.CancelScope) -> None:
        while not self.ledger.violations:  # noqa: ASYNC110 - checkers are synchronous
            await anyio.sleep(_BETWEEN_LOOKS_SECONDS)
        scope.cancel()

    async def _lives(self) -> None:
        """One life of the daemon after the other."""
        while True:
            if not self._healed.is_set():
                self.weather.arm_start()
            await self.node.live()
            await anyio.sleep(self._chance.random() * _DOWN_SECONDS)

    async def _agent(self, chance: random.Random) -> None:
        agent = Agent(
            Host(self.network),
            _WAYS,
            self.ledger,
            self.issuer,
            self._true_clock,
            chance,
            self.plan.hang_up,
        )
        made = 0
        while made < self.plan.calls:
            # Nobody learns anything from one refused connection after the other.
            await self.node.started.wait()
            await anyio.sleep(chance.expovariate(1 / self.plan.think_seconds))
            kind, letter = draw_kind(chance), chance.choice(CLASSES)
            self._asked += 1
            name = call_name(letter, self._asked)
            floor = self.node.version_in_force() or 0
            call = Call(name=name, kind=kind, life=self.node.life, version_floor=floor)
            call.twist = fitted(kind, with_more_to_redact(name, draw_twist(chance)))
            self.ledger.calls[name] = call
            if await agent.call(call):
                made += 1
            else:
                del self.ledger.calls[name]

    async def _look(self) -> None:
        """Now and then somebody looks at the status, as operators and the kubelet do."""
        host = Host(self.network)
        operator = Operator(host, self.ledger, self.node.status, self._part())
        while True:
            await anyio.sleep(self._chance.random() * 2 * self.plan.look_seconds)
            self.node.compare_status(quiet=False)
            self._compare_policy()
            await operator.look()

    async def _rotate_token_keys(self) -> None:
        """Once in a world's life the token issuer publishes a second key."""
        await anyio.sleep(self._chance.random() * _ROTATION_SECONDS)
        self.issuer.publish_second(anyio.current_time())

    def _compare_policy(self) -> None:
        """What has been published for a while is in force, unless something is in its way."""
        publisher, node = self.publisher, self.node
        unchanged = anyio.current_time() - publisher.changed_at
        settled = min(unchanged, node.up_seconds, self.weather.calm_seconds)
        # A clock that is too far behind makes every new head one from the future.
        if settled < _IN_FORCE_SECONDS or node.clock_behind_seconds > _BEHIND_SECONDS:
            return
        snapshot, newest = node.snapshot_in_force(), publisher.versions[-1]
        found = None if snapshot is None else (snapshot.version, snapshot.locked)
        if found != (newest.number, publisher.locked):
            wanted = (newest.number, publisher.locked)
            self.ledger.violate("policy", f"(version, locked) {found} in force, not {wanted}")

    # -- the end

    async def _heal(self) -> None:
        """Fair weather, until everything is shipped; then an orderly stop."""
        self.weather.clear()
        self._healed.set()
        await self.publisher.unlock_all()
        for life in ("that saw bad weather", "of fair weather alone"):
            try:
                with anyio.fail_after(_HEALING_SECONDS_MAX):
                    code = await self._stop_when_shipped()
            except TimeoutError:
                status = None if self.node.daemon is None else self.node.daemon.status().shipping
                self.ledger.violate("healing", f"records are left unshipped: {status}")
                return
            # A directory that an error of the disk hid from one life is seen by the next.
            if code == 0 or self.ledger.violations:
                return
            self.ledger.counts[f"exit {code} of a life {life}"] += 1
        self.ledger.violate("exit", f"exit {code} of a healed daemon")

    async def _stop_when_shipped(self) -> int | None:
        while not self._is_quiet():  # noqa: ASYNC110 - nobody tells when all is shipped
            await anyio.sleep(5.0)
        self.node.compare_status(quiet=True)
        life, self.node.last_code = self.node.life, None
        self.node.stop()
        while self.node.life == life and self.node.last_code is None:  # noqa: ASYNC110
            await anyio.sleep(1.0)
        return self.node.last_code

    def _is_quiet(self) -> bool:
        status = self.node.quiet_status()
        return status is not None and status.shipping.backlog_records == 0

    async def _check(self) -> None:
        for fault in self.central.faults:
            self.ledger.violate("faults", f"central: {fault!r}")
        export = await self.central.operate("GET", "/v1/exports?complete=1")
        instances = await self.central.operate("GET", "/v1/instances")
        check = FinalCheck(self.ledger, self.central, self.publisher.versions, self.issuer)
        check.run(export, instances)

    def _outcome(self) -> Outcome:
        ledger = self.ledger
        counts: Counter[str] = ledger.counts + self.weather.counts
        counts["duplicates"] = self.central.duplicates
        for call in ledger.calls.values():
            counts[f"answer {call.status} {call.code or ''}".strip()] += 1
        seen = [f"{one.name} {one.status} {one.code} {one.decision_id}" for one in _calls(ledger)]
        return Outcome(
            seed=self.seed,
            calls=len(ledger.calls),
            crashes=ledger.crashes.total(),
            crashes_before=dict(sorted(ledger.crashes.items())),
            lives=self.node.life,
            cuts=self.network.cuts,
            hours=anyio.current_time() / 3_600,
            counts=dict(sorted(counts.items())),
            violations=[f"{one.checker}: {one.text}" for one in ledger.violations],
            log=self.node.last_lines[-_LINES_KEPT:],
            history=hashlib.sha256("\n".join(seen).encode()).hexdigest(),
        )


def _calls(ledger: Ledger) -> list[Call]:
    return list(ledger.calls.values())


def _node_clock(chance: random.Random) -> SimClock:
    offset_us = chance.randrange(-2_000_000, 2_000_000)
    return SimClock(offset_us=offset_us, drift_ppm=chance.randrange(-50, 50))


def run_world(seed: int, plan: Plan, directory: Path) -> Outcome:
    """Build and run one world on its own loop. One that loops for ever does not return."""

    async def main() -> Outcome:
        return await World(seed, plan, directory).run()

    with shared_packs(), remembered_signatures(), _without_collector():
        return simulate(seed, main)


@contextmanager
def _without_collector() -> Iterator[None]:
    """A world makes few cycles, and looking for them again and again takes a tenth of its time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
