"""The file system of a simulated disk, as the daemon's code sees it.

Implements ``gateway.ports.FileSystem``: every call is one operation of the disk, which may fail
or lose its power first. Writes and reads may be short. EINTR is not among what a call raises,
because Python itself repeats a system call that a signal interrupted (PEP 475); what a signal can
still do is to make a count short.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from gateway.ports import File, Lock
from tests.sim.sectors import Change, Entry, Inode, parent

if TYPE_CHECKING:
    from tests.sim.disk import SimDisk

_TEXTS: Final = {errno.EIO: "input/output error", errno.ENOSPC: "no space left on device"}
_WHOLE: Final = 0.7
_SINGLE: Final = 0.05


class SimFile:
    """An open file of a ``SimDisk``."""

    def __init__(self, disk: SimDisk, inode: Inode, path: str) -> None:
        self._disk = disk
        self._inode = inode
        self._path = path
        disk.open_files += 1

    def pwrite(self, data: bytes | memoryview, offset: int) -> int:
        disk, faults = self._disk, self._disk.faults
        disk.step("write", self._path)
        disk.writes += 1
        if disk.writes == faults.write_error_at:
            disk.write_errors += 1
            if faults.write_errno is None:
                return 0
            raise OSError(faults.write_errno, _TEXTS[faults.write_errno])
        count = self._count(len(data))
        growth = max(0, offset + count - len(self._inode.written))
        if faults.capacity_bytes is not None and growth:
            room = faults.capacity_bytes - disk.taken_bytes
            if room <= 0:
                raise OSError(errno.ENOSPC, _TEXTS[errno.ENOSPC])
            count -= max(0, growth - room)
        self._inode.write(bytes(data[:count]), offset)
        return count

    def pread(self, length: int, offset: int) -> bytes:
        disk = self._disk
        disk.check_power()
        disk.reads += 1
        if disk.faults.fails_read(disk.reads, self._path):
            disk.read_errors += 1
            raise OSError(errno.EIO, _TEXTS[errno.EIO])
        left = max(0, min(length, len(self._inode.written) - offset))
        with memoryview(self._inode.written) as written:
            return bytes(written[offset : offset + self._count(left)])

    def _count(self, whole: int) -> int:
        """How much of a write or read is done: mostly all, sometimes a part, or a single byte."""
        if not self._disk.faults.short_counts or whole < 2:
            return whole
        chance = self._disk.chance
        drawn = chance.random()
        if drawn < _WHOLE:
            return whole
        return 1 if drawn > 1 - _SINGLE else chance.randrange(1, whole)

    def size(self) -> int:
        self._disk.check_power()
        return len(self._inode.written)

    def mode(self) -> int:
        self._disk.check_power()
        return self._inode.mode

    def fdatasync(self) -> None:
        disk = self._disk
        disk.step("sync" if self._inode.dirty else "other", self._path, disk.faults.flush_seconds)
        disk.syncs += 1
        disk.syncs_after_error += self._inode.failed
        if disk.syncs == disk.faults.sync_error_at:
            # What Linux does: the pages count as clean, so a second sync would succeed.
            self._inode.failed = True
            self._inode.dirty.clear()
            disk.write_errors += 1
            raise OSError(errno.EIO, _TEXTS[errno.EIO])
        if not disk.faults.syncs_lie:
            self._inode.sync()

    def close(self) -> None:
        self._disk.open_files -= 1


class SimFiles:
    """The file system of a ``SimDisk``; implements ``gateway.ports.FileSystem``."""

    def __init__(self, disk: SimDisk) -> None:
        self._disk = disk

    def _entry(self, path: str) -> Entry:
        self._disk.check_power()
        if path not in self._disk.entries:
            raise FileNotFoundError(errno.ENOENT, "no such file or directory", path)
        return self._disk.entries[path]

    def _absent(self, path: str) -> None:
        if self._entry(parent(path)) is not None:
            raise NotADirectoryError(errno.ENOTDIR, "not a directory", path)
        if path in self._disk.entries:
            raise FileExistsError(errno.EEXIST, "file exists", path)

    def make_directory(self, path: str, mode: int) -> None:
        self._disk.check_power()
        if path in self._disk.entries:
            return
        self.make_directory(parent(path), mode)
        self._disk.change(Change("make", path))
        self._disk.modes[path] = mode

    def directory_mode(self, path: str) -> int:
        if self._entry(path) is not None:
            raise NotADirectoryError(errno.ENOTDIR, "not a directory", path)
        return self._disk.modes[path]

    def list_directory(self, path: str) -> list[str]:
        if self._entry(path) is not None:
            raise NotADirectoryError(errno.ENOTDIR, "not a directory", path)
        return self._disk.entries.inside(path)

    def sync_directory(self, path: str) -> None:
        self._entry(path)
        self._disk.sync_names(path)

    def remove_directory(self, path: str) -> None:
        if self.list_directory(path):
            raise OSError(errno.ENOTEMPTY, "directory not empty", path)
        self._disk.change(Change("remove", path))

    def create(self, path: str, mode: int) -> File:
        self._absent(path)
        inode = Inode(mode=mode)
        self._disk.change(Change("make", path, entry=inode))
        return SimFile(self._disk, inode, path)

    def open(self, path: str, *, writable: bool) -> File:
        entry = self._entry(path)
        if entry is None:
            raise IsADirectoryError(errno.EISDIR, "is a directory", path)
        return SimFile(self._disk, entry, path)

    def read_mounted(self, directory: str, name: str, bytes_max: int) -> bytes:
        file = self.open(f"{directory}/{name}", writable=False)
        data = b""
        while part := file.pread(bytes_max + 1 - len(data), len(data)):
            data += part
        file.close()
        return data

    def rename(self, source: str, target: str) -> None:
        self._entry(source)
        self._disk.change(Change("move", source, target))

    def unlink(self, path: str) -> None:
        self._entry(path)
        self._disk.change(Change("remove", path))

    def free_bytes(self, path: str) -> int:
        capacity = self._disk.faults.capacity_bytes
        return 2**40 if capacity is None else max(0, capacity - self._disk.taken_bytes)

    def lock(self, path: str) -> Lock | None:
        if path in self._disk.locks:
            return None
        if path not in self._disk.entries:
            self.create(path, 0o600).close()
        self._disk.locks.add(path)
        return SimLock(self._disk, path)


class SimLock:
    """A held lock; a crash frees it, because the next ``SimDisk`` knows none."""

    def __init__(self, disk: SimDisk, path: str) -> None:
        self._disk = disk
        self._path = path

    def release(self) -> None:
        self._disk.locks.discard(self._path)
