"""Reading one segment's bytes, whatever state they are in.

Owns: ``scan``, which turns bytes into records and damaged stretches, always ends, and never
raises for any bytes. Refuses: what damage means for the chain (``examine.py``) and all I/O.
"""

from __future__ import annotations

import msgspec

from gateway import documents, record, seal
from gateway.errors import UNREADABLE
from gateway.record import Leading
from spool import frame
from spool.frame import FrameHeader

_ZERO_PAGE = bytes(frame.PAGE_BYTES)


class StoredRecord(msgspec.Struct, frozen=True):
    """A record whose frame checksums are right; nothing says that its signature is.

    ``offset`` and ``end``: where its frame stands in the segment that begins with ``base_seq``.
    """

    instance: str
    seq: int
    batch_first: int
    payload: bytes
    signature: bytes
    leading: Leading
    base_seq: int
    offset: int
    end: int

    def record_hash(self) -> str:
        """``record_hash`` of formats section 3."""
        return seal.record_hash(seal.record_pae(self.payload), self.signature)

    def envelope_line(self) -> bytes:
        """The DSSE JSON of this record, as shipped and exported; no newline."""
        kid = self.leading.chain.kid
        return documents.encode(
            seal.envelope(documents.RECORD, self.payload, [(kid, self.signature)])
        )


class Stretch(msgspec.Struct, frozen=True):
    """Bytes that are not what was written. ``seq`` is known where only a body is bad.

    ``what``: ``body`` | ``header`` | ``foreign`` (a sound frame that holds another record) |
    ``after_end``.
    """

    offset: int
    length: int
    what: str
    seq: int | None


class SegmentEnd(msgspec.Struct, frozen=True):
    """The end frame; ``next_seq`` begins the next segment."""

    offset: int
    next_seq: int


Piece = StoredRecord | Stretch | SegmentEnd


class Scan(msgspec.Struct, frozen=True):
    """``pieces`` in order of offset; ``data_end``: past the last byte that is not zero.

    ``batches``: (offset, batch_first) of every sound frame header, also of those with a bad body.
    """

    pieces: list[Piece]
    batches: list[tuple[int, int]]
    data_end: int


def scan(
    data: bytes, *, instance: str, salt: int, base_seq: int, start: int = frame.PAGE_BYTES
) -> Scan:
    """What stands in ``data``, the bytes of a segment from 0, at and after ``start``.

    A bad header is skipped to the next sound one; a bad body keeps its boundary.
    """
    data_end = _data_end(data)
    pieces: list[Piece] = []
    batches: list[tuple[int, int]] = []
    at = start
    ended = False
    while at < data_end:
        header = frame.decode_frame_header(data, at, salt)
        if ended or header is None:
            found = None if ended else frame.find_frame_header(data, at + 1, salt)
            until = data_end if found is None else found.offset
            what = "after_end" if ended else "header"
            pieces.append(Stretch(offset=at, length=until - at, what=what, seq=None))
            at = until
            continue
        batches.append((at, header.batch_first))
        piece = _piece(data, header, instance, salt, base_seq)
        pieces.append(piece)
        ended = isinstance(piece, SegmentEnd)
        at = header.end
    return Scan(pieces=pieces, batches=batches, data_end=data_end)


def _data_end(data: bytes) -> int:
    """Past the last byte that is not zero. A new segment is zeros for the most part: comparing
    pages of them takes a twentieth of the time of stripping them byte by byte."""
    end = len(data)
    while end >= frame.PAGE_BYTES and data[end - frame.PAGE_BYTES : end] == _ZERO_PAGE:
        end -= frame.PAGE_BYTES
    return len(data[:end].rstrip(b"\0"))


def _piece(data: bytes, header: FrameHeader, instance: str, salt: int, base_seq: int) -> Piece:
    if header.type == frame.TYPE_SEGMENT_END and header.body_bytes == 0:
        return SegmentEnd(offset=header.offset, next_seq=header.seq)
    length = min(header.end, len(data)) - header.offset
    body = frame.decode_body(data, header, salt)
    if body is None or header.type != frame.TYPE_RECORD:
        return Stretch(offset=header.offset, length=length, what="body", seq=header.seq)
    payload, signature = body
    try:
        leading = record.decode_leading(payload)
    except UNREADABLE:
        return Stretch(offset=header.offset, length=length, what="foreign", seq=header.seq)
    if leading.chain.instance != instance or leading.chain.seq != header.seq:
        return Stretch(offset=header.offset, length=length, what="foreign", seq=header.seq)
    return StoredRecord(
        instance=instance,
        seq=header.seq,
        batch_first=header.batch_first,
        payload=payload,
        signature=signature,
        leading=leading,
        base_seq=base_seq,
        offset=header.offset,
        end=header.end,
    )
