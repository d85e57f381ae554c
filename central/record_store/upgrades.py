"""From one version of the record store's tables to the next, in the transaction of the opening.

Owns: what ``schema.SCHEMA``, which only creates what is missing, cannot do to tables that are
there. Refuses: signing; the first batch after an upgrade gets a checkpoint over the whole tree.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from central.database import Upgrade
from central.record_store import certificates, recovery, tree
from central.record_store.grade import REGRADE
from central.record_store.index_row import index_row
from gateway import record
from gateway.errors import UNREADABLE
from gateway.logproof import Entry
from gateway.merkle import Frontier
from gateway.timestamp import time_micros

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


def _grade_and_attest(connection: sqlite3.Connection) -> None:
    """2 → 3: grades of records, digests to find them by, who attested each certificate, wider
    indexes, and no table of looks: they are recorded in the log itself, and a row of ours proved
    nothing."""
    connection.execute("DROP TABLE look")
    # Made again with more in them.
    connection.execute("DROP INDEX record_of")
    connection.execute("DROP INDEX record_time")
    connection.execute("ALTER TABLE record ADD COLUMN grade TEXT")
    connection.execute(REGRADE)
    _index_digests(connection)
    connection.execute("ALTER TABLE certificate ADD COLUMN attested TEXT")
    connection.execute("ALTER TABLE certificate ADD COLUMN issued_us INTEGER NOT NULL DEFAULT 0")
    rows = connection.execute("SELECT log, leaf_index, envelope FROM certificate").fetchall()
    for log, leaf_index, envelope in rows:
        certificate = certificates.kept_certificate(envelope)
        connection.execute(
            "UPDATE certificate SET attested = ?, issued_us = ? WHERE log = ? AND leaf_index = ?",
            (
                certificates.attested_by(certificate),
                time_micros(certificate.issued),
                log,
                leaf_index,
            ),
        )


def _index_digests(connection: sqlite3.Connection) -> None:
    for column in ("input_digest", "request_digest"):
        connection.execute(f"ALTER TABLE record ADD COLUMN {column} BLOB")
    rows = connection.execute(
        "SELECT rowid, payload FROM record WHERE kind IN ('decision', 'completion') AND v = ?",
        (record.VERSION,),
    )
    # The rows are changed behind the reader, which goes by their numbers: those stay.
    for rowid, payload in rows:
        try:
            row = index_row(record.decode(payload))
        except UNREADABLE:
            # Kept by a version that read it otherwise; it stays, and is not found by content.
            continue
        if row.input_digest is not None or row.request_digest is not None:
            connection.execute(
                "UPDATE record SET input_digest = ?, request_digest = ? WHERE rowid = ?",
                (row.input_digest, row.request_digest, rowid),
            )


def _acknowledge_and_recover(connection: sqlite3.Connection) -> None:
    """3 → 4: who settled a word against a log, of which an older file has none yet, and where
    killed instances are said to have ended."""
    if connection.execute("PRAGMA table_info(log_behind)").fetchall():
        connection.execute("ALTER TABLE log_behind ADD COLUMN acknowledged_us INTEGER")
        connection.execute("ALTER TABLE log_behind ADD COLUMN acknowledged_by TEXT")
    connection.execute("ALTER TABLE instance ADD COLUMN recovered_seq INTEGER")
    connection.execute("ALTER TABLE instance ADD COLUMN recovered_hash BLOB")
    connection.execute("UPDATE instance SET recovered_by = NULL")
    rows = connection.execute(
        "SELECT log, instance, payload FROM record WHERE kind = 'recovered' ORDER BY leaf_index"
    ).fetchall()
    for log, by, payload in rows:
        try:
            told = record.decode(payload)
        except UNREADABLE:
            continue
        if isinstance(told, record.Recovered):
            recovery.keep(connection, log, recovery.claim_of(told, by))


def _tell_whose_completion(connection: sqlite3.Connection) -> None:
    """4 → 5: the index of completions, made again, knows whose they are. It is gone already where
    an earlier step dropped it."""
    connection.execute("DROP INDEX IF EXISTS record_of")


UPGRADES: Final[dict[int, Upgrade]] = {
    1: _grow_trees,
    2: _grade_and_attest,
    3: _acknowledge_and_recover,
    4: _tell_whose_completion,
}
"""Version → what leads to the one after it."""
