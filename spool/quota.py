"""How many bytes of records may still be promised.

A promise is made before a call is forwarded and must hold whatever follows, so the count is
pessimistic: a segment may end with almost one largest frame unused.

Owns: the arithmetic. Refuses: files, waiting, and deciding what to answer (``spool.py``).
"""

from __future__ import annotations

from gateway import limits
from spool import frame


class Quota:
    """Bytes of one spool root: taken, promised, and still to be had.

    ``active_bytes``: left for frames in the segment being written, or None without one.
    ``prepared`` and ``segments``: whole files of ``segment_bytes``; the rest: quarantine,
    dead instances, and those that could not be read. ``may_grow`` is False while the volume
    refuses new segments.
    """

    def __init__(self, bytes_max: int, segment_bytes: int) -> None:
        self.bytes_max = bytes_max
        self.segment_bytes = segment_bytes
        self.active_bytes: int | None = None
        self.prepared = 0
        self.segments = 0
        self.quarantine_bytes = 0
        self.dead_bytes = 0
        self.left_alone_bytes = 0
        self.reserved_bytes = 0
        self.pending_bytes = 0
        self.may_grow = True
        self.full = False

    @property
    def used_bytes(self) -> int:
        whole = (self.segments + self.prepared) * self.segment_bytes
        return whole + self.quarantine_bytes + self.dead_bytes + self.left_alone_bytes

    @property
    def growth(self) -> int:
        """Further segments that the quota allows."""
        return max(0, (self.bytes_max - self.used_bytes) // self.segment_bytes)

    @property
    def allocated_bytes(self) -> int:
        """Room for records in files that exist, less what waits to be written."""
        active = 0 if self.active_bytes is None else self.active_bytes - frame.FRAME_BYTES_MAX
        return max(0, active) + self.prepared * self._usable() - self.pending_bytes

    @property
    def room_bytes(self) -> int:
        """Room for records in files that exist and in those that may be made."""
        future = self.growth * self._usable() if self.may_grow else 0
        return self.allocated_bytes + future

    def _usable(self) -> int:
        return frame.usable_bytes(self.segment_bytes) - frame.FRAME_BYTES_MAX

    def admits(self, records: int) -> bool:
        """Whether a call may be promised ``records`` records; the kept bytes stay untouched.

        Once refused at the high-water mark it stays refused down to the low one, so that a
        spool at its limit does not answer every other call.
        """
        used = self.used_bytes * 100
        if self.full and used < limits.SPOOL_LOW_WATER_PERCENT * self.bytes_max:
            self.full = False
        if used >= limits.SPOOL_HIGH_WATER_PERCENT * self.bytes_max:
            self.full = True
        if self.full:
            return False
        if self._fits(records, limits.SPOOL_KEPT_BYTES):
            return True
        self.full = used >= limits.SPOOL_LOW_WATER_PERCENT * self.bytes_max
        return False

    def admits_kept(self, *, final: bool, rotate: bool = False) -> bool:
        """Whether one record of our own may be promised out of the kept bytes.

        ``final``: it is the seal; all others leave room for it. ``rotate``: a key that cannot
        change ends shipping, and only shipping makes room; what is neither leaves room for it too.
        """
        left_for = 0 if final else 1 if rotate else 2
        return self._fits(1, left_for * frame.FRAME_BYTES_MAX)

    @property
    def why_full(self) -> str:
        """What takes the room, for whoever has to make some."""
        whole = (self.segments + self.prepared) * self.segment_bytes
        return (
            f"the quota of {self.bytes_max} bytes is used up: segments {whole}, quarantine "
            f"{self.quarantine_bytes}, dead instances {self.dead_bytes}, unreadable ones "
            f"{self.left_alone_bytes}"
        )

    def _fits(self, records: int, kept_bytes: int) -> bool:
        need = records * frame.FRAME_BYTES_MAX
        return self.reserved_bytes + need + kept_bytes <= self.room_bytes

    @property
    def wants_segment(self) -> bool:
        """Whether a segment should be prepared now: half a segment beyond every promise."""
        promised = self.reserved_bytes + limits.SPOOL_KEPT_BYTES
        return self.growth > 0 and self.allocated_bytes - promised < self.segment_bytes // 2

    @property
    def pressure(self) -> bool:
        return self.used_bytes * 100 >= limits.SPOOL_PRESSURE_PERCENT * self.bytes_max
