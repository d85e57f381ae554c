"""One segment file while it is made and written.

Owns: the order of writes that makes a segment safe: zero-filled and synced, then named, then
frames, each batch with one write and one sync. Refuses: deciding when to switch (``spool.py``),
retrying (a failed sync is never tried again: the kernel may have dropped the pages and would
report success), and reading. Everything here runs inside ``Disk.run``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway import limits
from gateway.ports import File, FileSystem
from spool import frame
from spool.frame import SegmentHeader, Writable

FILE_MODE = 0o600


def segment_name(base_seq: int) -> str:
    """The name of the segment that begins with ``base_seq``; names sort by seq."""
    return f"seg-{base_seq:020d}.log"


def segment_base(name: str) -> int | None:
    """The base seq in the name of a segment, or None for another name.

    Twenty digits have room for numbers that no seq has, nor 64 bits: nobody here wrote those.
    """
    digits = name[4:-4]
    if name == f"seg-{digits}.log" and len(digits) == 20 and digits.isascii() and digits.isdigit():
        base_seq = int(digits)
        return base_seq if base_seq <= limits.JSON_INTEGER_MAX else None
    return None


def write_all(file: File, data: bytes, offset: int) -> None:
    """Write all of ``data``: a write may be short, and says so only by its count."""
    done = file.pwrite(data, offset)
    while done < len(data):
        count = file.pwrite(memoryview(data)[done:], offset + done)
        if count <= 0:
            raise OSError(f"a write at offset {offset + done} wrote nothing")
        done += count


def write_file(files: FileSystem, path: str, data: bytes) -> None:
    """``data`` as the whole, durable content of ``path``; the directory is not yet synced.

    A crash leaves either the old file or the new one, never a part.
    """
    part = path + ".tmp"
    remove_if_there(files, part)
    file = files.create(part, FILE_MODE)
    try:
        write_all(file, data, 0)
        file.fdatasync()
    finally:
        file.close()
    files.rename(part, path)


def remove_if_there(files: FileSystem, path: str) -> None:
    """Unlink ``path`` unless it is not there."""
    try:
        files.unlink(path)
    except FileNotFoundError:
        return


def read_all(files: FileSystem, path: str, bytes_max: int) -> bytes:
    """The first ``bytes_max`` bytes of ``path``."""
    file = files.open(path, writable=False)
    try:
        wanted = min(file.size(), bytes_max)
        return pread_all(file, wanted, 0)
    finally:
        file.close()


def file_size(files: FileSystem, path: str) -> int:
    """Bytes of the file at ``path``. Raises OSError."""
    file = files.open(path, writable=False)
    try:
        return file.size()
    finally:
        file.close()


def pread_all(file: File, length: int, offset: int) -> bytes:
    """Up to ``length`` bytes at ``offset``; fewer only at the end of the file."""
    data = file.pread(length, offset)
    while len(data) < length:
        more = file.pread(length - len(data), offset + len(data))
        if not more:
            break
        data += more
    return data


class Segment:
    """The segment that is being written.

    ``at``: offset of the next frame. Every byte before it is durable, because ``append`` returns
    only after its sync.
    """

    def __init__(self, file: File, base_seq: int, salt: int, segment_bytes: int) -> None:
        self._file = file
        self._salt = salt
        self._limit = segment_bytes - frame.END_FRAME_BYTES
        self.base_seq = base_seq
        self.at = frame.PAGE_BYTES

    def __repr__(self) -> str:
        return f"Segment(base_seq={self.base_seq}, at={self.at})"

    @property
    def left_bytes(self) -> int:
        """Bytes for frames, the end frame not counted."""
        return self._limit - self.at

    def append(self, records: Sequence[Writable], timer: Callable[[], float]) -> float:
        """Write ``records`` as one batch and sync; returns how long the sync took, by ``timer``.

        They must fit in ``left_bytes``.
        """
        data = frame.encode_batch(records, self._salt)
        assert len(data) <= self.left_bytes
        write_all(self._file, data, self.at)
        started = timer()
        self._file.fdatasync()
        took = timer() - started
        self.at += len(data)
        return took

    def finish(self, next_seq: int) -> None:
        """Write the end frame, sync and close. Proves that every batch before it was synced.

        Closed also where it fails: nothing is written after that.
        """
        try:
            write_all(self._file, frame.encode_segment_end(next_seq, self._salt), self.at)
            self._file.fdatasync()
        finally:
            self._file.close()

    def abandon(self) -> None:
        """Close without another sync: after a failure, or where nothing was written."""
        self._file.close()


class Prepared:
    """A zero-filled file that has no name as a segment yet. ``filled``: bytes done."""

    def __init__(self, file: File, path: str, segment_bytes: int) -> None:
        self._file = file
        self._segment_bytes = segment_bytes
        self.path = path
        self.filled = 0

    @classmethod
    def create(cls, files: FileSystem, path: str, segment_bytes: int) -> Prepared:
        """An empty file at ``path``, to be filled."""
        return cls(files.create(path, FILE_MODE), path, segment_bytes)

    def fill(self, step_bytes: int) -> bool:
        """Write and sync the next ``step_bytes`` of zeros; True when the file is whole."""
        step = min(step_bytes, self._segment_bytes - self.filled)
        write_all(self._file, bytes(step), self.filled)
        self._file.fdatasync()
        self.filled += step
        return self.filled == self._segment_bytes

    def discard(self, files: FileSystem) -> None:
        """Close and remove the file, so that a part of it does not take up room."""
        self._file.close()
        remove_if_there(files, self.path)

    def begin(
        self, files: FileSystem, directory: str, instance: bytes, base_seq: int, salt: int
    ) -> Segment:
        """Make this the segment that begins with ``base_seq``: header, name, directory."""
        header = SegmentHeader(instance, base_seq, salt, self._segment_bytes)
        write_all(self._file, frame.encode_header(header), 0)
        self._file.fdatasync()
        files.rename(self.path, f"{directory}/{segment_name(base_seq)}")
        files.sync_directory(directory)
        return Segment(self._file, base_seq, salt, self._segment_bytes)
