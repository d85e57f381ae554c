"""The kept tree of one log, held against the leaves that it was grown from.

Every node is hashed again. A tile, the edge and the root of each kept checkpoint must be what comes
out; a checkpoint that no size of the tree ever fitted is a signed untruth.

Owns: this comparison. Refuses: what a leaf commits to (``soundness.py``), and mending anything.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from central.record_store import tree
from central.record_store.logs import Log
from gateway import checkpoint, note
from gateway.checkpoint import Checkpoint
from gateway.errors import DocumentInvalid
from gateway.merkle import Frontier


class Falsehood(Exception):
    """Something in the database that is not true; ``where`` and ``what`` in plain words."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}")
        self.where = where
        self.what = what


class TreeCheck:
    """Grows the tree of ``log`` anew, leaf by leaf."""

    def __init__(self, connection: sqlite3.Connection, log: Log) -> None:
        self._connection = connection
        self._log = log
        self._frontier = Frontier()
        self._open: dict[int, list[bytes]] = {}
        self._tiles = 0
        self._kept = _checkpoints(connection, log)
        self._next = next(self._kept, None)
        self._compare_roots()

    def add(self, leaf_hash: bytes) -> None:
        """The next leaf. Raises Falsehood."""
        for height, index, digest in self._frontier.append(leaf_hash):
            level, above = divmod(height, tree.TILE_HEIGHT)
            if above:
                continue
            hashes = self._open.setdefault(level, [])
            hashes.append(digest)
            if len(hashes) == tree.TILE_WIDTH:
                self._compare_tile(level, index >> tree.TILE_HEIGHT, self._open.pop(level))
        self._compare_roots()

    def finish(self) -> None:
        """After the last leaf. Raises Falsehood."""
        size = self._frontier.size
        if size != self._log.size:
            self._false(f"{size} leaves are here, and the log says {self._log.size}")
        for level, hashes in self._open.items():
            index = (size >> (tree.TILE_HEIGHT * level)) >> tree.TILE_HEIGHT
            self._compare_tile(level, index, hashes)
        (tiles,) = self._connection.execute(
            "SELECT count(*) FROM tile WHERE log = ?", (self._log.log,)
        ).fetchone()
        if tiles != self._tiles:
            self._false(f"{tiles} tiles are kept, and the leaves make {self._tiles}")
        (peaks,) = self._connection.execute(
            "SELECT peaks FROM log WHERE log = ?", (self._log.log,)
        ).fetchone()
        if peaks != b"".join(self._frontier.peaks):
            self._false("the edge of the tree is not what its leaves make")
        if self._next is not None:
            self._false(f"a checkpoint says {self._next.size} leaves, and {size} are here")

    def _compare_tile(self, level: int, index: int, hashes: list[bytes]) -> None:
        self._tiles += 1
        row = self._connection.execute(
            "SELECT hashes FROM tile WHERE log = ? AND level = ? AND tile_index = ?",
            (self._log.log, level, index),
        ).fetchone()
        if row is None or row[0] != b"".join(hashes):
            self._false(f"tile {index} of level {level} is not what the leaves make")

    def _compare_roots(self) -> None:
        size = self._frontier.size
        while self._next is not None and self._next.size == size:
            if self._next.root != self._frontier.root():
                self._false(f"the checkpoint of {size} leaves has another root than these leaves")
            self._next = next(self._kept, None)

    def _false(self, what: str) -> None:
        raise Falsehood(self._log.origin, what)


def _checkpoints(connection: sqlite3.Connection, log: Log) -> Iterator[Checkpoint]:
    """Every kept checkpoint, also of closed origins, by size. Raises Falsehood."""
    rows = connection.execute(
        "SELECT origin, size, note FROM checkpoint WHERE log = ? ORDER BY size", (log.log,)
    )
    for origin, size, text in rows:
        try:
            found = checkpoint.read(note.parse(text).text)
        except DocumentInvalid as error:
            raise Falsehood(log.origin, f"the checkpoint of {size} leaves: {error}") from error
        if (found.origin, found.size) != (origin, size):
            raise Falsehood(log.origin, f"the checkpoint of {size} leaves is of {found.origin}")
        yield found
