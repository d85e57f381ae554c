"""Volumes that daemons left in a hurry, and drainers on them, beside the real central services."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import msgspec

from sidecar.config import parse
from sidecar.drain import Drainer, DrainProgress
from sidecar.eventlog import EventLog
from sidecar.outside import Outside
from spool.seen import SEEN_NAME
from tests.sim.clock import SimClock
from tests.sim.disk import PowerCut
from tests.sim.entropy import SeededEntropy
from tests.sim.loop import elapse, simulate
from tests.sim.net import DaemonNetwork, Host
from tests.sim.publisher import Publisher
from tests.sim.records import beat
from tests.unit.sidecar.config_text import toml
from tests.unit.sidecar.enrolment_world import (
    HOST_KEY,
    REGISTERED,
    World,
    settings,
    write_start,
)

SPOOL = "/state/spool"


class Drain:
    """One drainer's life and what it told. ``code``: None while it lives, and after a crash."""

    def __init__(self, world: World, seed: int, options: dict[str, float | str]) -> None:
        self.told: list[DrainProgress] = []
        self.code: int | None = None
        self.stop = anyio.Event()
        self._world = world
        self._host = Host(world.network)
        outside = Outside(
            clock=world.clock,
            entropy=SeededEntropy(1_000 + seed),
            disk=world.disk,
            network=DaemonNetwork(self._host),
            host_name="host",
            threads=False,
        )
        self.drainer = Drainer(
            parse(toml(settings())),
            outside,
            EventLog(world.clock, world.log),
            self.told.append,
            **options,  # type: ignore[arg-type]  # two options of different types
        )

    async def run(self) -> None:
        """Live until it ends by itself, is stopped, or the power fails."""
        disk = self._world.disk
        with anyio.CancelScope() as scope:

            def cut() -> None:
                self._host.kill(cleanly=True)
                scope.cancel()

            disk.on_cut = cut
            try:
                self.code = await self.drainer.run(self.stop)
            except (PowerCut, Exception, BaseExceptionGroup):
                if not disk.dead:
                    raise
        self._host.kill(cleanly=True)


class Volume(World):
    """Central services that run, and a volume on which daemons die."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, certificate_seconds=24 * 3_600)
        self.disk.put(HOST_KEY, REGISTERED)
        self._drains = 0
        self.left: dict[str, int] = {}

    async def leave(self, records: int = 3, *, certified: bool = True, **members: object) -> str:
        """A daemon writes its start and ``records`` more, and is killed; its instance."""
        parts = await self.build(**members)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(parts.spool.run)
            if certified:
                tasks.start_soon(parts.policy.run)
                tasks.start_soon(parts.enroller.run)
                await parts.instance.certified.wait()
            await write_start(parts)
            for number in range(records):
                name = f"{parts.instance.id}-{number}"
                await parts.write_own(msgspec.structs.replace(beat(3_000), id=name))
            tasks.cancel_scope.cancel()
        self.disk = self.disk.killed()
        self.left[parts.instance.id] = records + 1
        return parts.instance.id

    def drain(self, **options: float | str) -> Drain:
        """Another drainer, not yet running."""
        self._drains += 1
        return Drain(self, self._drains, options)

    async def drained(self, **options: float | str) -> Drain:
        """Another drainer, once it has ended."""
        drain = self.drain(**options)
        with anyio.fail_after(3_600):
            await drain.run()
        return drain

    def stored(self) -> dict[str, int]:
        """How many records the store has of each daemon; none was refused or came forked."""
        assert self.rows("records", "SELECT code, cause FROM evidence") == []
        sql = (
            "SELECT instance, count(*) FROM record"
            " WHERE instance NOT IN (SELECT instance FROM own_instance) GROUP BY instance"
        )
        return dict(self.rows("records", sql))

    def kinds(self, instance: str) -> list[str]:
        """The kinds of the records that the store has of ``instance``, in order."""
        sql = f"SELECT kind FROM record WHERE instance = '{instance}' ORDER BY seq"
        return [kind for (kind,) in self.rows("records", sql)]

    def spooled(self) -> list[str]:
        """Every file that is left under the spool root, but for what was seen of the log."""
        paths = [path for path in self.disk.paths() if path.startswith(SPOOL + "/")]
        return [path for path in paths if path != f"{SPOOL}/{SEEN_NAME}"]


def play_volume(script: Callable[[Volume], Awaitable[None]], directory: Path) -> None:
    """Run ``script`` beside running central services."""

    async def run() -> None:
        volume = Volume(directory)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(volume.central.serve, Host(volume.network))
            await elapse(0.01)
            await Publisher(volume.central, SimClock(), random.Random(3)).publish()
            with anyio.fail_after(10 * 86_400):
                await script(volume)
            tasks.cancel_scope.cancel()
        assert volume.central.faults == []

    simulate(1, run)
