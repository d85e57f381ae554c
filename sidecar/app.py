"""The daemon beside the agent: every part, every listener, from start to exit.

Owns: putting the call path and its listeners into the life of a daemon (``lifecycle.py``).
Refuses: the work itself. A daemon that listens has a durable start record. Given another
``Outside`` the same code runs in the simulated world.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import anyio
import msgspec
from anyio.abc import TaskGroup

from gateway.world import World
from sidecar.call_path import CallPath
from sidecar.config import SidecarConfig
from sidecar.doors import Door, call_doors, operator_doors
from sidecar.eventlog import EventLog
from sidecar.lifecycle import Lifecycle
from sidecar.outside import Outside
from sidecar.parts import Parts, build_parts
from sidecar.reporting import daemon_status
from sidecar.status import DaemonStatus


class Announcement(msgspec.Struct, frozen=True, kw_only=True):
    """Where the daemon listens, once it does; one line of JSON on standard output."""

    instance: str
    unix: list[str]
    tcp_port: int | None
    admin: str
    probe_port: int | None


class Daemon(Lifecycle):
    """The daemon that serves calls."""

    def __init__(
        self,
        config: SidecarConfig,
        outside: Outside,
        log: EventLog,
        announce: Callable[[Announcement], None],
    ) -> None:
        super().__init__(config, outside, log)
        self._announce = announce
        self._calls: CallPath

    async def build(self) -> Parts:
        self._calls = await CallPath.load(self._config, self._outside, self._log)
        return await build_parts(self._config, self._outside, self._log)

    async def run(self, stop: anyio.Event) -> int:
        try:
            return await super().run(stop)
        finally:
            if self.parts is not None:
                with anyio.CancelScope(shield=True):
                    await self._calls.aclose()

    def world(self, parts: Parts) -> World:
        """What an exchange sees."""
        return self._calls.world(parts)

    def status(self) -> DaemonStatus:
        assert self.parts is not None
        listening = [(door.name, door.listening) for door in self._doors]
        return daemon_status(
            self._config, self.parts, listening, credentials=self._calls.credentials.status()
        )

    def operator_doors(self, parts: Parts) -> AsyncIterator[Door]:
        return operator_doors(self._config.listen, parts, self.status)

    async def wait_to_begin(self, parts: Parts) -> None:
        """A call that comes before certificate and policy is decided all the same: wait briefly."""
        with anyio.move_on_after(self._config.enrolment.wait_ms / 1000):
            await parts.instance.certified.wait()
            # On an empty volume the first calls would be refused for want of a policy.
            await parts.policy.wait_held()

    async def work(self, parts: Parts, tasks: TaskGroup) -> None:
        """Calls come in after the first record."""
        tasks.start_soon(parts.watch_lock)
        tasks.start_soon(parts.in_flight.watch_hang_ups)
        tasks.start_soon(self._calls.keys.run)
        tasks.start_soon(parts.policy_reporter.run)
        doors = call_doors(self._config.listen, parts, self.world(parts))
        await self.open(doors, tasks)
        self._announce(_announcement(parts.instance.id, self._doors))


def _announcement(instance: str, doors: list[Door]) -> Announcement:
    def port(kind: str) -> int | None:
        found = [door.listening.address for door in doors if door.kind == kind]
        return int(found[0].rpartition(":")[2]) if found else None

    return Announcement(
        instance=instance,
        unix=[door.listening.address for door in doors if door.kind == "unix"],
        tcp_port=port("tcp"),
        admin=next(door.listening.address for door in doors if door.kind == "admin"),
        probe_port=port("probe"),
    )
