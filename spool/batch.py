"""How many records go into the next request, and its body.

Owns: the search for a record that the store refuses (halving), the answer to 413 (smaller
batches, growing back), and the bytes of a request. Refuses: sending them.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Final

import msgspec

from gateway import limits
from spool.scan import StoredRecord

_GZIP: Final = 31
"""zlib's window bits for a gzip stream; its header holds no time, so equal batches are equal."""
_LEVEL: Final = 1
"""Signatures cannot shrink and are most of the result: higher levels cost time for 3 %."""
_GROW_AFTER: Final = 20
LINES_PER_STEP: Final = 32


class Window:
    """How many records of one instance to send next. Pure; fed with what became of each request.

    A refused batch holds a bad record: half of it is sent next, and so on from its start, until
    the bad record stands alone. ``suspects``: that many, from the next on, were refused together.
    """

    def __init__(self) -> None:
        self.target = limits.SHIP_RECORDS_MAX
        self.suspects: int | None = None
        self._alone = 0
        self._good = 0

    def __repr__(self) -> str:
        return f"Window(target={self.target}, suspects={self.suspects})"

    @property
    def size(self) -> int:
        """The most records that the next request may hold."""
        if self.suspects is None:
            return self.target
        return min(self.target, max(1, self.suspects // 2))

    def resolved(self, count: int, sent: int) -> None:
        """``count`` of ``sent`` records were resolved by one answer."""
        self._alone = 0
        if self.suspects is not None:
            left = self.suspects - count
            self.suspects = left if left > 0 else None
        self._good = self._good + 1 if count == sent else 0
        if self._good >= _GROW_AFTER:
            self._good = 0
            self.target = min(limits.SHIP_RECORDS_MAX, self.target + max(1, self.target // 10))

    def refused(self, sent: int) -> bool:
        """A batch of ``sent`` was refused. True: it is one record, refused often enough."""
        self._good = 0
        self.suspects = sent
        if sent > 1:
            return False
        self._alone += 1
        return self._alone >= limits.SHIP_REFUSALS_MAX

    def too_large(self, sent: int) -> bool:
        """A batch of ``sent`` was too large. True: it is one record, refused often enough."""
        self.target = max(1, sent // 2)
        return self.refused(sent) if sent == 1 else False

    def set_aside(self) -> None:
        """The one bad record is dealt with."""
        self._alone = 0
        self.suspects = None


class Body(msgspec.Struct, frozen=True):
    """The body of one request: ``records`` are those it holds, the first of what was offered."""

    records: list[StoredRecord]
    data: bytes


class BodyBuilder:
    """Compresses envelope lines step by step, so that the event loop gets turns in between."""

    def __init__(self) -> None:
        self._compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        self._parts: list[bytes] = []
        self._records: list[StoredRecord] = []
        self._plain_bytes = 0

    def add(self, records: Sequence[StoredRecord]) -> bool:
        """Take in ``records``; False when one no longer fits, which ends the batch there."""
        lines: list[bytes] = []
        for record in records:
            line = record.envelope_line() + b"\n"
            if self._records and self._plain_bytes + len(line) > limits.SHIP_BYTES_MAX:
                self._compress(lines)
                return False
            self._plain_bytes += len(line)
            self._records.append(record)
            lines.append(line)
        self._compress(lines)
        return len(self._records) < limits.SHIP_RECORDS_MAX

    def _compress(self, lines: list[bytes]) -> None:
        self._parts.append(self._compressor.compress(b"".join(lines)))

    def finish(self) -> Body:
        """The whole body."""
        self._parts.append(self._compressor.flush())
        return Body(records=self._records, data=b"".join(self._parts))
