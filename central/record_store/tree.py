"""The Merkle tree of a log as it is kept: tiles of 256 hashes (C2SP tlog-tiles).

A tile of level L holds the hashes of 256 neighbouring nodes of height 8·L; the heights between are
hashed from it when a proof asks. Tiles grow at their end and are never changed otherwise.

Owns: appending leaves, and every node that a proof needs. Refuses: what a leaf means (``logs.py``)
and the arithmetic of proofs (``gateway.merkle``).
"""

from __future__ import annotations

import sqlite3
from typing import Final

from gateway import merkle
from gateway.merkle import HASH_BYTES, Frontier

TILE_HEIGHT: Final = 8
TILE_WIDTH: Final = 1 << TILE_HEIGHT
_READ_TILE: Final = "SELECT hashes FROM tile WHERE log = ? AND level = ? AND tile_index = ?"


def split_hashes(data: bytes) -> list[bytes]:
    """The hashes that stand one behind the other in ``data``."""
    return [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]


def append(
    connection: sqlite3.Connection, log: int, frontier: Frontier, leaves: list[bytes]
) -> None:
    """Add leaf hashes to the tree of ``log``, whose edge ``frontier`` is, and write its tiles."""
    grown: dict[tuple[int, int], list[bytes]] = {}
    for leaf in leaves:
        for height, index, digest in frontier.append(leaf):
            if height % TILE_HEIGHT == 0:
                key = (height // TILE_HEIGHT, index >> TILE_HEIGHT)
                grown.setdefault(key, []).append(digest)
    for (level, tile_index), hashes in grown.items():
        row = connection.execute(_READ_TILE, (log, level, tile_index)).fetchone()
        before = b"" if row is None else row[0]
        connection.execute(
            "INSERT INTO tile VALUES (?,?,?,?)"
            " ON CONFLICT (log, level, tile_index) DO UPDATE SET hashes = excluded.hashes",
            (log, level, tile_index, before + b"".join(hashes)),
        )


class Nodes:
    """The nodes of one log's tree within one transaction. An instance is a ``merkle.NodeAt``."""

    def __init__(self, connection: sqlite3.Connection, log: int) -> None:
        self._connection = connection
        self._log = log
        self._heights: dict[tuple[int, int], list[list[bytes]]] = {}

    def __call__(self, height: int, index: int) -> bytes:
        """The hash of a node that is complete. Raises IndexError for one that is not."""
        level, above = divmod(height, TILE_HEIGHT)
        tile_index, place = divmod(index, TILE_WIDTH >> above)
        return self._tile(level, tile_index)[above][place]

    def _tile(self, level: int, tile_index: int) -> list[list[bytes]]:
        """The hashes of a tile, then those of each height above them that they make complete."""
        known = self._heights.get((level, tile_index))
        if known is not None:
            return known
        row = self._connection.execute(_READ_TILE, (self._log, level, tile_index)).fetchone()
        heights = [split_hashes(b"" if row is None else row[0])]
        for _ in range(TILE_HEIGHT - 1):
            below = heights[-1]
            heights.append(
                [merkle.node_hash(below[at], below[at + 1]) for at in range(0, len(below) - 1, 2)]
            )
        self._heights[level, tile_index] = heights
        return heights


def partial_tile(
    connection: sqlite3.Connection, log: int, level: int, tile_index: int, width: int
) -> bytes | None:
    """The first ``width`` hashes of a tile, or None if it has fewer."""
    row = connection.execute(_READ_TILE, (log, level, tile_index)).fetchone()
    hashes = b"" if row is None else row[0][: width * HASH_BYTES]
    return bytes(hashes) if len(hashes) == width * HASH_BYTES else None
