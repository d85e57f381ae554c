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
from dataclasses import dataclass
from typing import Final, Literal

import anyio

from gateway.ports import FileSystem, ResultT
from tests.sim.files import SimFiles
from tests.sim.loop import now
from tests.sim.sectors import Change, Inode, Names, parent

Moment = Literal["write", "sync", "names", "read", "other"]
"""What an operation is to a power cut: ``sync`` makes written bytes durable, ``names`` changes
names or makes such a change durable, ``other`` is a sync of what is durable already."""

_NO_MOMENTS: Final[frozenset[Moment]] = frozenset()


class PowerCut(BaseException):
    """The machine is gone. A BaseException, so that no handler of the code goes on after it."""


@dataclass
class Faults:
    """What goes wrong, and when. Counts start at 1; None means never.

    ``cut_before``: the power fails before the next operation that is one of these moments, on a
    path that begins with ``cut_under``, has any effect; ``cut_skips`` of them pass.
    ``read_error_at``: that read, or the first one behind it of a path under ``read_error_under``.
    ``write_errno``: what the write says; None for one that writes nothing and says so by its
    count. ``syncs_lie`` and ``directory_syncs_lie`` are mutants of the disk: they prove that a test
    would notice a missing sync.
    """

    cut_at_operation: int | None = None
    cut_before: frozenset[Moment] = _NO_MOMENTS
    cut_under: str = "/"
    cut_skips: int = 0
    sync_error_at: int | None = None
    write_error_at: int | None = None
    write_errno: int | None = errno.EIO
    read_error_at: int | None = None
    read_error_under: str = "/"
    short_counts: bool = False
    capacity_bytes: int | None = None
    operation_seconds: float = 0.0001
    flush_seconds: float = 0.0002
    queue_seconds: float = 0.0
    syncs_lie: bool = False
    directory_syncs_lie: bool = False

    def fails_read(self, number: int, path: str) -> bool:
        """Whether the ``number``-th read is the one that fails."""
        at = self.read_error_at
        if at is None or number < at or not path.startswith(self.read_error_under):
            return False
        self.read_error_at = None
        return True


class SimDisk:
    """One volume. ``operations`` counts the system calls that change or sync something.

    ``on_cut`` is called at the moment of a power failure, ``on_work`` after each piece of work.
    ``cut_at``: before which operation the power failed; None for between pieces of work.
    ``write_errors`` and ``read_errors``: what writers (and syncs) and readers were told of;
    ``rotten``: files that no longer hold what was written.
    """

    def __init__(self, seed: int = 0, faults: Faults | None = None) -> None:
        self.faults = faults or Faults()
        self.operations = 0
        self.syncs = 0
        self.writes = 0
        self.reads = 0
        self.name_changes = 0
        self.name_syncs = 0
        self.write_errors = 0
        self.read_errors = 0
        self.syncs_after_error = 0
        self.open_files = 0
        self.dead = False
        self.cut_at: Moment | None = None
        self.on_cut: Callable[[], None] | None = None
        self.on_work: Callable[[], None] | None = None
        self.entries = Names({"/": None})
        self.modes: dict[str, int] = {"/": 0o755}
        self.locks: set[str] = set()
        self.rotten: set[str] = set()
        self.chance = random.Random(seed)
        self._durable = Names({"/": None})
        self._changes: list[Change] = []
        self._untold: list[Change] = []
        self._turn: anyio.Lock | None = None
        self._owed_seconds = 0.0

    async def run(self, work: Callable[[FileSystem], ResultT]) -> ResultT:
        """Run ``work`` inline, then sleep as long as a real disk would have taken."""
        self._turn = self._turn or anyio.Lock(fast_acquire=True)
        async with self._turn:
            with anyio.CancelScope(shield=True):
                queue_seconds = self.faults.queue_seconds
                if queue_seconds:
                    await anyio.sleep(self.chance.random() * queue_seconds)
                try:
                    result = work(SimFiles(self))
                    if self.on_work is not None:
                        self.on_work()
                finally:
                    seconds, self._owed_seconds = self._owed_seconds, 0.0
                    if not self.dead and (seconds or not queue_seconds):
                        await anyio.sleep(seconds)
        return result

    def timer(self) -> float:
        """The loop's time and, inside a piece of work, what the work so far would have taken."""
        return now() + self._owed_seconds

    def step(self, moment: Moment, path: str, seconds: float | None = None) -> None:
        """One more operation; the power may fail before it has any effect."""
        self.check_power()
        faults = self.faults
        self.operations += 1
        self._owed_seconds += faults.operation_seconds if seconds is None else seconds
        if moment in faults.cut_before and path.startswith(faults.cut_under):
            faults.cut_skips -= 1
            if faults.cut_skips < 0:
                self.fail_power(moment)
        if self.operations == faults.cut_at_operation:
            self.fail_power(moment)

    def fail_power(self, moment: Moment | None = None) -> None:
        """The machine is gone, now. Raises PowerCut."""
        self.dead = True
        self.cut_at = moment
        if self.on_cut is not None:
            self.on_cut()
        raise PowerCut

    def check_power(self) -> None:
        """Nothing works on a machine without power."""
        if self.dead:
            raise PowerCut

    def change(self, change: Change) -> None:
        """Change names; volatile until the directory is synced."""
        self.step("names", change.path)
        change.apply(self.entries)
        self._changes.append(change)
        self._untold.append(change)
        self.name_changes += 1

    def take_changes(self) -> list[Change]:
        """The changes of names since the last time, in their order."""
        taken, self._untold = self._untold, []
        return taken

    def sync_names(self, directory: str) -> None:
        """Every change of a name in ``directory`` is durable from here on."""
        mine = [change for change in self._changes if parent(change.path) == directory]
        self.step("names" if mine else "other", directory, self.faults.flush_seconds)
        if self.faults.directory_syncs_lie:
            return
        self.name_syncs += 1
        for change in mine:
            change.apply(self._durable)
        self._changes = [change for change in self._changes if parent(change.path) != directory]

    # -- what is left ---------------------------------------------------------------------

    def cut(self, keep: float) -> SimDisk:
        """The volume after a power cut; ``keep`` 0.0 loses all that was not durable, 1.0 none."""
        left = SimDisk(self.chance.randrange(2**32))
        names = self._durable.copy()
        for change in self._changes:
            if self.chance.random() < keep:
                change.apply(names)
        names.drop_unreachable()
        inodes: dict[Inode, Inode] = {}
        for path, entry in names.items():
            # What can lose nothing is the same: nobody writes through the dead disk any more.
            if entry is not None and entry.can_lose:
                if entry not in inodes:
                    inodes[entry] = entry.after_cut(self.chance, keep)
                names[path] = inodes[entry]
        left.entries, left._durable = names, names.copy()
        left.modes, left.rotten = dict(self.modes), set(self.rotten)
        return left

    def killed(self) -> SimDisk:
        """The volume after the process was killed: the kernel still has all that was written."""
        left = SimDisk(self.chance.randrange(2**32))
        left.entries, left._durable = self.entries, self._durable
        left._changes, left.modes, left.rotten = self._changes, self.modes, self.rotten
        return left

    def durable_files(self) -> list[tuple[str, Inode]]:
        """What a power cut leaves at the least, by name."""
        return [(path, entry) for path, entry in self._durable.items() if entry is not None]

    def flip_bit(self, path: str, bit: int) -> None:
        """Rot: one bit of ``path`` changes for good."""
        inode = self.entries[path]
        assert inode is not None
        self.rotten.add(path)
        for image in (inode.written, inode.durable):
            image[bit // 8] ^= 1 << bit % 8

    def clear_bytes(self, path: str, start: int, length: int) -> None:
        """Rot: bytes of ``path`` read as zeros for good."""
        inode = self.entries[path]
        assert inode is not None
        self.rotten.add(path)
        for image in (inode.written, inode.durable):
            image[start : start + length] = bytes(length)

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
