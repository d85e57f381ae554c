"""Reading what an instance wrote: in steps, without its lock, changing nothing.

Works on the directory of a live instance too; what stands beyond its last sync is then read or
not, as it happens to be.

Owns: finding segments, and reading them forward in bounded pieces. Refuses: writing anything,
and judging damage (``examine.py``). Everything here runs inside ``Disk.run``, or in a command
that may block.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest

import msgspec

from gateway import limits
from gateway.ports import FileSystem
from spool import frame
from spool.frame import SegmentHeader
from spool.scan import Piece, Scan, SegmentEnd, StoredRecord, Stretch, scan
from spool.segment import pread_all, read_all, segment_base, segment_name

CHUNK_BYTES = 256 * 1024
"""Read and scanned at a time, so that commits get at the disk in between."""
_FIRST_BYTES = 16 * 1024
"""Read and scanned for the first record alone, which is rarely larger."""


class LoadedSegment(msgspec.Struct, frozen=True):
    """A whole segment in memory. ``header``: None when page 0 is damaged."""

    base_seq: int
    data: bytes
    header: SegmentHeader | None
    salt: int

    def scan(self, instance: str) -> Scan:
        """What stands in it."""
        return scan(self.data, instance=instance, salt=self.salt, base_seq=self.base_seq)


def segment_bases(files: FileSystem, directory: str) -> list[int]:
    """Base seqs of the segments in ``directory``, in order."""
    found = (segment_base(name) for name in files.list_directory(directory))
    return sorted(base for base in found if base is not None)


def load_segment(files: FileSystem, directory: str, instance: str, base_seq: int) -> LoadedSegment:
    """The segment that begins with ``base_seq``, whole. Raises OSError."""
    path = f"{directory}/{segment_name(base_seq)}"
    data = read_all(files, path, limits.SEGMENT_BYTES_MAX)
    header = frame.decode_header(data[: frame.PAGE_BYTES])
    return LoadedSegment(base_seq, data, header, _salt(header, instance, base_seq))


def _salt(header: SegmentHeader | None, instance: str, base_seq: int) -> int:
    if header is not None:
        return header.salt
    return frame.segment_salt(frame.instance_bytes(instance), base_seq)


class Chunk(msgspec.Struct, frozen=True):
    """Some pieces of a segment, and where to go on; ``done`` at the end of what was asked."""

    pieces: list[Piece]
    offset: int
    done: bool


def read_chunk(
    files: FileSystem,
    directory: str,
    instance: str,
    base_seq: int,
    offset: int,
    end: int | None,
    chunk_bytes: int = CHUNK_BYTES,
) -> Chunk:
    """The next pieces at ``offset`` of a segment, before ``end`` (None: the end of the file).

    ``chunk_bytes``: how much is read, and more only where no piece ends in it. Raises OSError.
    Always moves on, whatever the bytes are.
    """
    file = files.open(f"{directory}/{segment_name(base_seq)}", writable=False)
    try:
        header = frame.decode_header(pread_all(file, frame.PAGE_BYTES, 0))
        salt = _salt(header, instance, base_seq)
        until = min(file.size(), limits.SEGMENT_BYTES_MAX) if end is None else end
        length = chunk_bytes
        while True:
            data = pread_all(file, min(length, until - offset), offset)
            pieces = scan(data, instance=instance, salt=salt, base_seq=base_seq, start=0).pieces
            whole = offset + len(data) >= until or len(data) < min(length, until - offset)
            if whole or not pieces:
                return Chunk(_shifted(pieces, offset), offset + len(data), whole)
            # The last frame is probably cut by the chunk, not damaged.
            last = pieces[-1]
            if not isinstance(last, Stretch):
                return Chunk(_shifted(pieces, offset), _end(last, offset), False)
            if len(pieces) > 1:
                return Chunk(_shifted(pieces[:-1], offset), offset + last.offset, False)
            length *= 2
    finally:
        file.close()


def _end(piece: StoredRecord | SegmentEnd, shift: int) -> int:
    if isinstance(piece, StoredRecord):
        return shift + piece.end
    return shift + piece.offset + frame.END_FRAME_BYTES


def _shifted(pieces: list[Piece], shift: int) -> list[Piece]:
    """``pieces`` with offsets in the file instead of in the chunk."""
    shifted: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, StoredRecord):
            piece = msgspec.structs.replace(
                piece, offset=piece.offset + shift, end=piece.end + shift
            )
        else:
            piece = msgspec.structs.replace(piece, offset=piece.offset + shift)
        shifted.append(piece)
    return shifted


def first_record(files: FileSystem, directory: str) -> StoredRecord | None:
    """The first readable record in ``directory``, found with little reading. Raises OSError."""
    return next(records(files, directory, chunk_bytes=_FIRST_BYTES), None)


def records(
    files: FileSystem, directory: str, *, from_seq: int = 0, chunk_bytes: int = CHUNK_BYTES
) -> Iterator[StoredRecord]:
    """Every readable record of the instance whose directory this is, in seq order.

    Damage is passed over. Raises OSError, and ValueError for a directory that is not named by an
    instance id.
    """
    instance = directory.rstrip("/").rpartition("/")[2]
    frame.instance_bytes(instance)
    bases = segment_bases(files, directory)
    seen = from_seq - 1
    for base_seq, following in zip_longest(bases, bases[1:]):
        if following is not None and following <= from_seq:
            continue
        offset, done = frame.PAGE_BYTES, False
        while not done:
            chunk = read_chunk(files, directory, instance, base_seq, offset, None, chunk_bytes)
            for piece in chunk.pieces:
                if isinstance(piece, StoredRecord) and piece.seq > seen:
                    seen = piece.seq
                    yield piece
            offset, done = chunk.offset, chunk.done
