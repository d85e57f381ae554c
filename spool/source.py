"""Where records to be shipped come from: our own live directory, or a dead instance's.

Owns: reading ahead in seq order, at most one batch in memory, and passing acknowledgements on
to whoever may delete. Refuses: HTTP, and records beyond what is durable: a record that could
still be lost must not be in the store first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

import anyio
import msgspec

from gateway.documents import RequestOf
from gateway.ports import Disk, FileSystem
from spool import frame, home, read
from spool.batch import Window
from spool.dead import DeadInstance
from spool.ranges import SeqRanges
from spool.read import Chunk
from spool.resend import Resend
from spool.scan import StoredRecord, Stretch
from spool.spool import Spool

_REASON_BYTES_MAX = 512


class Source(Protocol):
    """Records of one instance, oldest first. ``blocked_until``: loop time, 0.0 for not at all."""

    instance: str
    window: Window
    blocked_until: float
    blocked: str | None

    @property
    def live(self) -> bool: ...

    @property
    def backlog_records(self) -> int: ...

    async def peek(self, records_max: int) -> list[StoredRecord]:
        """Up to ``records_max`` records that are not resolved yet, without moving on."""

    async def resolve(self, through_seq: int) -> None:
        """Records up to ``through_seq`` are done with, and may be deleted."""

    async def set_aside(self, stored: StoredRecord, status: int, reason: str) -> None:
        """Keep a record that the store refuses, in the quarantine. Does not resolve it."""


def request_of(source: Source, records: list[StoredRecord]) -> RequestOf | None:
    """Whose records these are, if not the sender's own."""
    if source.live:
        return None
    return RequestOf(instance=source.instance, first_seq=records[0].seq, last_seq=records[-1].seq)


class SetAside(msgspec.Struct, frozen=True):
    """First line of a quarantine file of a refused record; the second is its envelope.

    ``status`` and ``reason``: what the store answered.
    """

    instance: str
    seq: int
    status: int
    reason: str


def _write_refused(
    files: FileSystem, *, directory: str, stored: StoredRecord, status: int, reason: str
) -> int:
    """Two lines: why, and the envelope. Returns the bytes it takes."""
    why = SetAside(stored.instance, stored.seq, status, reason[:_REASON_BYTES_MAX])
    data = msgspec.json.encode(why) + b"\n" + stored.envelope_line() + b"\n"
    home.quarantine(files, directory, {home.refused_name(stored.seq): data})
    return len(data)


class LiveSource:
    """Our own records, up to the newest durable one."""

    def __init__(self, spool: Spool) -> None:
        self.instance = spool.instance
        self.window = Window()
        self.blocked_until = 0.0
        self.blocked: str | None = None
        self._spool = spool
        self._buffer: deque[StoredRecord] = deque()
        self._base: int | None = None
        self._offset = frame.PAGE_BYTES
        self._damages: set[tuple[int, int]] = set()
        self._doubted = False
        self.resend = Resend()

    @property
    def live(self) -> bool:
        return True

    @property
    def backlog_records(self) -> int:
        return self._spool.backlog_records + self._spool.unresent_records

    # -- a store that may have lost what it acknowledged ------------------------------------

    def doubt(self) -> None:
        """The store was away, and may come back without what it acknowledged: delete nothing
        until it has said what it has (``trust``)."""
        self._doubted = True
        self._keep()

    async def trust(self) -> None:
        """Nothing more is to be learned of what the store has; what is to be sent again stays."""
        self._doubted = False
        self._keep()
        await self._spool.acknowledge(self._spool.acked_seq)

    def forgotten(self, missing: SeqRanges) -> SeqRanges:
        """The store lacks ``missing``, all acknowledged: send again what of it is still on disk.

        Those that were not known to be lost.
        """
        fresh = self.resend.forgotten(missing, self._spool.held_from)
        self._keep()
        return fresh

    def _keep(self) -> None:
        spool, pending = self._spool, self.resend.pending
        spool.unresent_records = pending.count
        spool.shelf.kept_from = spool.held_from if self._doubted else pending.first

    def _go_back(self, first_seq: int) -> None:
        """Read on from ``first_seq``; what was read ahead is read again behind it."""
        bases = self._spool.shelf.bases
        self._base = max((base for base in bases if base <= first_seq), default=bases[0])
        self._offset = frame.PAGE_BYTES
        self._buffer.clear()

    # -- reading ----------------------------------------------------------------------------

    async def peek(self, records_max: int) -> list[StoredRecord]:
        again_from = self.resend.begin()
        if again_from is not None:
            self._go_back(again_from)
        while len(self._buffer) < records_max and await self._read():
            pass
        return [self._buffer[index] for index in range(min(records_max, len(self._buffer)))]

    async def _read(self) -> bool:
        """Read on by one chunk; False at the end of what is durable."""
        shelf = self._spool.shelf
        if not shelf.bases:
            return False
        if self._base not in shelf.bases:
            # At the start, and when the segment was deleted before its empty end was read.
            self._base, self._offset = shelf.bases[0], frame.PAGE_BYTES
        active = self._base == shelf.bases[-1]
        end = shelf.durable_end if active else None
        if end is not None and self._offset >= end:
            await self._pass_over()
            return False
        try:
            chunk = await self._spool.disk.run(
                partial(
                    read.read_chunk,
                    directory=self._spool.directory,
                    instance=self.instance,
                    base_seq=self._base,
                    offset=self._offset,
                    end=end,
                )
            )
        except FileNotFoundError:
            # Somebody deleted it. The store sees the hole; what follows must not wait for it.
            self._spool.segment_gone(self._base)
            if not active:
                self._turn_page()
            return not active
        await self._take(chunk)
        self._offset = chunk.offset
        if chunk.done and not active:
            self._turn_page()
        return True

    def _turn_page(self) -> None:
        """Read on in the next segment."""
        bases = self._spool.shelf.bases
        self._base = next(base for base in bases if base > (self._base or 0))
        self._offset = frame.PAGE_BYTES

    async def _pass_over(self) -> None:
        """A record that no longer reads back must not hold up those around it for ever."""
        if not self._buffer and self.backlog_records:
            await self.resolve(self._spool.durable_seq)

    async def _take(self, chunk: Chunk) -> None:
        base = self._base or 0
        for piece in chunk.pieces:
            if isinstance(piece, StoredRecord):
                if piece.seq > self._spool.acked_seq or self.resend.wants(piece.seq):
                    self._buffer.append(piece)
            elif isinstance(piece, Stretch) and (base, piece.offset) not in self._damages:
                self._damages.add((base, piece.offset))
                await self._spool.note_damage(base, piece)

    async def resolve(self, through_seq: int) -> None:
        sent = []
        while self._buffer and self._buffer[0].seq <= through_seq:
            sent.append(self._buffer.popleft().seq)
        self.resend.resolved(sent, self._spool.acked_seq, through_seq)
        self._keep()
        await self._spool.acknowledge(through_seq)

    async def set_aside(self, stored: StoredRecord, status: int, reason: str) -> None:
        self.resend.withhold(stored.seq)
        self._spool.note_set_aside(
            await self._spool.disk.run(
                partial(
                    _write_refused,
                    directory=self._spool.directory,
                    stored=stored,
                    status=status,
                    reason=reason,
                )
            )
        )


class DeadSource:
    """What a dead instance left, segment by segment. ``before_delete``: see ``Spool.open``."""

    def __init__(
        self, spool: Spool, dead: DeadInstance, before_delete: Callable[[], Awaitable[None]]
    ) -> None:
        self.instance = dead.instance
        self.dead = dead
        self.window = Window()
        self.blocked_until = 0.0
        self.blocked: str | None = None
        self._spool = spool
        self._disk = spool.disk
        self._before_delete = before_delete
        self._buffer: deque[StoredRecord] = deque()
        self._bases = deque(dead.bases)
        self._offset = frame.PAGE_BYTES
        self._left = dead.findings.records
        self._seen = -1

    @property
    def live(self) -> bool:
        return False

    @property
    def backlog_records(self) -> int:
        return self._left

    async def peek(self, records_max: int) -> list[StoredRecord]:
        while len(self._buffer) < records_max and self._bases:
            if self._bases[0] not in self.dead.bases:
                self._bases.popleft()
                self._offset = frame.PAGE_BYTES
                continue
            try:
                chunk = await self._disk.run(
                    partial(
                        read.read_chunk,
                        directory=self.dead.directory,
                        instance=self.instance,
                        base_seq=self._bases[0],
                        offset=self._offset,
                        end=None,
                    )
                )
            except FileNotFoundError:
                # Somebody deleted it: the record about this instance says what had been there.
                self._bases.popleft()
                self._offset = frame.PAGE_BYTES
                continue
            for piece in chunk.pieces:
                if isinstance(piece, StoredRecord) and piece.seq > self._seen:
                    self._seen = piece.seq
                    self._buffer.append(piece)
                elif isinstance(piece, Stretch) and not self.dead.knows(self._bases[0], piece):
                    # Sound when it was examined, and no record says that it is lost.
                    self._spool.alarm_damage(self.instance, piece)
                    await self.dead.note_damage(self._disk, self._bases[0], piece)
            self._offset = chunk.offset
            if chunk.done:
                self._bases.popleft()
                self._offset = frame.PAGE_BYTES
        if not self._bases:
            # All is read: no more than this can be sent, whatever was counted at the start.
            self._left = len(self._buffer)
        return [self._buffer[index] for index in range(min(records_max, len(self._buffer)))]

    async def resolve(self, through_seq: int) -> None:
        while self._buffer and self._buffer[0].seq <= through_seq:
            self._buffer.popleft()
            self._left -= 1
        if self.dead.bases and self.dead.last_seqs[0] <= through_seq:
            await self._before_delete()
        await self.dead.trim(self._disk, through_seq)

    async def set_aside(self, stored: StoredRecord, status: int, reason: str) -> None:
        self.dead.note_set_aside(
            await self._disk.run(
                partial(
                    _write_refused,
                    directory=self.dead.directory,
                    stored=stored,
                    status=status,
                    reason=reason,
                )
            )
        )


async def remove_when_done(disk: Disk, source: DeadSource, wall_us: int) -> bool:
    """Remove a dead directory that nothing keeps any more; True when it is gone."""
    if source.backlog_records or not source.dead.removable(wall_us):
        return False
    with anyio.CancelScope(shield=True):
        await source.dead.remove(disk)
    return True
