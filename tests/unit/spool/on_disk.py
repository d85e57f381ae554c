"""A spool on a real disk, written frame by frame, in any state a crash or an accident leaves."""

from __future__ import annotations

import os
from pathlib import Path

from gateway.io.disk import OsFileSystem
from gateway.seal import Sealed
from spool import frame
from spool.frame import SegmentHeader
from spool.segment import segment_name

FILES = OsFileSystem()
SEGMENT_BYTES = 256 * 1024


def put_home(root: Path, instance: str) -> Path:
    """The directory of an instance, with its lock file."""
    home = root / instance
    home.mkdir(parents=True, exist_ok=True)
    (home / "LOCK").touch()
    return home


def put_segment(home: Path, records: list[Sealed], *, end: bool = False, batch: int = 1) -> Path:
    """A segment with ``records``, in groups of ``batch``; with ``end`` it is finished."""
    raw, base_seq = frame.instance_bytes(home.name), records[0].seq
    salt = frame.segment_salt(raw, base_seq)
    data = frame.encode_header(SegmentHeader(raw, base_seq, salt, SEGMENT_BYTES))
    for first in range(0, len(records), batch):
        data += frame.encode_batch(records[first : first + batch], salt)
    if end:
        data += frame.encode_segment_end(records[-1].seq + 1, salt)
    path = home / segment_name(base_seq)
    path.write_bytes(data.ljust(SEGMENT_BYTES, b"\0"))
    return path


def offset_of(records: list[Sealed], index: int) -> int:
    """Where the frame of ``records[index]`` begins in their segment."""
    sizes = (frame.record_frame_bytes(len(one.payload)) for one in records[:index])
    return frame.PAGE_BYTES + sum(sizes)


def flip(path: Path, offset: int) -> None:
    """One bit of the byte at ``offset`` changes."""
    with path.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


def zero(path: Path, offset: int, length: int) -> None:
    """``length`` bytes at ``offset`` were never written."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(bytes(length))


def traces(root: Path) -> dict[str, tuple[object, ...]]:
    """Everything under ``root``: name → kind, mode, size, time of the last change, content."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted([root, *root.rglob("*")]):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else os.listdir(path)
        found[str(path)] = (status.st_mode, status.st_size, status.st_mtime_ns, content)
    return found
