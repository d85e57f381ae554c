"""Content and names as a disk keeps them: what is *written*, and what is *durable*.

Content is kept in sectors of 512 bytes, which are written or not, never half. A name that was
made, renamed or removed is one change, which a power cut keeps or loses.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

SECTOR_BYTES = 512


@dataclass(eq=False)
class Inode:
    """One file: what a read gives, what a power cut leaves, and which sectors differ. ``syncs``:
    how often what was written was made durable."""

    written: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    dirty: set[int] = field(default_factory=set)
    syncs: int = 0
    failed: bool = False
    mode: int = 0o600

    def write(self, data: bytes, offset: int) -> None:
        if len(self.written) < offset:
            self.written.extend(bytes(offset - len(self.written)))
        self.written[offset : offset + len(data)] = data
        self.dirty.update(range(offset // SECTOR_BYTES, -(-(offset + len(data)) // SECTOR_BYTES)))

    def sync(self) -> None:
        """Every dirty sector, and the size, is durable from here on."""
        self.syncs += 1
        missing = len(self.written) - len(self.durable)
        if missing:
            self.durable.extend(bytes(missing))
        for first, end in _runs(self.dirty):
            part = slice(first * SECTOR_BYTES, end * SECTOR_BYTES)
            self.durable[part] = self.written[part]
        self.dirty.clear()

    @property
    def can_lose(self) -> bool:
        """Whether a power cut may change it."""
        return bool(self.dirty) or self.failed

    def after_cut(self, chance: random.Random, keep: float) -> Inode:
        """This file after a power cut that keeps each dirty sector with probability ``keep``."""
        left = Inode(bytearray(self.written), bytearray(self.durable), mode=self.mode)
        left.dirty = {sector for sector in sorted(self.dirty) if chance.random() < keep}
        if left.dirty:
            left.sync()
        left.written[:] = left.durable
        return left


def _runs(sectors: set[int]) -> Iterator[tuple[int, int]]:
    """``sectors`` as runs of (first, end): what is written is mostly one."""
    if not sectors:
        return
    first, end = min(sectors), max(sectors) + 1
    if end - first == len(sectors):
        yield first, end
    else:
        yield from ((one, one + 1) for one in sectors)


Entry = Inode | None
"""A file, or None for a directory."""


class Names(dict[str, Entry]):
    """Every name on a volume, and beside it what each directory holds."""

    def __init__(self, names: Mapping[str, Entry]) -> None:
        super().__init__()
        self._inside: dict[str, set[str]] = {}
        for path, entry in names.items():
            self[path] = entry

    def copy(self) -> Names:
        """The same names of the same files, in the same order."""
        copied = Names({})
        copied.update(self)
        copied._inside = {directory: set(names) for directory, names in self._inside.items()}
        return copied

    def __setitem__(self, path: str, entry: Entry) -> None:
        super().__setitem__(path, entry)
        directory, _, name = path.rpartition("/")
        self._inside.setdefault(directory, set()).add(name)

    def __delitem__(self, path: str) -> None:
        super().__delitem__(path)
        directory, _, name = path.rpartition("/")
        self._inside[directory].discard(name)

    def pop(self, path: str, *default: Entry) -> Entry:  # type: ignore[override]  # one form
        entry = super().pop(path, *default)
        directory, _, name = path.rpartition("/")
        self._inside.get(directory, set()).discard(name)
        return entry

    def drop_unreachable(self) -> None:
        """Forget what lies in directories that are not there."""
        good = {"/"}

        def is_good(directory: str) -> bool:
            there = self.get(directory, directory) is None and directory not in good
            if there and is_good(parent(directory)):
                good.add(directory)
            return directory in good

        for path in [path for path in self if path != "/" and not is_good(parent(path))]:
            del self[path]

    def inside(self, directory: str) -> list[str]:
        """Names in ``directory``, sorted."""
        return sorted(name for name in self._inside.get(directory.rstrip("/"), ()) if name)


@dataclass(frozen=True)
class Change:
    """One change of names: ``make`` and ``remove`` of ``path``, or ``move`` to ``target``."""

    kind: str
    path: str
    target: str = ""
    entry: Entry = None

    def apply(self, entries: Names) -> None:
        if self.kind == "make":
            entries[self.path] = self.entry
        elif self.path not in entries:
            return
        elif self.kind == "remove":
            del entries[self.path]
        else:
            entries[self.target] = entries.pop(self.path)


def parent(path: str) -> str:
    return path.rpartition("/")[0] or "/"
