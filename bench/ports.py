"""Disks that watch the real one: one that counts its syncs, one that can be slow.

Owns: what is done around a sync, in the disk thread. Refuses: the disk itself; every call goes on
to ``gateway.io.disk``.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from gateway.io.disk import ThreadDisk
from gateway.ports import File, FileSystem, ResultT


class WatchedDisk(ThreadDisk):
    """The real disk. ``syncs``: of files and directories so far. ``stall_seconds``: how long
    each sync of a file takes longer than it has to."""

    def __init__(self) -> None:
        super().__init__()
        self.syncs = 0
        self.stall_seconds = 0.0

    async def run(self, work: Callable[[FileSystem], ResultT]) -> ResultT:
        return await super().run(lambda files: work(_Files(self, files)))


class _Files:
    """Gives out watched files; everything else is the real file system's."""

    def __init__(self, disk: WatchedDisk, files: FileSystem) -> None:
        self._disk = disk
        self.make_directory = files.make_directory
        self.directory_mode = files.directory_mode
        self.list_directory = files.list_directory
        self.remove_directory = files.remove_directory
        self.read_mounted = files.read_mounted
        self.rename = files.rename
        self.unlink = files.unlink
        self.free_bytes = files.free_bytes
        self.lock = files.lock
        self._files = files

    def sync_directory(self, path: str) -> None:
        self._disk.syncs += 1
        self._files.sync_directory(path)

    def create(self, path: str, mode: int) -> File:
        return _File(self._disk, self._files.create(path, mode))

    def open(self, path: str, *, writable: bool) -> File:
        return _File(self._disk, self._files.open(path, writable=writable))


class _File:
    def __init__(self, disk: WatchedDisk, file: File) -> None:
        self._disk = disk
        self._file = file
        self.pwrite = file.pwrite
        self.pread = file.pread
        self.mode = file.mode
        self.size = file.size
        self.close = file.close

    def fdatasync(self) -> None:
        self._disk.syncs += 1
        if self._disk.stall_seconds:
            time.sleep(self._disk.stall_seconds)
        self._file.fdatasync()
