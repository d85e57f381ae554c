"""The real disk: file operations in one worker thread.

One thread, because a second sync beside the first gains nothing on one volume, and because
"one at a time, in order" is what makes the order of records the order on disk.

Owns: system calls and their flags; every file is opened without following links (``mounted.py``
follows some) and closed on exec. Refuses: retrying, completing short writes and deciding what an
error means (callers do).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

from anyio import CapacityLimiter, to_thread

from gateway.io import file_lock, mounted
from gateway.ports import File, FileSystem, Lock, ResultT

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_WRITE = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC


class ThreadDisk:
    """Implements ``gateway.ports.Disk`` on the volumes of this machine."""

    def __init__(self) -> None:
        self._files = OsFileSystem()
        self._limiter = CapacityLimiter(1)

    async def run(self, work: Callable[[FileSystem], ResultT]) -> ResultT:
        """Run ``work`` in the disk thread. Once begun, a cancelled caller waits for its end."""
        return await to_thread.run_sync(
            work, self._files, limiter=self._limiter, abandon_on_cancel=False
        )


class OsFile:
    """A regular file by its descriptor. EINTR is retried by Python itself (PEP 475)."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __repr__(self) -> str:
        return f"OsFile({self._descriptor})"

    def pwrite(self, data: bytes | memoryview, offset: int) -> int:
        return os.pwrite(self._descriptor, data, offset)

    def pread(self, length: int, offset: int) -> bytes:
        return os.pread(self._descriptor, length, offset)

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def mode(self) -> int:
        return stat.S_IMODE(os.fstat(self._descriptor).st_mode)

    def fdatasync(self) -> None:
        _sync_data(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)


def _sync_data(descriptor: int) -> None:
    # macOS, where the verifier runs, has no fdatasync.
    getattr(os, "fdatasync", os.fsync)(descriptor)


class OsFileSystem:
    """Implements ``gateway.ports.FileSystem`` with system calls; also usable on its own by a
    command that may block."""

    def make_directory(self, path: str, mode: int) -> None:
        os.makedirs(path, mode, exist_ok=True)

    def directory_mode(self, path: str) -> int:
        status = os.stat(path, follow_symlinks=False)
        if not stat.S_ISDIR(status.st_mode):
            raise NotADirectoryError(f"{path} is not a directory")
        return stat.S_IMODE(status.st_mode)

    def list_directory(self, path: str) -> list[str]:
        return sorted(os.listdir(path))

    def sync_directory(self, path: str) -> None:
        descriptor = os.open(path, _READ | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def remove_directory(self, path: str) -> None:
        os.rmdir(path)

    def create(self, path: str, mode: int) -> File:
        return OsFile(os.open(path, _WRITE | os.O_CREAT | os.O_EXCL, mode))

    def open(self, path: str, *, writable: bool) -> File:
        # O_NONBLOCK: a FIFO under this name would block the one disk thread for ever.
        descriptor = os.open(path, (_WRITE if writable else _READ) | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(f"{path} is not a regular file")
        return OsFile(descriptor)

    def read_mounted(self, directory: str, name: str, bytes_max: int) -> bytes:
        return mounted.read(directory, name, bytes_max)

    def rename(self, source: str, target: str) -> None:
        os.rename(source, target)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def free_bytes(self, path: str) -> int:
        volume = os.statvfs(path)
        return volume.f_bavail * volume.f_frsize

    def lock(self, path: str) -> Lock | None:
        return file_lock.take(path)
