"""The newest checkpoint that this volume has checked, kept beside the spools.

A store that shows less than that, or something else, is caught, also by the next process on the
volume. What it showed is kept with what was seen: two notes under one signature that cannot both
be true prove it to anybody, and to whom they are shown needs no trust in us.

Owns: that file, the files of contradictions, and their order of durability. Refuses: checking
signatures and proofs (``prove.py``), and going back: an older checkpoint never replaces a newer one
of the same log.
"""

from __future__ import annotations

import errno
from contextlib import suppress
from functools import partial
from typing import Final

import msgspec

from gateway import checkpoint, note, seal
from gateway.checkpoint import Checkpoint, Opened
from gateway.documents import LogSeen
from gateway.errors import UNREADABLE, ConfigInvalid, DocumentInvalid
from gateway.ports import Disk, FileSystem
from spool.segment import read_all, remove_if_there, write_file

SEEN_NAME: Final = "log-seen.json"
CONTRADICTIONS_MAX: Final = 16
"""Two notes are proof enough; a store that goes on lying must not fill the volume."""
_FILE_BYTES_MAX: Final = 64 * 1024
_PREFIX: Final = "contradiction-"
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class _Seen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    note: str


class Contradiction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Two notes of one log. ``consistency``: what the store said leads from one to the other."""

    seen: str
    shown: str
    consistency: list[str]
    why: str


class SeenLog:
    """``current``: what was seen, or None before the first checkpoint. ``load`` it first."""

    def __init__(self, disk: Disk, root: str) -> None:
        self.current: Checkpoint | None = None
        self.contradictions = 0
        self._disk = disk
        self._root = root
        self._note: str | None = None
        self._kept: str | None = None

    def __repr__(self) -> str:
        return f"SeenLog(current={self.current!r})"

    def stated(self) -> LogSeen | None:
        """The form that is signed into requests, chain-heads and heartbeats."""
        return None if self.current is None else self.current.seen()

    async def load(self) -> None:
        """Read what an earlier process kept. Bytes that are no checkpoint count as none.

        Raises ConfigInvalid if they cannot be read: starting without them would believe a store
        that shows less than it has shown before.
        """
        try:
            found, self.contradictions = await self._disk.run(partial(_load, root=self._root))
        except OSError as error:
            raise ConfigInvalid(
                f"what this volume has seen of the store's log cannot be read: {error}; mend the"
                f" volume, or move {self._root}/{SEEN_NAME} away to begin with what the store"
                " shows next"
            ) from error
        if found is not None:
            self.current, self._note = found
            self._kept = self._note

    def saw(self, opened: Opened) -> None:
        """``opened`` was checked, and continues what was seen; ``keep`` makes it durable."""
        self.current, self._note = opened.checkpoint, opened.note.encode()

    async def keep(self) -> None:
        """Make what was seen durable, unless it is. Raises OSError.

        A full volume is no error: what is about to be deleted is what makes room, and the next
        call tries again.
        """
        text = self._note
        if text is None or text == self._kept:
            return
        try:
            await self._disk.run(partial(_keep, root=self._root, text=text))
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            return
        self._kept = text

    async def contradict(self, shown: str, consistency: list[str], why: str) -> None:
        """Keep ``shown`` beside what was seen: they cannot both be true. Raises OSError."""
        if self._note is None or self.contradictions >= CONTRADICTIONS_MAX:
            return
        found = Contradiction(self._note, shown, consistency, why)
        self.contradictions = await self._disk.run(
            partial(_keep_contradiction, root=self._root, found=found)
        )


def _load(files: FileSystem, *, root: str) -> tuple[tuple[Checkpoint, str] | None, int]:
    try:
        names = files.list_directory(root)
    except FileNotFoundError:
        return None, 0
    count = sum(name.startswith(_PREFIX) for name in names)
    return (_read(files, root) if SEEN_NAME in names else None), count


def _read(files: FileSystem, root: str) -> tuple[Checkpoint, str] | None:
    data = read_all(files, f"{root}/{SEEN_NAME}", _FILE_BYTES_MAX)
    try:
        text = msgspec.json.decode(data, type=_Seen).note
        return checkpoint.read(note.parse(text).text), text
    except (*UNREADABLE, DocumentInvalid):
        return None


def _keep(files: FileSystem, *, root: str, text: str) -> None:
    """Write the note, unless another process on the volume has seen more of the same log."""
    ours = checkpoint.read(note.parse(text).text)
    if SEEN_NAME in files.list_directory(root):
        there = _read(files, root)
        if there is not None and there[0].origin == ours.origin and there[0].size > ours.size:
            return
    _write(files, root, SEEN_NAME, msgspec.json.encode(_Seen(text)))


def _write(files: FileSystem, root: str, name: str, data: bytes) -> None:
    """``data`` as the durable file ``name``; of a failure nothing is left."""
    path = f"{root}/{name}"
    try:
        write_file(files, path, data)
    except OSError:
        with suppress(OSError):
            remove_if_there(files, f"{path}.tmp")
        raise
    files.sync_directory(root)


def _keep_contradiction(files: FileSystem, *, root: str, found: Contradiction) -> int:
    data = msgspec.json.encode(found)
    name = f"{_PREFIX}{seal.sha256_text(data)[7:23]}.json"
    names = files.list_directory(root)
    if name not in names:
        _write(files, root, name, data)
    return sum(one.startswith(_PREFIX) for one in {*names, name})
