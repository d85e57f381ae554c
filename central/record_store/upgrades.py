"""From one version of the record store's tables to the next, in the transaction of the opening.

Owns: what ``schema.SCHEMA``, which only creates what is missing, cannot do to tables that are
there. Refuses: signing; the first batch after an upgrade gets a checkpoint over the whole tree.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from central.database import Upgrade
from central.record_store import tree
from gateway.logproof import Entry
from gateway.merkle import Frontier

_LEAVES: Final = 10_000


def _grow_trees(connection: sqlite3.Connection) -> None:
    """1 → 2: the tree of each log, from the leaves that were kept since the first record."""
    connection.execute("ALTER TABLE log ADD COLUMN peaks BLOB NOT NULL DEFAULT x''")
    connection.execute(
        "CREATE TABLE tile (log INTEGER NOT NULL REFERENCES log (log), level INTEGER NOT NULL,"
        " tile_index INTEGER NOT NULL, hashes BLOB NOT NULL,"
        " PRIMARY KEY (log, level, tile_index)) WITHOUT ROWID"
    )
    for (log,) in connection.execute("SELECT log FROM log").fetchall():
        frontier = Frontier()
        while leaves := _next_leaves(connection, log, frontier.size):
            tree.append(connection, log, frontier, leaves)
        connection.execute(
            "UPDATE log SET peaks = ? WHERE log = ?", (b"".join(frontier.peaks), log)
        )


def _next_leaves(connection: sqlite3.Connection, log: int, index: int) -> list[bytes]:
    rows = connection.execute(
        "SELECT type, received_us, hash FROM leaf WHERE log = ? AND leaf_index >= ?"
        " ORDER BY leaf_index LIMIT ?",
        (log, index, _LEAVES),
    )
    return [Entry(*row).leaf_hash() for row in rows]


def _drop_looks(connection: sqlite3.Connection) -> None:
    """2 → 3: who looked at what is recorded in the log itself; a row of ours proved nothing."""
    connection.execute("DROP TABLE look")


UPGRADES: Final[dict[int, Upgrade]] = {1: _grow_trees, 2: _drop_looks}
"""Version → what leads to the one after it."""
