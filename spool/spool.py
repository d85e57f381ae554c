"""The spool of one process instance: records become durable here before anything is answered.

One writer, and group commit without a timer: what arrives while the disk is busy with one batch
is the next batch, so a lone caller waits for one sync and many callers share one.

Owns: the order of records, admission (room is promised before a call is forwarded), and
fail-stop. Refuses: segment files (``shelf.py``), reading records back (``read.py``), shipping
(``ship.py``), what other instances left (``recover.py``), and trying a failed sync again: the
kernel may have marked the pages clean, and a second sync would report a success that is none.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

import anyio
from anyio.lowlevel import checkpoint

from gateway import limits
from gateway.errors import TurnAway
from gateway.ports import Disk, Lock, Receipt, Reservation, SealDraft
from gateway.record import Record
from spool import frame, home
from spool.changes import Changes
from spool.commit import Batch, SpoolCommit, SpoolReservation
from spool.config import SpoolConfig, check_config
from spool.quota import Quota
from spool.scan import Stretch
from spool.shelf import Shelf
from spool.status import CommitTimes, Quarantine, SpoolStatus, Violation, spool_alarms

_RECORDS_OF_A_CALL: Final = 2
"""A decision and its completion: with room for less, every call is turned away."""


class Spool:
    """The records of this process; implements ``gateway.ports.RecordLog``.

    ``run`` must be running for anything to become durable. ``failed`` is set for good after the
    first error of a write or sync: the daemon then ends with exit code 74. ``unresent_records``:
    acknowledged, lost by the store, and to be sent again.
    """

    def __init__(
        self,
        disk: Disk,
        config: SpoolConfig,
        sealer: SealDraft,
        instance: str,
        lock: Lock,
        timer: Callable[[], float],
        before_delete: Callable[[], Awaitable[None]],
    ) -> None:
        """Use ``open``, which makes the directory and takes its lock."""
        self.instance = instance
        self.directory = f"{config.directory}/{instance}"
        self.disk = disk
        self.quota = Quota(config.spool_bytes_max, config.segment_bytes)
        self._times = CommitTimes()
        self.shelf = Shelf(
            disk,
            config,
            self.directory,
            instance,
            self.quota,
            self._times,
            timer,
            before_delete,
        )
        self.failed = anyio.Event()
        self.acked_seq = -1
        self.damaged_records = 0
        self.unresent_records = 0
        self._root = config.directory
        self._sealer = sealer
        self._lock = lock
        self._batch = Batch()
        self._whole_batches: deque[Batch] = deque()
        self._last_seq = -1
        self._last_kind = ""
        self._wake = anyio.Event()
        self._lingering = anyio.Event()
        self._closing = anyio.Event()
        self._ended = anyio.Event()
        self._running = False
        self._turn_away_with: str | None = None
        self._failure: str | None = None
        self._timer = timer
        self._quarantine = Quarantine()
        self._integrity: Violation | None = None
        self._state_seen = "ok"
        self._state_since = anyio.current_time()
        self._refused: Counter[str] = Counter()
        self._changes = Changes()

    def __repr__(self) -> str:
        return f"Spool(instance={self.instance!r}, durable_seq={self.durable_seq})"

    @classmethod
    async def open(
        cls,
        disk: Disk,
        config: SpoolConfig,
        sealer: SealDraft,
        instance: str,
        *,
        dead_bytes: int = 0,
        left_alone_bytes: int = 0,
        timer: Callable[[], float] = anyio.current_time,
        before_delete: Callable[[], Awaitable[None]] = checkpoint,
    ) -> Spool:
        """A spool for a new instance, whose directory must not hold records yet.

        ``dead_bytes``: what recovered instances still take of the quota; ``left_alone_bytes``:
        what those take that could not be read, for as long as this process lives. Without room
        for a first segment the spool opens all the same, as full, so that they can be shipped.
        ``timer``: seconds, for the times in the status, also asked for in the disk's thread,
        where a loop's clock cannot be; that may tick in milliseconds besides, as uvloop's does.
        ``before_delete``: awaited before each acknowledged segment is deleted; if it raises
        OSError, the segment stays.
        Raises ConfigInvalid (place, rights, quota) and TurnAway (``disk_failed``).
        """
        check_config(config)
        lock = await home.make_home(disk, config.directory, instance)
        spool = cls(disk, config, sealer, instance, lock, timer, before_delete)
        spool.quota.dead_bytes = dead_bytes
        spool.quota.left_alone_bytes = left_alone_bytes
        try:
            await spool.shelf.start()
        except OSError as error:
            await spool.shelf.abandon()
            lock.release()
            raise TurnAway("disk_failed", f"the first segment: {error}") from error
        return spool

    @property
    def durable_seq(self) -> int:
        """The newest seq that a sync covers, or -1."""
        return self.shelf.durable_seq

    @property
    def durable_hash(self) -> str | None:
        """The record_hash of ``durable_seq``."""
        return self.shelf.durable_hash

    @property
    def last_seq(self) -> int:
        """The newest seq given out, or -1; it may not be durable yet."""
        return self._last_seq

    @property
    def backlog_records(self) -> int:
        """Durable records that the store has not acknowledged."""
        return self.durable_seq - self.acked_seq

    # -- admission ------------------------------------------------------------------------

    def reserve(self, records: int) -> Reservation:
        """Room for ``records`` records of the largest size, before anything is forwarded.

        Raises TurnAway (``spool_full``, ``disk_failed``, or the code of ``stop_admitting``).
        """
        if self._failure is not None:
            raise self._refusal("disk_failed", self._failure)
        if self._turn_away_with is not None:
            raise self._refusal(self._turn_away_with, "")
        quota = self.quota
        if not quota.admits(records):
            detail = f"{quota.used_bytes} of {quota.bytes_max} bytes are taken"
            raise self._refusal("spool_full", detail)
        reservation = SpoolReservation(quota, records)
        self.shelf.want()
        return reservation

    def kept_reservation(self, *, final: bool = False, rotate: bool = False) -> Reservation:
        """Room for one record of our own: heartbeat, ``rotate``, recovered, or (``final``) seal.

        Draws on bytes that calls never get, so it works while the spool is full or draining.
        Raises TurnAway (``spool_full``, ``disk_failed``).
        """
        if self._failure is not None:
            raise self._refusal("disk_failed", self._failure)
        if not self.quota.admits_kept(final=final, rotate=rotate):
            raise self._refusal("spool_full", "the kept bytes are used up")
        return SpoolReservation(self.quota, 1)

    def stop_admitting(self, code: str = "draining") -> None:
        """Turn every further ``reserve`` away with ``code``; what is reserved stays good."""
        self._turn_away_with = code
        self._note_change()

    def resume_admitting(self) -> None:
        """Take back ``stop_admitting``."""
        self._turn_away_with = None
        self._note_change()

    def _refusal(self, code: str, detail: str) -> TurnAway:
        self._refused[code] += 1
        if self._refused[code] == 1:
            self._note_change()
        return TurnAway(code, detail)

    # -- commit ---------------------------------------------------------------------------

    def submit(
        self, reservation: Reservation, *drafts: Record, unhurried: bool = False
    ) -> SpoolCommit:
        """Seal ``drafts`` now, in order, as one group, and queue them for the disk.

        ``unhurried``: nobody waits for these; they may join the next group that somebody waits
        for, and are written within ``limits.SPOOL_LINGER_SECONDS`` without one.
        Raises TurnAway (``disk_failed``), and ValueError for more drafts than were reserved or
        for words outside the vocabulary; drafts sealed before the bad one are still written,
        because their seqs are taken. A seal ends the chain: what comes after it (a certificate
        while the last records are shipped, the end of a call that would not end) is turned away
        as ``draining``.
        """
        if self._failure is not None or self._closing.is_set():
            raise TurnAway("disk_failed", self._failure or "the spool is closed")
        if self._last_kind == "seal":
            raise TurnAway("draining", "the chain is sealed")
        if not isinstance(reservation, SpoolReservation):
            raise TypeError("the reservation is not of a spool")
        reservation.take(len(drafts))
        batch = self._batch
        if batch.whole:
            self._whole_batches.append(batch)
            batch = self._batch = Batch()
        try:
            receipts = [self._append(batch, draft) for draft in drafts]
        finally:
            # Also after a bad draft: what was sealed before it has its seq.
            (self._lingering if unhurried and not batch.whole else self._wake).set()
        return SpoolCommit(batch, receipts)

    def _append(self, batch: Batch, draft: Record) -> Receipt:
        sealed = self._sealer.seal(draft)
        frame_bytes = frame.record_frame_bytes(len(sealed.payload))
        batch.records.append(sealed)
        batch.frame_bytes += frame_bytes
        self.quota.pending_bytes += frame_bytes
        self._last_seq = sealed.seq
        self._last_kind = draft.kind
        return Receipt(id=sealed.id, seq=sealed.seq, hash=sealed.hash)

    async def commit(self, reservation: Reservation, *drafts: Record) -> Sequence[Receipt]:
        """``submit``, then wait. A cancelled caller gives up waiting; the records are written."""
        return await self.submit(reservation, *drafts).wait() if drafts else []

    async def run(self) -> None:
        """Write batches and prepare segments until ``close`` or a failure; then return.

        Cancelling it fails what was not yet written, as a crash would.
        """
        if self._closing.is_set():
            return
        self._running = True
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.shelf.prepare_segments)
                tasks.start_soon(self.shelf.watch_volume)
                tasks.start_soon(self._write_unhurried)
                await self._write_batches()
                tasks.cancel_scope.cancel()
        finally:
            self._running = False
            if not self._closing.is_set() or self._has_unwritten:
                self._fail("the spool was stopped before it was closed")
            self._ended.set()

    @property
    def _has_unwritten(self) -> bool:
        return bool(self._whole_batches or self._batch.records)

    async def _write_batches(self) -> None:
        while self._failure is None:
            batch = self._next_batch()
            if batch is not None:
                await self._write(batch)
            elif self._closing.is_set():
                return
            else:
                self._wake = anyio.Event()
                await self._wake.wait()

    async def _write_unhurried(self) -> None:
        while True:
            await self._lingering.wait()
            await anyio.sleep(limits.SPOOL_LINGER_SECONDS)
            self._lingering = anyio.Event()
            self._wake.set()

    def _next_batch(self) -> Batch | None:
        if self._whole_batches:
            return self._whole_batches.popleft()
        batch = self._batch
        if not batch.records:
            return None
        self._batch = Batch()
        return batch

    async def _write(self, batch: Batch) -> None:
        started = self._timer()
        written = False
        try:
            await self.shelf.write(batch.records)
            written = True
        except OSError as error:
            self._fail(f"records could not be written: {error}")
        finally:
            if not written:
                batch.fail(self._fail("the spool was stopped while records were written"))
        if written:
            batch.done.set()
            took_seconds = self._timer() - started
            self._times.note(took_seconds, len(batch.records))
            self._note_change()

    def _fail(self, why: str) -> str:
        """Fail-stop; the first reason stands, and is returned."""
        if self._failure is None:
            self._failure = why
        self.failed.set()
        for batch in (*self._whole_batches, self._batch):
            batch.fail(self._failure)
        self._whole_batches.clear()
        self._note_change()
        return self._failure

    # -- shipping and the end -------------------------------------------------------------

    async def acknowledge(self, through_seq: int) -> None:
        """The store keeps every record up to ``through_seq``, which may be deleted.

        Never beyond ``durable_seq``: what is not durable cannot have been sent. ``acked_seq`` never
        falls, not even when the store has lost what it acknowledged.
        """
        assert through_seq <= self.durable_seq
        self.acked_seq = max(self.acked_seq, through_seq)
        self.shelf.backlog.acknowledged(self.acked_seq)
        await self.shelf.acknowledge(self.acked_seq)
        self._note_change()

    @property
    def held_from(self) -> int | None:
        """Records from this seq on are on disk and can be kept there; None: the end has begun."""
        return None if self._closing.is_set() or not self.shelf.bases else self.shelf.bases[0]

    def alarm_damage(self, instance: str, stretch: Stretch) -> None:
        """A record, ours or of a dead ``instance`` that was sound at the start, rotted."""
        self.damaged_records += 1
        rule = "damaged" if stretch.what in ("body", "header") else "foreign"
        found = Violation(instance=instance, first_seq=stretch.seq, rule=rule)
        self._integrity = self._integrity or found
        self._note_change()

    async def note_damage(self, base_seq: int, stretch: Stretch) -> None:
        """What we wrote does not read back: keep the bytes and raise the alarm. Raises OSError."""
        self.alarm_damage(self.instance, stretch)
        kept = await self.disk.run(
            partial(
                home.quarantine_stretch,
                directory=self.directory,
                base_seq=base_seq,
                offset=stretch.offset,
                length=stretch.length,
            )
        )
        self.note_set_aside(kept.length)

    def note_set_aside(self, file_bytes: int) -> None:
        """One more file of that size is in the quarantine."""
        self.quota.quarantine_bytes += file_bytes
        self._quarantine.note(anyio.current_time(), file_bytes)
        self._note_change()

    def segment_gone(self, base_seq: int) -> None:
        """A segment that is not shipped is no longer in its directory: raise the alarm. Fail-stop
        where it is the one being written: what goes into it now is on no disk."""
        self.damaged_records += 1
        if base_seq == self.shelf.bases[-1]:
            self._fail(f"{self.shelf.path(base_seq)} was removed while it was written")
        self._note_change()

    def set_dead_bytes(self, dead_bytes: int) -> None:
        """What dead instances still take of the quota."""
        self.quota.dead_bytes = dead_bytes
        self.shelf.want()

    async def close(self) -> None:
        """Write what is submitted, end the segment and give up the lock; commits nothing itself.

        If the last record is a seal and every record is acknowledged, or none was ever submitted,
        the directory goes. After a failure everything stays as it is: the next start reads it.
        """
        self._closing.set()
        self._turn_away_with = self._turn_away_with or "draining"
        self._wake.set()
        if self._running:
            await self._ended.wait()
        else:
            await self._write_batches()
        self._ended.set()
        with anyio.CancelScope(shield=True):
            if self._failure is None:
                try:
                    await self.shelf.finish(self._last_seq + 1)
                except OSError as error:
                    self._fail(f"the last segment could not be ended: {error}")
            if self._failure is not None:
                await self.shelf.abandon()
            await self._leave()
        self._note_change()

    async def _leave(self) -> None:
        done = self._failure is None and self._last_kind in ("", "seal")
        done = done and self.acked_seq == self._last_seq
        done = done and self.unresent_records == 0
        if not done or self.quota.quarantine_bytes:
            self._lock.release()
            return
        try:
            await self.shelf.clear()
            await self.disk.run(
                lambda files: home.remove_home(files, self._root, self.instance, self._lock)
            )
        except OSError as error:
            # What is left is shipped and sealed; the next start finds it and removes it.
            self.shelf.error = f"the spool directory could not be removed: {error}"

    # -- status ---------------------------------------------------------------------------

    def _note_change(self) -> None:
        self._see_state()
        self._changes.note()

    async def wait_change(self, seen: int) -> int:
        """Return the change counter once it differs from ``seen`` (0 at first)."""
        return await self._changes.wait(seen)

    @property
    def state(self) -> tuple[str, str | None]:
        """(state, reason): ok | pressure | full | draining | failed | closed."""
        if self._failure is not None:
            return "failed", self._failure
        if self._ended.is_set():
            return "closed", None
        if self._turn_away_with is not None:
            return "draining", self._turn_away_with
        if not self.quota.admits(_RECORDS_OF_A_CALL):
            return "full", self.shelf.error or self.quota.why_full
        return ("pressure" if self.quota.pressure else "ok"), self.shelf.error

    def _see_state(self) -> tuple[str, str | None]:
        """The state, and since when it is one and the same."""
        state, reason = self.state
        if state != self._state_seen:
            self._state_seen, self._state_since = state, anyio.current_time()
        return state, reason

    def status(self) -> SpoolStatus:
        """What the admin listener shows."""
        state, reason = self._see_state()
        quota, now = self.quota, anyio.current_time()
        age = self.shelf.backlog.oldest_seconds(now)
        commit = self._times.status()
        return SpoolStatus(
            state=state,
            reason=reason,
            state_seconds=now - self._state_since,
            instance=self.instance,
            last_seq=self._last_seq,
            durable_seq=self.durable_seq,
            durable_hash=self.durable_hash,
            acked_seq=self.acked_seq,
            backlog_records=self.backlog_records,
            backlog_bytes=self.shelf.backlog.frame_bytes,
            oldest_unsent_seconds=age,
            bytes_used=quota.used_bytes,
            bytes_max=quota.bytes_max,
            bytes_free=self.shelf.bytes_free,
            bytes_reserved=quota.reserved_bytes,
            bytes_quarantined=quota.quarantine_bytes,
            bytes_dead=quota.dead_bytes,
            segments=quota.segments,
            segments_prepared=quota.prepared,
            may_grow=quota.may_grow,
            damaged_records=self.damaged_records,
            quarantine=self._quarantine.status(now),
            integrity=self._integrity,
            commit=commit,
            refused=dict(self._refused),
            alarms=spool_alarms(state, age, commit, self._quarantine.files, self.damaged_records),
            changes=self._changes.count,
        )
