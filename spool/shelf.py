"""The segments of one live instance: the one being written, those prepared, those kept.

Owns: splitting a batch over segments, the switch, preparing ahead, and unlinking what is
acknowledged. Oldest first, and the directory is synced after each: so a missing segment with
older ones still there is never our own doing. Refuses: batching and waiting callers
(``spool.py``).
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import anyio

from gateway import limits
from gateway.ports import Disk, FileSystem
from gateway.seal import Sealed
from spool import frame
from spool.backlog import Backlog
from spool.config import SpoolConfig
from spool.quota import Quota
from spool.segment import Prepared, Segment, remove_if_there, segment_name
from spool.status import CommitTimes

PREPARED_PREFIX = "next-"


class Shelf:
    """Segments in order of seq. ``bases``: their base seqs, the active one last.

    ``durable_seq`` and ``durable_hash`` are of the newest record that a sync covers. Segments with
    a record from ``kept_from`` on stay, acknowledged or not. ``bytes_free`` is the volume's, at the
    last look; ``backlog``: what is durable and not acknowledged.
    """

    def __init__(
        self,
        disk: Disk,
        config: SpoolConfig,
        directory: str,
        instance: str,
        quota: Quota,
        times: CommitTimes,
        timer: Callable[[], float],
        before_delete: Callable[[], Awaitable[None]],
    ) -> None:
        self.directory = directory
        self.bases: list[int] = []
        self.durable_seq = -1
        self.durable_hash: str | None = None
        self.error: str | None = None
        self.kept_from: int | None = None
        self.bytes_free: int | None = None
        self.backlog = Backlog()
        self._disk = disk
        self._config = config
        self._instance = frame.instance_bytes(instance)
        self._quota = quota
        self._times = times
        self._timer = timer
        self._before_delete = before_delete
        self._active: Segment | None = None
        self._ended_at = 0
        self._prepared: deque[Prepared] = deque()
        self._names = 0
        self._trim_through = -1
        self._trimming = anyio.Lock()
        self._wanted = anyio.Event()
        self._ready = anyio.Event()

    @property
    def durable_end(self) -> int:
        """Offset in the newest segment before which every byte is durable; it stays true after
        the end, because the shipper may still be reading while the spool is closed."""
        return self._ended_at if self._active is None else self._active.at

    def path(self, base_seq: int) -> str:
        """The file of the segment that begins with ``base_seq``."""
        return f"{self.directory}/{segment_name(base_seq)}"

    # -- writing --------------------------------------------------------------------------

    async def start(self) -> None:
        """Make the first segment if there is room; without, ``write`` waits for it."""
        if self._quota.wants_segment and await self._prepare_one():
            await self._switch(0)

    async def write(self, records: Sequence[Sealed]) -> None:
        """Write ``records`` and sync. Raises OSError: nothing may be written after that."""
        while records:
            active = self._active
            count = 0 if active is None else _fitting(records, active.left_bytes)
            if active is None or count == 0:
                if active is not None and active.at == frame.PAGE_BYTES:
                    raise OSError(errno.EFBIG, "a record is larger than a segment")
                await self._switch(records[0].seq)
                continue
            await self._append(active, records[:count])
            records = records[count:]
        self.want()

    async def _append(self, active: Segment, records: Sequence[Sealed]) -> None:
        before = active.at
        self._times.note_sync(await self._disk.run(lambda _: active.append(records, self._timer)))
        self._quota.active_bytes = active.left_bytes
        self._quota.pending_bytes -= active.at - before
        self.durable_seq = records[-1].seq
        self.durable_hash = records[-1].hash
        sizes = [frame.record_frame_bytes(len(record.payload)) for record in records]
        self.backlog.became_durable(anyio.current_time(), self.durable_seq, sizes)

    async def _switch(self, next_seq: int) -> None:
        waited_out = anyio.current_time() + limits.SEGMENT_WAIT_SECONDS_MAX
        while not self._prepared:
            # Promised room that the volume does not have: who waits for these records must hear.
            left_seconds = waited_out - anyio.current_time()
            if left_seconds <= 0:
                raise OSError(errno.ENOSPC, "the volume has no room for a promised segment")
            self._ready = anyio.Event()
            self._wanted.set()
            with anyio.move_on_after(left_seconds):
                await self._ready.wait()
        # Closed by its end, whatever comes of the switch: nobody may close it a second time.
        prepared, old = self._prepared[0], self._take_active()
        salt = frame.segment_salt(self._instance, next_seq)

        def switch(files: FileSystem) -> Segment:
            if old is not None:
                old.finish(next_seq)
            return prepared.begin(files, self.directory, self._instance, next_seq, salt)

        self._active = await self._disk.run(switch)
        self._prepared.popleft()
        self.bases.append(next_seq)
        self._quota.prepared -= 1
        self._quota.segments += 1
        self._quota.active_bytes = self._active.left_bytes
        await self._trim()

    # -- preparing ------------------------------------------------------------------------

    def want(self) -> None:
        """Have another segment prepared if promises come close to what is allocated."""
        if self._quota.wants_segment:
            self._wanted.set()

    async def prepare_segments(self) -> None:
        """Prepare segments ahead of need, until cancelled."""
        while True:
            self._wanted = anyio.Event()
            if not self._quota.wants_segment:
                await self._wanted.wait()
            elif not await self._prepare_one():
                # Only time or a trimmed segment helps; calls already see that there is no room.
                with anyio.move_on_after(limits.SEGMENT_RETRY_SECONDS):
                    await self._wanted.wait()

    async def watch_volume(self) -> None:
        """Look at the free bytes of the volume every few seconds, until cancelled."""
        while True:
            try:
                self.bytes_free = await self._disk.run(
                    lambda files: files.free_bytes(self.directory)
                )
            except OSError:
                self.bytes_free = None
            await anyio.sleep(limits.VOLUME_LOOK_SECONDS)

    async def _prepare_one(self) -> bool:
        """Zero-fill one file in steps, so that commits get in between. False without room."""
        self._names += 1
        path = f"{self.directory}/{PREPARED_PREFIX}{self._names}.tmp"
        segment_bytes = self._config.segment_bytes
        least = segment_bytes + self._config.spool_free_bytes_min
        prepared, whole = None, False
        try:
            free = await self._disk.run(lambda files: files.free_bytes(self.directory))
            if free < least:
                raise OSError(errno.ENOSPC, f"the volume has {free} bytes free, wanted {least}")
            prepared = await self._disk.run(
                lambda files: Prepared.create(files, path, segment_bytes)
            )
            step = prepared
            while not whole:
                whole = await self._disk.run(lambda _: step.fill(limits.SEGMENT_FILL_BYTES))
        except OSError as error:
            self._quota.may_grow = False
            self.error = f"no further segment: {error}"
            return False
        finally:
            # Also where the spool is closed meanwhile: a directory that is done with must go.
            if prepared is not None and not whole:
                with anyio.CancelScope(shield=True):
                    await self._discard(prepared)
        self._quota.may_grow = True
        self.error = None
        self._quota.prepared += 1
        self._prepared.append(prepared)
        self._ready.set()
        return True

    async def _discard(self, prepared: Prepared) -> None:
        try:
            await self._disk.run(prepared.discard)
        except OSError as error:
            self.error = f"{prepared.path} could not be removed: {error}"

    # -- letting go -----------------------------------------------------------------------

    async def acknowledge(self, through_seq: int) -> None:
        """Unlink segments whose records all have a seq up to ``through_seq``."""
        self._trim_through = max(self._trim_through, through_seq)
        await self._trim()

    async def _trim(self) -> None:
        # The writer and the shipper both come here: segments go in order, one at a time.
        async with self._trimming:
            await self._trim_in_order()

    async def _trim_in_order(self) -> None:
        while len(self.bases) > 1 and self.bases[1] - 1 <= self._may_go_through:
            base = self.bases.pop(0)
            try:
                await self._unlink(base)
            except OSError as error:
                self.bases.insert(0, base)
                self.error = f"a shipped segment could not be removed: {error}"
                return
            self._quota.segments -= 1
            self.want()

    @property
    def _may_go_through(self) -> int:
        if self.kept_from is None:
            return self._trim_through
        return min(self._trim_through, self.kept_from - 1)

    async def _unlink(self, base_seq: int) -> None:
        await self._before_delete()

        def unlink(files: FileSystem) -> None:
            remove_if_there(files, self.path(base_seq))
            files.sync_directory(self.directory)

        await self._disk.run(unlink)

    def _take_active(self) -> Segment | None:
        active = self._active
        if active is not None:
            self._ended_at = active.at
        self._active = None
        return active

    async def finish(self, next_seq: int) -> None:
        """End the active segment and drop what was prepared. Raises OSError."""
        active = self._take_active()
        if active is not None:
            await self._disk.run(lambda _: active.finish(next_seq))
        while self._prepared:
            await self._discard(self._prepared.popleft())
        self._quota.prepared = 0
        await self._disk.run(lambda files: files.sync_directory(self.directory))

    async def abandon(self) -> None:
        """Close every file as it is, without another sync."""
        active = self._take_active()
        if active is not None:
            await self._disk.run(lambda _: active.abandon())
        while self._prepared:
            await self._discard(self._prepared.popleft())

    async def clear(self) -> None:
        """Unlink every segment: all records are in the store, and the chain is sealed."""
        while self.bases:
            await self._unlink(self.bases.pop(0))
            self._quota.segments -= 1


def _fitting(records: Sequence[Sealed], left_bytes: int) -> int:
    """How many of ``records``, from the first, fit in ``left_bytes``."""
    for count, record in enumerate(records):
        left_bytes -= frame.record_frame_bytes(len(record.payload))
        if left_bytes < 0:
            return count
    return len(records)
