"""One pass over the segments of an instance that may be alive, changing nothing.

A writer and a shipper may be at work meanwhile. Segments are deleted oldest first, so one that
is gone together with all before it was shipped: the pass begins anew behind it. In the newest
segment a group of records may be half written at the moment of reading. What was there before
the newest group had been synced before that group was written, so damage there is damage; what
does not read from the newest group on is *being written*, and says nothing.

Owns: this reading, at most one segment in memory. Refuses: writing, locks, and signatures.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from gateway.ports import FileSystem
from spool import frame, read
from spool.examine import Damage, Examiner
from spool.judge import judge_segment
from spool.read import LoadedSegment
from spool.scan import Piece, Scan, SegmentEnd, StoredRecord, Stretch

Item = StoredRecord | SegmentEnd | Damage


class SegmentView(msgspec.Struct, frozen=True):
    """A segment as it was read: ``items`` in order of offset, of ``bytes_read`` bytes.

    ``begins``: nothing was seen before it, or what was seen has been shipped and deleted since.
    """

    base_seq: int
    items: list[Item]
    bytes_read: int
    begins: bool


class NewerFormat(Exception):
    """A segment of a later format; what is in it cannot be told. Carries the version."""

    def __init__(self, version: int) -> None:
        super().__init__(f"format version {version}; this program reads up to {frame.VERSION}")
        self.version = version


class Walk:
    """Iterate once over its ``SegmentView`` objects, then ask the members.

    ``may_be_written``: a process may be writing there. ``examiner``: has seen what is still
    there. ``deleted``: segments that went away meanwhile, all their records being shipped.
    ``writing_bytes``: those that were being written.
    """

    def __init__(
        self, files: FileSystem, directory: str, instance: str, *, may_be_written: bool
    ) -> None:
        self.instance = instance
        self.examiner = Examiner(instance)
        self.deleted = 0
        self.writing_bytes = 0
        self._files = files
        self._directory = directory
        self._may_be_written = may_be_written

    def __iter__(self) -> Iterator[SegmentView]:
        """Raises OSError and NewerFormat."""
        bases = self._bases()
        begins = True
        for place, base_seq in enumerate(bases):
            last = base_seq == bases[-1]
            try:
                loaded, scanned = self._load(base_seq, last=last)
            except FileNotFoundError:
                left = self._bases()
                if place and left and left[0] < base_seq:
                    continue  # not our doing: older ones are still there, and the hole will show
                self.examiner = Examiner(self.instance)
                self.deleted += 1
                begins = True
                continue
            damages = judge_segment(
                self.examiner, loaded, scanned, instance=self.instance, last=last
            )
            items = _items(scanned, damages)
            yield SegmentView(base_seq, items, len(loaded.data), begins)
            begins = False

    def _bases(self) -> list[int]:
        try:
            return read.segment_bases(self._files, self._directory)
        except FileNotFoundError:
            return []  # the whole instance was shipped, and its directory removed

    def _load(self, base_seq: int, *, last: bool) -> tuple[LoadedSegment, Scan]:
        loaded = read.load_segment(self._files, self._directory, self.instance, base_seq)
        if loaded.header is not None and loaded.header.version > frame.VERSION:
            raise NewerFormat(loaded.header.version)
        scanned = loaded.scan(self.instance)
        if not (last and self._may_be_written):
            return loaded, scanned
        # A second reading: what the first one saw before the newest group is complete by now.
        sound_end = _newest_group(scanned)
        loaded = read.load_segment(self._files, self._directory, self.instance, base_seq)
        scanned = loaded.scan(self.instance)
        return loaded, self._without_unwritten(scanned, sound_end)

    def _without_unwritten(self, scanned: Scan, sound_end: int) -> Scan:
        kept: list[Piece] = []
        for piece in scanned.pieces:
            if isinstance(piece, Stretch) and piece.offset >= sound_end:
                self.writing_bytes += piece.length
            else:
                kept.append(piece)
        return Scan(pieces=kept, batches=scanned.batches, data_end=scanned.data_end)


def _newest_group(scanned: Scan) -> int:
    """Where the newest group of records begins; all before it had been synced."""
    newest = max((batch_first for _, batch_first in scanned.batches), default=0)
    begins = (offset for offset, batch_first in scanned.batches if batch_first == newest)
    return min(begins, default=frame.PAGE_BYTES)


def _items(scanned: Scan, damages: list[Damage]) -> list[Item]:
    """Pieces that can be read and damages, in order; nothing of a segment that is foreign."""
    if any(damage.offset == 0 and damage.rule == "foreign" for damage in damages):
        return list(damages)
    at = {damage.offset for damage in damages}
    readable: list[Item] = [
        piece
        for piece in scanned.pieces
        if piece.offset not in at and not isinstance(piece, Stretch)
    ]
    return sorted([*readable, *damages], key=lambda item: item.offset)
