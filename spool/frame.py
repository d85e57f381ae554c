"""The bytes of a segment file: one header page, then frames.

Little-endian. A segment is zero-filled when it is made, so its size never changes while it is
written and zero bytes are "nothing was written here". Layout of the header page (offset, length):

    0   8  magic ``GPSPOOL1``        32  8  base_seq: seq of the first record
    8   2  version                   40  4  salt, see ``segment_salt``
    10  2  zero                      44 80  zero
    12  4  segment bytes            124  4  crc32 of bytes 0-123
    16 16  instance                 128     zero up to 4096, where frames start

and of a frame, which starts at a multiple of 8:

    0   4  marker                    16  8  seq
    4   1  type                      24  8  batch_first: seq that began this group commit
    5   3  zero                      32  4  zero
    8   4  body length               36  4  crc32 of bytes 0-35, started at salt
    12  4  crc32 of the body,        40     body, then zero up to a multiple of 8
           started at salt

A record's body is ``u32 payload length ‖ payload ‖ 64-byte signature``. A ``segment_end`` has
no body; its seq and batch_first are the seq that the next segment begins with.

Why so: header and body have a checksum each, so a bad body keeps its boundary and costs one
record; the salt keeps bytes of another segment from looking valid; a valid frame with a larger
``batch_first`` proves that every earlier batch had been synced, and so may have been answered.
The checksums are against accidents; the chain and its signatures are against people.

Owns: these bytes, both ways. Refuses: files, and judging what damage means (``examine.py``).
"""

from __future__ import annotations

import base64
import re
import struct
import zlib
from collections.abc import Sequence
from typing import Final, Protocol

import msgspec

from gateway import limits
from gateway.seal import SIGNATURE_BYTES

MAGIC: Final = b"GPSPOOL1"
VERSION: Final = 1
PAGE_BYTES: Final = 4096
MARKER: Final = 0x5EC00F1A
TYPE_RECORD: Final = 1
TYPE_SEGMENT_END: Final = 2
FRAME_HEADER_BYTES: Final = 40
END_FRAME_BYTES: Final = FRAME_HEADER_BYTES
BODY_BYTES_MAX: Final = 1024 * 1024
"""A reader's bound. A writer stays far below it (``limits.RECORD_BYTES_MAX``)."""
INSTANCE_BYTES: Final = 16

_MARKER_BYTES: Final = MARKER.to_bytes(4, "little")
_PAGE: Final = struct.Struct("<8sHHI16sQI80s")
_HEADER: Final = struct.Struct("<IBBHIIQQI")
_U32: Final = struct.Struct("<I")
_PADDING: Final = tuple(bytes(-size % 8) for size in range(8))
_INSTANCE: Final = re.compile(r"[a-z2-7]{26}")
_BASE32_DIGITS: Final = str.maketrans(
    "abcdefghijklmnopqrstuvwxyz234567", "0123456789abcdefghijklmnopqrstuv"
)
"""From the digits of RFC 4648 to those of ``int``: every start reads every name on the volume."""
_BEYOND: Final = 0b11
"""26 characters have two bits more than an instance id."""


def padded(length: int) -> int:
    """``length`` rounded up to the alignment of frames."""
    return (length + 7) & ~7


def record_frame_bytes(payload_bytes: int) -> int:
    """Bytes that a record with a payload of this length takes in a segment."""
    return padded(FRAME_HEADER_BYTES + _U32.size + payload_bytes + SIGNATURE_BYTES)


FRAME_BYTES_MAX: Final = record_frame_bytes(limits.RECORD_BYTES_MAX)
"""The largest frame that a writer makes: what one reserved record is charged."""


def usable_bytes(segment_bytes: int) -> int:
    """Bytes for records in a fresh segment of this size."""
    return segment_bytes - PAGE_BYTES - END_FRAME_BYTES


def instance_bytes(text: str) -> bytes:
    """The 16 bytes of an instance id (26 lower-case base32 characters). Raises ValueError."""
    if _INSTANCE.fullmatch(text) is None:
        raise ValueError(f"instance id {text!r} is not 26 characters of a-z and 2-7")
    number = int(text.translate(_BASE32_DIGITS), 32)
    if number & _BEYOND:
        raise ValueError(f"instance id {text!r} has bits beyond its 128")
    return (number >> _BEYOND.bit_length()).to_bytes(16, "big")


def instance_text(raw: bytes) -> str:
    """The inverse of ``instance_bytes``."""
    return base64.b32encode(raw).decode().rstrip("=").lower()


def segment_salt(instance: bytes, base_seq: int) -> int:
    """Where the checksums of a segment start: differs from segment to segment.

    Derived, not drawn, so that frames can still be checked when page 0 is damaged: the name of
    file and directory says both values again.
    """
    return zlib.crc32(instance + base_seq.to_bytes(8, "little"))


class SegmentHeader(msgspec.Struct, frozen=True):
    """What page 0 of a segment says. ``version`` may be newer than this code."""

    instance: bytes
    base_seq: int
    salt: int
    segment_bytes: int
    version: int = VERSION


def encode_header(header: SegmentHeader) -> bytes:
    """Page 0 of a segment, 4096 bytes."""
    fields = _PAGE.pack(
        MAGIC,
        header.version,
        0,
        header.segment_bytes,
        header.instance,
        header.base_seq,
        header.salt,
        b"",
    )
    return (fields + _U32.pack(zlib.crc32(fields))).ljust(PAGE_BYTES, b"\0")


def decode_header(page: bytes) -> SegmentHeader | None:
    """The header in the first bytes of ``page``, or None if they are not one.

    Every future version keeps the first 128 bytes and their checksum, so that a newer segment
    is told from a damaged one; the caller compares ``version``.
    """
    end = _PAGE.size
    if len(page) < end + _U32.size or not page.startswith(MAGIC):
        return None
    if zlib.crc32(page[:end]) != _U32.unpack_from(page, end)[0]:
        return None
    _, version, _, segment_bytes, instance, base_seq, salt, _ = _PAGE.unpack_from(page)
    return SegmentHeader(instance, base_seq, salt, segment_bytes, version)


class FrameHeader(msgspec.Struct, frozen=True):
    """A frame whose header checksum is right; ``offset`` is where it starts in the segment."""

    offset: int
    type: int
    body_bytes: int
    body_crc: int
    seq: int
    batch_first: int

    @property
    def body_offset(self) -> int:
        return self.offset + FRAME_HEADER_BYTES

    @property
    def end(self) -> int:
        """Where the next frame starts."""
        return self.offset + padded(FRAME_HEADER_BYTES + self.body_bytes)


class Writable(Protocol):
    """What a frame is made from: ``seal.Sealed`` is one."""

    @property
    def seq(self) -> int: ...
    @property
    def payload(self) -> bytes: ...
    @property
    def signature(self) -> bytes: ...


def encode_batch(records: Sequence[Writable], salt: int) -> bytes:
    """The frames of one group commit. ``records``: at least one, in seq order."""
    batch_first = records[0].seq
    crc32 = zlib.crc32
    parts: list[bytes] = []
    for record in records:
        payload = record.payload
        body = b"".join((_U32.pack(len(payload)), payload, record.signature))
        size = len(body)
        head = _HEADER.pack(
            MARKER, TYPE_RECORD, 0, 0, size, crc32(body, salt), record.seq, batch_first, 0
        )
        parts += (head, _U32.pack(crc32(head, salt)), body, _PADDING[size % 8])
    return b"".join(parts)


def encode_segment_end(next_seq: int, salt: int) -> bytes:
    """The last frame of a segment that is followed by ``next_seq``."""
    head = _HEADER.pack(
        MARKER, TYPE_SEGMENT_END, 0, 0, 0, zlib.crc32(b"", salt), next_seq, next_seq, 0
    )
    return head + _U32.pack(zlib.crc32(head, salt))


def decode_frame_header(data: bytes, offset: int, salt: int) -> FrameHeader | None:
    """The frame header at ``offset``, or None if there is none or it does not fit in ``data``."""
    end = offset + _HEADER.size
    if end + _U32.size > len(data) or data[offset : offset + 4] != _MARKER_BYTES:
        return None
    if zlib.crc32(data[offset:end], salt) != _U32.unpack_from(data, end)[0]:
        return None
    _, kind, _, _, size, crc, seq, batch_first, _ = _HEADER.unpack_from(data, offset)
    if size > BODY_BYTES_MAX or max(seq, batch_first) > limits.JSON_INTEGER_MAX:
        return None
    return FrameHeader(offset, kind, size, crc, seq, batch_first)


def find_frame_header(data: bytes, start: int, salt: int) -> FrameHeader | None:
    """The first valid frame header at or after ``start``; frames stand at multiples of 8."""
    at = data.find(_MARKER_BYTES, start)
    while at >= 0:
        if at % 8 == 0:
            header = decode_frame_header(data, at, salt)
            if header is not None:
                return header
        at = data.find(_MARKER_BYTES, at + 1)
    return None


def decode_body(data: bytes, header: FrameHeader, salt: int) -> tuple[bytes, bytes] | None:
    """(payload, signature) of a record frame, or None if its body is damaged."""
    start = header.body_offset
    body = data[start : start + header.body_bytes]
    if len(body) != header.body_bytes or zlib.crc32(body, salt) != header.body_crc:
        return None
    if len(body) < _U32.size + SIGNATURE_BYTES:
        return None
    cut = len(body) - SIGNATURE_BYTES
    if _U32.unpack_from(body)[0] != cut - _U32.size:
        return None
    return body[_U32.size : cut], body[cut:]
