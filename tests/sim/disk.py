"""A disk that keeps what was *written* and what is *durable* apart, and can lose the difference.

Implements ``gateway.ports.Disk``. Content is kept in sectors of 512 bytes, which are written or
not, never half. A name that was made, renamed or removed is volatile until its directory is
synced. A power cut keeps a seeded, adversarial part of what was not durable: nothing, everything,
or any sectors and any changes of names. Faults are asked for by number: at the n-th operation
the power fails, at the n-th sync the device errs, from a size on the volume is full.

Work runs inline, because a thread is invisible to a virtual clock; the time that it would take
is slept afterwards. With ``queue_seconds`` time passes before the work too, as it does where a
thread has to get its turn: an answer that does not wait for the disk is then given first.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import anyio

from gateway.ports import File, FileSystem, Lock, ResultT

SECTOR_BYTES = 512


class PowerCut(BaseException):
    """The machine is gone. A BaseException, so that no handler of the code goes on after it."""


@dataclass
class Faults:
    """What goes wrong, and when. Counts start at 1; None means never.

    ``cut_before``: the power fails before the next operation of this kind on a path that begins
    with ``cut_under`` has any effect; a ``sync`` is one that would make written bytes durable.
    ``syncs_lie`` and ``directory_syncs_lie`` are mutants of the disk: they prove that a test
    would notice a missing sync.
    """

    cut_at_operation: int | None = None
    cut_before: Literal["write", "sync", "names"] | None = None
    cut_under: str = "/"
    sync_error_at: int | None = None
    write_error_at: int | None = None
    short_writes: bool = False
    capacity_bytes: int | None = None
    operation_seconds: float = 0.0001
    flush_seconds: float = 0.0002
    queue_seconds: float = 0.0
    syncs_lie: bool = False
    directory_syncs_lie: bool = False


@dataclass
class Inode:
    """One file: what a read gives, what a power cut leaves, and which sectors differ."""

    written: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    dirty: set[int] = field(default_factory=set)
    failed: bool = False

    def write(self, data: bytes, offset: int) -> None:
        if len(self.written) < offset:
            self.written.extend(bytes(offset - len(self.written)))
        self.written[offset : offset + len(data)] = data
        self.dirty.update(range(offset // SECTOR_BYTES, -(-(offset + len(data)) // SECTOR_BYTES)))

    def sync(self) -> None:
        """Every dirty sector, and the size, is durable from here on."""
        self.durable.extend(bytes(len(self.written) - len(self.durable)))
        for sector in self.dirty:
            part = slice(sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES)
            self.durable[part] = self.written[part]
        self.dirty.clear()

    def after_cut(self, chance: random.Random, keep: float) -> Inode:
        """This file after a power cut that keeps each dirty sector with probability ``keep``."""
        left = Inode(bytearray(self.written), bytearray(self.durable))
        left.dirty = {sector for sector in sorted(self.dirty) if chance.random() < keep}
        if left.dirty:
            left.sync()
        left.written[:] = left.durable
        return left


Entry = Inode | None
"""A file, or None for a directory."""


@dataclass(frozen=True)
class Change:
    """One change of names: ``make`` and ``remove`` of ``path``, or ``move`` to ``target``."""

    kind: str
    path: str
    target: str = ""
    entry: Entry = None

    def apply(self, entries: dict[str, Entry]) -> None:
        if self.kind == "make":
            entries[self.path] = self.entry
        elif self.kind == "remove":
            entries.pop(self.path, None)
        elif self.path in entries:
            entries[self.target] = entries.pop(self.path)


class SimDisk:
    """One volume. ``operations`` counts the system calls that change or sync something.

    ``on_cut`` is called at the moment of a power failure, ``on_work`` after each piece of work.
    """

    def __init__(self, seed: int = 0, faults: Faults | None = None) -> None:
        self.faults = faults or Faults()
        self.operations = 0
        self.syncs = 0
        self.writes = 0
        self.syncs_after_error = 0
        self.open_files = 0
        self.dead = False
        self.on_cut: Callable[[], None] | None = None
        self.on_work: Callable[[], None] | None = None
        self.entries: dict[str, Entry] = {"/": None}
        self.modes: dict[str, int] = {"/": 0o755}
        self.locks: set[str] = set()
        self.chance = random.Random(seed)
        self._durable: dict[str, Entry] = {"/": None}
        self._changes: list[Change] = []
        self._turn: anyio.Lock | None = None
        self._owed_seconds = 0.0

    async def run(self, work: Callable[[FileSystem], ResultT]) -> ResultT:
        """Run ``work`` inline, then sleep as long as a real disk would have taken."""
        self._turn = self._turn or anyio.Lock()
        async with self._turn:
            with anyio.CancelScope(shield=True):
                if self.faults.queue_seconds:
                    await anyio.sleep(self.chance.random() * self.faults.queue_seconds)
                try:
                    result = work(SimFiles(self))
                    if self.on_work is not None:
                        self.on_work()
                finally:
                    seconds, self._owed_seconds = self._owed_seconds, 0.0
                    if not self.dead:
                        await anyio.sleep(seconds)
        return result

    def timer(self) -> float:
        """The loop's time and, inside a piece of work, what the work so far would have taken."""
        return anyio.current_time() + self._owed_seconds

    def step(self, seconds: float | None = None) -> None:
        """One more operation; the power may fail before it has any effect."""
        self.check_power()
        self.operations += 1
        self._owed_seconds += self.faults.operation_seconds if seconds is None else seconds
        if self.operations == self.faults.cut_at_operation:
            self.fail_power()

    def about_to(self, kind: str, path: str) -> None:
        """An operation of this kind comes next; the power may fail before it."""
        self.check_power()
        if self.faults.cut_before == kind and path.startswith(self.faults.cut_under):
            self.fail_power()

    def fail_power(self) -> None:
        """The machine is gone, now. Raises PowerCut."""
        self.dead = True
        if self.on_cut is not None:
            self.on_cut()
        raise PowerCut

    def check_power(self) -> None:
        """Nothing works on a machine without power."""
        if self.dead:
            raise PowerCut

    def change(self, change: Change) -> None:
        """Change names; volatile until the directory is synced."""
        self.about_to("names", change.path)
        self.step()
        change.apply(self.entries)
        self._changes.append(change)

    def sync_names(self, directory: str) -> None:
        """Every change of a name in ``directory`` is durable from here on."""
        self.about_to("names", directory)
        self.step(self.faults.flush_seconds)
        if self.faults.directory_syncs_lie:
            return
        mine = [change for change in self._changes if parent(change.path) == directory]
        for change in mine:
            change.apply(self._durable)
        self._changes = [change for change in self._changes if parent(change.path) != directory]

    # -- what is left ---------------------------------------------------------------------

    def cut(self, keep: float) -> SimDisk:
        """The volume after a power cut; ``keep`` 0.0 loses all that was not durable, 1.0 none."""
        left = SimDisk(self.chance.randrange(2**32))
        entries = dict(self._durable)
        for change in self._changes:
            if self.chance.random() < keep:
                change.apply(entries)
        reachable = {path: entry for path, entry in entries.items() if _reachable(path, entries)}
        inodes: dict[int, Inode] = {}
        for path, entry in reachable.items():
            if entry is not None:
                inodes.setdefault(id(entry), entry.after_cut(self.chance, keep))
            left.entries[path] = None if entry is None else inodes[id(entry)]
        left._durable = dict(left.entries)
        left.modes = dict(self.modes)
        return left

    def killed(self) -> SimDisk:
        """The volume after the process was killed: the kernel still has all that was written."""
        left = SimDisk(self.chance.randrange(2**32))
        left.entries, left._durable = self.entries, self._durable
        left._changes, left.modes = self._changes, self.modes
        return left

    def durable_files(self) -> dict[str, bytes | bytearray]:
        """What a power cut leaves at the least, by name."""
        found = self._durable.items()
        return {path: entry.durable for path, entry in found if entry is not None}

    def flip_bit(self, path: str, bit: int) -> None:
        """Rot: one bit of ``path`` changes for good."""
        inode = self.entries[path]
        assert inode is not None
        for image in (inode.written, inode.durable):
            image[bit // 8] ^= 1 << bit % 8

    def content(self, path: str) -> bytes:
        """What a read of ``path`` gives."""
        inode = self.entries[path]
        assert inode is not None
        return bytes(inode.written)

    def put(self, path: str, data: bytes) -> None:
        """A file that is simply there, with its directories."""
        parts = path.split("/")[1:-1]
        for count in range(1, len(parts) + 1):
            directory = "/" + "/".join(parts[:count])
            for names in (self.entries, self._durable):
                names[directory] = None
            self.modes.setdefault(directory, 0o700)
        inode = Inode(bytearray(data), bytearray(data))
        self.entries[path] = self._durable[path] = inode

    def paths(self) -> list[str]:
        """Every file, by name."""
        return sorted(path for path, entry in self.entries.items() if entry is not None)

    @property
    def taken_bytes(self) -> int:
        return sum(len(entry.written) for entry in self.entries.values() if entry is not None)


def parent(path: str) -> str:
    return path.rpartition("/")[0] or "/"


def _reachable(path: str, entries: dict[str, Entry]) -> bool:
    while path != "/":
        path = parent(path)
        if entries.get(path, path) is not None:
            return False
    return True


class SimFile:
    """An open file of a ``SimDisk``."""

    def __init__(self, disk: SimDisk, inode: Inode, path: str) -> None:
        self._disk = disk
        self._inode = inode
        self._path = path
        disk.open_files += 1

    def pwrite(self, data: bytes | memoryview, offset: int) -> int:
        disk, faults = self._disk, self._disk.faults
        disk.about_to("write", self._path)
        disk.step()
        disk.writes += 1
        if disk.writes == faults.write_error_at:
            raise OSError(errno.EIO, "input/output error")
        count = len(data)
        if faults.short_writes and count > 1:
            count = disk.chance.randrange(1, count + 1)
        growth = max(0, offset + count - len(self._inode.written))
        if faults.capacity_bytes is not None and growth:
            room = faults.capacity_bytes - disk.taken_bytes
            if room <= 0:
                raise OSError(errno.ENOSPC, "no space left on device")
            count -= max(0, growth - room)
        self._inode.write(bytes(data[:count]), offset)
        return count

    def pread(self, length: int, offset: int) -> bytes:
        self._disk.check_power()
        return bytes(self._inode.written[offset : offset + length])

    def size(self) -> int:
        self._disk.check_power()
        return len(self._inode.written)

    def fdatasync(self) -> None:
        disk = self._disk
        if self._inode.dirty:
            disk.about_to("sync", self._path)
        disk.step(disk.faults.flush_seconds)
        disk.syncs += 1
        disk.syncs_after_error += self._inode.failed
        if disk.syncs == disk.faults.sync_error_at:
            # What Linux does: the pages count as clean, so a second sync would succeed.
            self._inode.failed = True
            self._inode.dirty.clear()
            raise OSError(errno.EIO, "input/output error")
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
        inside = (name for name in self._disk.entries if name != "/" and parent(name) == path)
        return sorted(name.rpartition("/")[2] for name in inside)

    def sync_directory(self, path: str) -> None:
        self._entry(path)
        self._disk.sync_names(path)

    def remove_directory(self, path: str) -> None:
        if self.list_directory(path):
            raise OSError(errno.ENOTEMPTY, "directory not empty", path)
        self._disk.change(Change("remove", path))

    def create(self, path: str, mode: int) -> File:
        self._absent(path)
        inode = Inode()
        self._disk.change(Change("make", path, entry=inode))
        return SimFile(self._disk, inode, path)

    def open(self, path: str, *, writable: bool) -> File:
        entry = self._entry(path)
        if entry is None:
            raise IsADirectoryError(errno.EISDIR, "is a directory", path)
        return SimFile(self._disk, entry, path)

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
