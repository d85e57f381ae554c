"""The life of a daemon, whatever it is there for: start, its own chain, an orderly end.

Owns: the order of a start (policy and key, spool, first records, then the daemon's own work) and
of a stop (no new calls, open ones end, seal, shipping), and the exit code. Refuses: the work
itself; ``app.py`` serves calls, ``drain.py`` ships what others left. Given another ``Outside``
the same code runs in the simulated world.

Exit codes: 0 drained, 74 the disk failed, 75 records are left unsent, 78 configuration.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from typing import Final

import anyio
import msgspec
from anyio.abc import TaskGroup

from gateway import __version__, limits
from gateway.errors import TurnAway
from gateway.io.serve import serve_listener
from gateway.seal import sha256_text
from sidecar import journal
from sidecar.config import SidecarConfig
from sidecar.doors import Door
from sidecar.eventlog import EventLog
from sidecar.outside import Outside
from sidecar.parts import Parts
from sidecar.status import DaemonStatus
from spool.dead import DeadInstance
from spool.examine import split_findings

EXIT_DRAINED: Final = 0
EXIT_DISK_FAILED: Final = 74
EXIT_UNSENT: Final = 75
EXIT_CONFIGURATION: Final = 78

_SHIP_SHARE: Final = 0.4
"""Of the grace period: what shipping may use after the last call ended."""


class Lifecycle(ABC):
    """One process instance from start to exit. What it is there for is a subclass's."""

    def __init__(self, config: SidecarConfig, outside: Outside, log: EventLog) -> None:
        self.parts: Parts | None = None
        self._config = config
        self._outside = outside
        self._log = log
        self._doors: list[Door] = []
        self._connections = anyio.CapacityLimiter(limits.CONNECTIONS_MAX)
        self._done = anyio.Event()
        self._exit_code = EXIT_DRAINED

    # -- what a daemon is there for -----------------------------------------------------------

    @abstractmethod
    async def build(self) -> Parts:
        """Every part, wired and not yet running. Raises ConfigInvalid."""

    @abstractmethod
    def status(self) -> DaemonStatus:
        """The whole state, for operators and probes."""

    @abstractmethod
    def operator_doors(self, parts: Parts) -> AsyncIterator[Door]:
        """What operators may look through from the first moment."""

    @abstractmethod
    async def wait_to_begin(self, parts: Parts) -> None:
        """Return when the first record is to be written."""

    @abstractmethod
    async def work(self, parts: Parts, tasks: TaskGroup) -> None:
        """What is done once the first records are durable; cancelled by the end.

        Call ``finish`` when there is nothing left to do; returning alone ends nothing.
        """

    def is_left(self, parts: Parts) -> bool:
        """Whether the volume still holds what should have been shipped."""
        # What could not be read was not sent either.
        return parts.shipper.backlog_records > 0 or bool(parts.left_alone)

    def finish(self) -> None:
        """Everything is done: end in order, as on a signal."""
        self._done.set()

    # -- its life -----------------------------------------------------------------------------

    async def run(self, stop: anyio.Event) -> int:
        """Live until ``stop`` is set, the work is done or something fatal happens.

        Returns the exit code. Before anything was done, raises ConfigInvalid, ListenFailed, or
        TurnAway (``disk_failed``).
        """
        self._log.info("starting", version=__version__)
        parts = self.parts = await self.build()
        try:
            async with anyio.create_task_group() as tasks:
                self._start_tasks(parts, tasks)
                async with anyio.create_task_group() as beginning:
                    beginning.start_soon(self._begin, parts, tasks)
                    await self._wait_for_end(parts, stop)
                    # A start that waits for room on the disk must not outlive its own end.
                    beginning.cancel_scope.cancel()
                tasks.start_soon(parts.policy_reporter.leave)
                await self._drain(parts)
                tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                for door in self._doors:
                    await door.listening.aclose()
                await parts.aclose()
        self._log.info("stopped", code=self._exit_code)
        return self._exit_code

    async def _begin(self, parts: Parts, tasks: TaskGroup) -> None:
        """Operators may look from the first moment; the work comes after the first record."""
        await self.open(self.operator_doors(parts), tasks)
        try:
            await self.wait_to_begin(parts)
            await self._first_records(parts)
            await self.work(parts, tasks)
        except TurnAway as failed:
            # The disk failed, and whoever waits for that ends the daemon with its exit code.
            self._log.error("spool_failed", code=failed.code)

    def _start_tasks(self, parts: Parts, tasks: TaskGroup) -> None:
        tasks.start_soon(parts.spool.run)
        tasks.start_soon(parts.policy.run)
        tasks.start_soon(parts.policy_origin.follow_hints, parts.policy.hint)
        tasks.start_soon(parts.enroller.run)
        tasks.start_soon(parts.shipper.run)
        tasks.start_soon(parts.upkeep.run_heartbeats)
        tasks.start_soon(parts.upkeep.run_chain_heads)

    async def _first_records(self, parts: Parts) -> None:
        """``start`` is the first of the chain, then what was found of dead instances."""
        reservation = await parts.own_room()
        start = journal.start(
            parts.scribe,
            self._outside.clock.wall_us(),
            public=parts.instance.signer.public,
            certificate=parts.instance.certificate_envelope,
            config_digest=sha256_text(msgspec.json.encode(self._config)),
            build=f"gatepost/{__version__}",
            continues=parts.continues,
            continues_reason=parts.continues_reason,
        )
        commit = parts.spool.submit(reservation, start)
        # A certificate that comes from here on needs a record of its own.
        parts.started.set()
        await commit.wait()
        await self.record_recoveries(parts, parts.dead)

    async def record_recoveries(self, parts: Parts, found: list[DeadInstance]) -> None:
        """Say in our own chain what was found of each. Raises TurnAway (``disk_failed``)."""
        for dead in found:
            await self._record_recovery(parts, dead)
        parts.shipper.wake()

    async def _record_recovery(self, parts: Parts, dead: DeadInstance) -> None:
        """Say what was found of a dead instance, once."""
        if dead.needs_record:
            wall_us = self._outside.clock.wall_us()
            for found in split_findings(dead.findings):
                receipt = await parts.write_own(journal.recovered(parts.scribe, wall_us, found))
            try:
                await dead.settle(self._outside.disk, receipt, parts.instance.id, wall_us)
            except OSError as error:
                # Shipping goes on; the next start says it again.
                reason = f"cannot be marked as recorded: {error}"
                self._log.error("recovery_failed", instance=dead.instance, reason=reason)
        self._log.info(
            "recovered",
            instance=dead.instance,
            records=dead.findings.records,
            cut_bytes=dead.findings.cut_bytes,
        )

    async def open(self, opening: AsyncIterator[Door], tasks: TaskGroup) -> None:
        """Open doors and serve them in ``tasks``. Raises ListenFailed."""
        async for door in opening:
            self._doors.append(door)
            tasks.start_soon(
                serve_listener,
                door.listening,
                door.identify,
                door.handle,
                door.options,
                self._connections,
            )
            self._log.info("listening", name=door.name, address=door.listening.address)

    async def _wait_for_end(self, parts: Parts, stop: anyio.Event) -> None:
        """Until a signal, the end of the work, a failed disk, or a final refusal of the issuer."""
        async with anyio.create_task_group() as waiting:

            async def first(wait: Callable[[], object]) -> None:
                await wait()  # type: ignore[misc]  # each is an async method
                waiting.cancel_scope.cancel()

            waiting.start_soon(first, stop.wait)
            waiting.start_soon(first, self._done.wait)
            waiting.start_soon(first, parts.spool.failed.wait)
            waiting.start_soon(first, parts.enroller.refused_for_good.wait)

    async def _drain(self, parts: Parts) -> None:
        """No new calls; the open ones end or are cut; seal; ship what can be shipped."""
        deadline = anyio.current_time() + self._config.grace_seconds
        self._log.info("draining", calls=parts.in_flight.calls)
        parts.in_flight.draining = True
        for door in self._doors:
            if door.takes_calls:
                await door.listening.aclose()
        if parts.spool.failed.is_set():
            parts.in_flight.cut_all("shutdown")
            self._log.error("spool_failed")
            self._exit_code = EXIT_DISK_FAILED
            return
        ship_seconds = self._config.grace_seconds * _SHIP_SHARE
        with anyio.move_on_after(max(0.0, deadline - ship_seconds - anyio.current_time())):
            await parts.in_flight.wait_idle()
        # A call still being read must not rule behind the cut: its end would follow the seal.
        parts.spool.stop_admitting()
        parts.in_flight.cut_all("shutdown")
        with anyio.move_on_after(1.0):
            await parts.in_flight.wait_idle()
        closed = False
        try:
            # A stalled disk must not outlive the grace period; shipping ends by itself before.
            with anyio.move_on_after(max(1.0, deadline + 1.0 - anyio.current_time())):
                if parts.started.is_set():
                    await self._seal(parts)
                await parts.shipper.drain(max(0.5, deadline - anyio.current_time()))
                await parts.spool.close()
                closed = True
        except TurnAway as failed:
            self._log.error("spool_failed", code=failed.code)
        if parts.spool.failed.is_set() or not closed:
            self._log.error("spool_failed", closed=closed)
            self._exit_code = EXIT_DISK_FAILED
            return
        # Shipping goes on while the spool is closed: only now is it known what is left.
        if parts.enroller.refused is not None:
            self._exit_code = EXIT_CONFIGURATION
        elif self.is_left(parts):
            self._exit_code = EXIT_UNSENT
        self._log.info("drained", left=parts.shipper.backlog_records)

    async def _seal(self, parts: Parts) -> None:
        """End the chain, if the volume has room; without it a successor says where it ended."""
        draft = journal.seal(parts.scribe, self._outside.clock.wall_us(), parts.tally.counters())
        try:
            await parts.write_own(draft, final=True)
        except TurnAway as failed:
            if failed.code != "spool_full":
                raise
            self._log.warning("spool_full")
