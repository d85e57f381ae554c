"""Acts at a service apart, in simulated time: real issuer, record store and outbox, a network that
cuts and repeats, and a service that is killed.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import anyio
import msgspec

from central.acts import Act
from central.certifying import RemoteIssuer
from central.database import Database, Upgrade
from central.keys import RootFiles
from central.outbox.service import Outbox
from gateway import seal
from gateway.io.service import CentralService
from tests.sim.central import (
    ADDRESS,
    REGION,
    TENANT,
    Central,
    InlineDatabase,
    configuration,
)
from tests.sim.clock import SimClock
from tests.sim.entropy import SeededEntropy
from tests.sim.loop import elapse, simulate
from tests.sim.net import Host, SimDialer, SimNetwork

URL: Final = f"http://{ADDRESS}"
HEAD_KEY: Final = seal.Signer(b"p" * 32)
HOUR_SECONDS: Final = 3_600.0
LIVES: Final = 20


class World:
    """One service apart, and the central services that it sends to."""

    def __init__(self, directory: Path, certificate_seconds: int) -> None:
        self.chance = random.Random(7)
        self.clock = SimClock()
        self.network = SimNetwork(self.chance)
        self.config = configuration(directory, certificate_seconds)
        self.store = Central(self.config, self.clock, SeededEntropy(1), self.chance)
        self.file: InlineDatabase | None = None
        self.lives = 0

    def _open(
        self, path: str, schema: str, version: int, upgrades: Mapping[int, Upgrade]
    ) -> Database:
        # The file outlives the process.
        if self.file is None:
            self.file = InlineDatabase(path, schema, version, upgrades, self.chance)
        return self.file

    def outbox(self) -> Outbox:
        """The outbox of a service that starts now."""
        self.lives += 1
        dialer = SimDialer(Host(self.network))
        apart = msgspec.structs.replace(
            self.config, services=["policy"], issuer_url=URL, record_store_url=URL
        )
        return Outbox(
            apart,
            RootFiles(self.config.roots_directory, None),
            HEAD_KEY,
            RemoteIssuer(CentralService(URL, dialer)),
            dialer,
            self.clock,
            SeededEntropy(100 + self.lives),
            self._open,
        )

    def logged(self) -> list[str]:
        """What the log holds of acts at the service apart, in the order of the log."""
        rows = self.store.rows(
            "SELECT operation FROM record WHERE kind = 'admin' AND person = 'olaf'"
            " ORDER BY leaf_index"
        )
        return [what for (what,) in rows]

    def kinds(self) -> list[str]:
        """Kinds of all records in the log."""
        return [kind for (kind,) in self.store.rows("SELECT kind FROM record ORDER BY leaf_index")]

    def kept(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of the outbox's own tables."""
        assert self.file is not None
        connection: sqlite3.Connection = self.file.connection
        return connection.execute(sql).fetchall()


def act(what: str) -> Act:
    return Act(tenant=TENANT, region=REGION, who="olaf", what=what, parameters={"scope": "acme"})


def played(
    directory: Path,
    script: Callable[[World, Callable[[], Awaitable[None]]], Awaitable[None]],
    certificate_seconds: int = 86_400,
) -> World:
    """``script`` gets the world and what brings the central services up."""
    worlds: list[World] = []

    async def main() -> None:
        world = World(directory, certificate_seconds)
        worlds.append(world)
        async with anyio.create_task_group() as tasks:

            async def serve() -> None:
                tasks.start_soon(world.store.serve, Host(world.network))
                await elapse(0.1)

            await script(world, serve)
            tasks.cancel_scope.cancel()

    simulate(3, main)
    return worlds[0]


def test_acts_reach_the_log_in_their_order_and_the_chain_is_sealed_when_it_is_quiet(
    tmp_path: Path,
) -> None:
    async def script(world: World, serve: Callable[[], Awaitable[None]]) -> None:
        await serve()
        outbox = world.outbox()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(outbox.run)
            for what in ("one", "two", "three"):
                await outbox.note(act(what))
            await elapse(24 * HOUR_SECONDS)
            assert await outbox.alarms() == []
            tasks.cancel_scope.cancel()

    world = played(tmp_path, script)
    assert world.logged() == ["one", "two", "three"]
    # One chain, and after it a day of silence.
    assert world.kinds() == ["start", "admin", "admin", "admin", "seal"]
    assert world.kept("SELECT count(*) FROM chain") == [(1,)]


def test_an_act_is_durable_before_it_is_answered_and_waits_for_a_store_that_is_away(
    tmp_path: Path,
) -> None:
    async def script(world: World, serve: Callable[[], Awaitable[None]]) -> None:
        outbox = world.outbox()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(outbox.run)
            await outbox.note(act("one"))
            assert world.kept("SELECT count(*) FROM record WHERE kind = 'admin'") == [(1,)]
            await elapse(24 * HOUR_SECONDS)
            assert await outbox.alarms() == ["acts_unsent"]
            await serve()
            await elapse(120)
            assert await outbox.alarms() == []
            tasks.cancel_scope.cancel()

    world = played(tmp_path, script)
    assert world.logged() == ["one"]
    # The issuer was away at the start, so the certificate came later.
    assert world.kinds() == ["start", "admin", "heartbeat", "seal"]


def test_what_a_killed_service_kept_is_sent_by_the_next_one_and_each_act_once(
    tmp_path: Path,
) -> None:
    async def script(world: World, serve: Callable[[], Awaitable[None]]) -> None:
        await serve()
        world.network.cut_rate[ADDRESS] = 0.05
        world.store.duplicate_rate = 0.3
        for life in range(LIVES):
            outbox = world.outbox()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(outbox.run)
                await outbox.note(act(f"{life}"))
                # Killed at once, or when the store has it and nobody here knows, or later.
                await elapse(0.005 * life)
                tasks.cancel_scope.cancel()
        world.network.cut_rate[ADDRESS] = 0.0
        last = world.outbox()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(last.run)
            await elapse(600)
            tasks.cancel_scope.cancel()

    world = played(tmp_path, script)
    assert world.logged() == [f"{life}" for life in range(LIVES)]
    assert world.store.duplicates > 0
    assert world.kinds().count("recovered") == world.kept("SELECT count(*) FROM chain")[0][0] - 1
    assert world.kept("SELECT sum(refused) FROM chain") == [(0,)]


def test_a_chain_is_followed_by_another_before_its_certificate_ends(tmp_path: Path) -> None:
    async def script(world: World, serve: Callable[[], Awaitable[None]]) -> None:
        await serve()
        outbox = world.outbox()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(outbox.run)
            for number in range(20):
                await outbox.note(act(f"{number}"))
                await elapse(30)
            await outbox.aclose()
            tasks.cancel_scope.cancel()

    world = played(tmp_path, script, certificate_seconds=300)
    assert world.logged() == [f"{number}" for number in range(20)]
    starts = world.kinds().count("start")
    assert starts == world.kinds().count("seal") >= 3
