"""The drainer: a daemon without listeners for calls, for what dead instances left on a volume.

It enrols like any daemon, ships and deletes what is dead, and writes what it found as
``recovered`` records in its own chain. What a live process has the lock of is never touched, so
several drainers and daemons may share a volume.

Owns: what there is to do, when to look again, when it is done, and what is left. Refuses:
continuing or sealing a dead chain, records of another tenant or region, and shipping itself
(``spool/ship.py``).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Final, Literal

import anyio
import msgspec
from anyio.abc import TaskGroup

from gateway import limits
from gateway.errors import ConfigInvalid
from gateway.ports import FileSystem
from sidecar.config import SidecarConfig
from sidecar.doors import Door, admin_door
from sidecar.eventlog import EventLog
from sidecar.lifecycle import EXIT_DRAINED, EXIT_UNSENT, Lifecycle
from sidecar.outside import Outside
from sidecar.parts import Found, Parts, build_parts, look_for_dead
from sidecar.reporting import daemon_status
from sidecar.status import DaemonStatus
from spool.dead import DeadInstance
from spool.recover import LeftAlone, instances
from spool.status import DeadStatus

_TELL_SECONDS: Final = 1.0
_ROOM_SECONDS: Final = 2 * limits.SEGMENT_RETRY_SECONDS
"""How long a volume that was just shipped from may take to show room for a record."""

Phase = Literal["enrolling", "draining", "watching", "ended"]


class Left(msgspec.Struct, frozen=True):
    """What is still on the volume of a process that is gone. ``records``: null if unknown."""

    instance: str
    records: int | None
    why: str


class DrainProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far it is. ``instance``: the drainer's own, null if it had no need to enrol.

    ``found`` and ``gone``: dead instances, and those whose directory was removed. ``records`` and
    ``shipped``: what they held, and what of it the store has. ``in_use``: directories that other
    live processes hold. ``code``: the exit code, in the last one.
    """

    phase: Phase
    instance: str | None
    found: int
    gone: int
    records: int
    shipped: int
    in_use: int
    left: tuple[Left, ...]
    code: int | None = None


def drain_config(config: SidecarConfig) -> SidecarConfig:
    """``config`` for a drainer: it writes little, and often where there is hardly any room, so it
    takes the smallest segments, and takes them to the last byte to give more back."""
    spool = msgspec.structs.replace(
        config.spool, segment_bytes=limits.SEGMENT_BYTES_MIN, spool_free_bytes_min=0
    )
    return msgspec.structs.replace(config, spool=spool)


class Drainer(Lifecycle):
    """One drainer from start to exit. ``tell`` is given the progress whenever it has changed.

    ``every_seconds``: look again that often, until stopped; None: end when nothing more can be
    done, and do not even enrol if that is so from the start.
    """

    def __init__(
        self,
        config: SidecarConfig,
        outside: Outside,
        log: EventLog,
        tell: Callable[[DrainProgress], None],
        *,
        every_seconds: float | None = None,
        admin_socket: str | None = None,
    ) -> None:
        super().__init__(drain_config(config), outside, log)
        self._tell = tell
        self._every_seconds = every_seconds
        self._admin_socket = admin_socket
        self._first_look: Found = ([], [])
        self._unrecorded: list[DeadInstance] = []
        self._found = 0
        self._records = 0
        self._in_use = 0
        self._told: DrainProgress | None = None

    async def run(self, stop: anyio.Event) -> int:
        """See ``Lifecycle.run``."""
        dead, _ = self._first_look = await self._look()
        if self._every_seconds is None and not any(map(self._has_work, dead)):
            return self._end_at_once()
        async with anyio.create_task_group() as beside:
            beside.start_soon(self._keep_telling)
            code = await super().run(stop)
            beside.cancel_scope.cancel()
        self._tell_if_changed(code)
        return code

    async def build(self) -> Parts:
        return await build_parts(self._config, self._outside, self._log, self._first_look)

    def status(self) -> DaemonStatus:
        assert self.parts is not None
        listening = [(door.name, door.listening) for door in self._doors]
        return daemon_status(self._config, self.parts, listening, decides=False)

    async def operator_doors(self, parts: Parts) -> AsyncIterator[Door]:
        if self._admin_socket is not None:
            yield await admin_door(self._admin_socket, parts, self.status)

    async def wait_to_begin(self, parts: Parts) -> None:
        """Without a certificate nothing can be shipped, and a chain begun for nothing is waste.

        What fills the volume may be shipped without a record of ours; then there is room for one.
        """
        await parts.instance.certified.wait()
        parts.shipper.wake()
        while not parts.has_own_room and self._every_seconds is not None:
            with anyio.move_on_after(self._every_seconds):
                await parts.wait_own_room()
            await self._look_again(parts)
        if not parts.has_own_room:
            await parts.shipper.wait_dead()
            with anyio.move_on_after(_ROOM_SECONDS):
                await parts.wait_own_room()
            if not parts.has_own_room:
                self.finish()

    async def work(self, parts: Parts, tasks: TaskGroup) -> None:  # noqa: ARG002 - no doors
        if self._every_seconds is None:
            await parts.shipper.wait_dead()
            while await self._look_again(parts):
                await self._record_found(parts)
                await parts.shipper.wait_dead()
            self.finish()
            return
        while True:
            await self._record_found(parts)
            await anyio.sleep(self._every_seconds)
            await self._look_again(parts)

    def is_left(self, parts: Parts) -> bool:
        return super().is_left(parts) or bool(parts.shipper.dead)

    # -- looking ------------------------------------------------------------------------------

    async def _look(self) -> Found:
        """Take what is dead. Raises ConfigInvalid."""
        config, disk = self._config, self._outside.disk
        root = config.spool.directory

        def names(files: FileSystem) -> list[str]:
            return instances(files, root)

        if self._every_seconds is None:
            await disk.run(lambda files: _check_there(files, root))
        dead, left_alone = await look_for_dead(config, self._outside)
        self._found += len(dead)
        self._records += sum(one.findings.records for one in dead)
        known = {one.instance for one in dead} | {left.instance for left in left_alone}
        if self.parts is not None:
            known |= {self.parts.instance.id, *(one.instance for one in self.parts.shipper.dead)}
        self._in_use = len(set(await disk.run(names)) - known)
        return dead, left_alone

    async def _look_again(self, parts: Parts) -> bool:
        """Whether another instance was found dead; it is being shipped then."""
        try:
            found = await self._look()
        except (ConfigInvalid, OSError) as error:
            self._log.error("recovery_failed", reason=str(error))
            return False
        parts.take_in(found)
        self._unrecorded += found[0]
        return bool(found[0])

    async def _record_found(self, parts: Parts) -> None:
        """Record what later looks found, as far as there is room: looking must not wait for it."""
        while self._unrecorded and parts.has_own_room:
            await self.record_recoveries(parts, [self._unrecorded.pop(0)])

    def _has_work(self, dead: DeadInstance) -> bool:
        """Whether there is anything to ship, to record or to remove."""
        removable = dead.removable(self._outside.clock.wall_us())
        return bool(dead.findings.records) or dead.needs_record or removable

    def _end_at_once(self) -> int:
        """Nothing can be done: no key is certified, and no chain begun, to say so."""
        dead, left_alone = self._first_look
        for left in left_alone:
            self._log.error("recovery_failed", instance=left.instance, reason=left.why)
        for one in dead:
            one.release()
        code = EXIT_UNSENT if dead or left_alone else EXIT_DRAINED
        self._tell_if_changed(code)
        return code

    # -- telling ------------------------------------------------------------------------------

    async def _keep_telling(self) -> None:
        while True:
            self._tell_if_changed(None)
            await anyio.sleep(_TELL_SECONDS)

    def _tell_if_changed(self, code: int | None) -> None:
        progress = self.progress(code)
        if progress != self._told:
            self._told = progress
            self._tell(progress)

    def progress(self, code: int | None) -> DrainProgress:
        """How far it is now; with ``code`` it has ended."""
        parts = self.parts
        if parts is None:
            dead, left_alone = self._first_look
            left = [*map(_waiting, dead), *map(_untouched, left_alone)]
            remaining = len(dead)
            unshipped = sum(one.findings.records for one in dead)
        else:
            left = _left(parts)
            remaining = len(parts.shipper.dead)
            unshipped = sum(one.backlog_records for one in parts.shipper.status().dead)
        return DrainProgress(
            phase="ended" if code is not None else self._phase(parts),
            instance=None if parts is None else parts.instance.id,
            found=self._found,
            gone=self._found - remaining,
            records=self._records,
            shipped=self._records - unshipped,
            in_use=self._in_use,
            left=tuple(left),
            code=code,
        )

    def _phase(self, parts: Parts | None) -> Phase:
        if parts is None or not parts.instance.certified.is_set():
            return "enrolling"
        watching = self._every_seconds is not None and not parts.shipper.dead
        return "watching" if watching else "draining"


def _check_there(files: FileSystem, root: str) -> None:
    """A volume that is not there must not pass for one with nothing on it."""
    try:
        files.list_directory(root)
    except OSError as error:
        raise ConfigInvalid(
            f"spool directory {root}: {error.strerror or error}; is the volume mounted?"
        ) from error


def _waiting(dead: DeadInstance) -> Left:
    records = dead.findings.records
    return Left(dead.instance, records, "not begun yet" if records else _kept(dead))


def _untouched(left: LeftAlone) -> Left:
    return Left(left.instance, None, left.why)


def _left(parts: Parts) -> list[Left]:
    """All that is on the volume and not in use by others; of our own what is not sent."""
    shipping = parts.shipper.status()
    trouble = parts.enroller.last_error or shipping.last_error or "not shipped yet"
    left = [
        Left(one.instance, one.backlog_records, _why(parts, dead, one, trouble))
        for dead, one in zip(parts.shipper.dead, shipping.dead, strict=True)
    ]
    own = parts.spool.backlog_records
    if own and parts.spool.state[0] in ("draining", "closed", "failed"):
        left.append(Left(parts.instance.id, own, trouble))
    return left + [_untouched(one) for one in parts.left_alone]


def _why(parts: Parts, dead: DeadInstance, one: DeadStatus, trouble: str) -> str:
    if one.blocked is not None:
        return one.blocked
    if one.backlog_records:
        return trouble
    if dead.needs_record and not parts.has_own_room:
        return "no room on the volume, or in its quota, for the record of what was found"
    return _kept(dead) if dead.quarantine_files else "being removed"


def _kept(dead: DeadInstance) -> str:
    return f"{dead.quarantine_files} files in quarantine, kept for 30 days after their record"
