"""What a call holds of the spool: room that was promised, and records on their way.

Owns: reservations and the batch that several calls share. Refuses: writing (``shelf.py``) and
deciding whether there is room (``quota.py``).
"""

from __future__ import annotations

from collections.abc import Sequence

import anyio

from gateway import limits
from gateway.errors import TurnAway
from gateway.ports import Receipt
from gateway.seal import Sealed
from spool import frame
from spool.quota import Quota


class SpoolReservation:
    """Room for some records of one call; see ``gateway.ports.Reservation``."""

    __slots__ = ("_quota", "left")

    def __init__(self, quota: Quota, records: int) -> None:
        self._quota = quota
        self.left = records
        quota.reserved_bytes += records * frame.FRAME_BYTES_MAX

    def take(self, records: int) -> None:
        """Use room for ``records``. Raises ValueError when that much was not reserved."""
        if records > self.left:
            raise ValueError(f"{records} records to commit, room reserved for {self.left}")
        self.left -= records
        self._quota.reserved_bytes -= records * frame.FRAME_BYTES_MAX

    def release(self) -> None:
        """Give back what was not used. Harmless when called twice."""
        self.take(self.left)


class Batch:
    """Records that are written and synced together; ``done`` is set when that is over."""

    __slots__ = ("done", "failure", "frame_bytes", "records")

    def __init__(self) -> None:
        self.records: list[Sealed] = []
        self.frame_bytes = 0
        self.done = anyio.Event()
        self.failure: str | None = None

    @property
    def whole(self) -> bool:
        return (
            len(self.records) >= limits.BATCH_RECORDS_MAX
            or self.frame_bytes >= limits.BATCH_BYTES_MAX
        )

    def fail(self, why: str) -> None:
        self.failure = why
        self.done.set()


class SpoolCommit:
    """Records on their way to the disk; see ``gateway.ports.Commit``."""

    __slots__ = ("_batch", "receipts")

    def __init__(self, batch: Batch, receipts: list[Receipt]) -> None:
        self._batch = batch
        self.receipts: Sequence[Receipt] = receipts

    async def wait(self) -> Sequence[Receipt]:
        """Return once the records are durable. Raises TurnAway (``disk_failed``)."""
        batch = self._batch
        if not batch.done.is_set():
            await batch.done.wait()
        if batch.failure is not None:
            raise TurnAway("disk_failed", batch.failure)
        return self.receipts
