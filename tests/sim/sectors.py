"""Content and names as a disk keeps them: what is *written*, and what is *durable*.

Content is kept in sectors of 512 bytes, which are written or not, never half. A name that was
made, renamed or removed is one change, which a power cut keeps or loses.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

SECTOR_BYTES = 512


@dataclass
class Inode:
    """One file: what a read gives, what a power cut leaves, and which sectors differ."""

    written: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    dirty: set[int] = field(default_factory=set)
    failed: bool = False
    mode: int = 0o600

    def write(self, data: bytes, offset: int) -> None:
        if len(self.written) < offset:
            self.written.extend(bytes(offset - len(self.written)))
        self.written[offset : offset + len(data)] = data
        self.dirty.update(range(offset // SECTOR_BYTES, -(-(offset + len(data)) // SECTOR_BYTES)))

    def sync(self) -> None:
        """Every dirty sector, and the size, is durable from here on."""
        missing = len(self.written) - len(self.durable)
        if missing:
            self.durable.extend(bytes(missing))
        for sector in self.dirty:
            part = slice(sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES)
            self.durable[part] = self.written[part]
        self.dirty.clear()

    def after_cut(self, chance: random.Random, keep: float) -> Inode:
        """This file after a power cut that keeps each dirty sector with probability ``keep``."""
        if not self.dirty and not self.failed:
            return self  # nothing can be lost, and nobody writes through the dead disk any more
        left = Inode(bytearray(self.written), bytearray(self.durable), mode=self.mode)
        left.dirty = {sector for sector in sorted(self.dirty) if chance.random() < keep}
        if left.dirty:
            left.sync()
        left.written[:] = left.durable
        return left


Entry = Inode | None
"""A file, or None for a directory."""


class Names(dict[str, Entry]):
    """Every name on a volume, and beside it what each directory holds."""

    def __init__(self, names: Mapping[str, Entry]) -> None:
        super().__init__()
        self._inside: dict[str, set[str]] = {}
        for path, entry in names.items():
            self[path] = entry

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
