"""A store filled with more rows than there is time to take in.

The rows of the records that were taken in are written again, by the store's own statements, with
other ids, seqs, hashes, digests, times and leaves: what a page walks, all indexes and the tree, is
that of a store of so many records. What is not: the payloads are those of the first rows, so none
of it could be verified, and nothing was.

Owns: these rows. Refuses: timing; what it costs to take in a record is ``store_ingest.py``'s.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable
from typing import Any, Final

from bench.store_feed import Feed
from central.record_store.ingest import INSERT_RECORD, RECORD_COLUMNS
from central.record_store.logs import LeafWriter
from gatepost.home import REGION, TENANT
from gateway.identifier import RECORD_RANDOM_BYTES, record_id
from gateway.io.entropy import SystemEntropy
from gateway.logproof import LeafType
from gateway.ports import Entropy

_CHUNK: Final = 5_000
_SPACED_US: Final = 1_000
_READ: Final = (
    f"SELECT {RECORD_COLUMNS} FROM record WHERE log = ? AND instance = ?"
    " AND seq >= ? AND seq < ? ORDER BY seq"
)

_Row = dict[str, Any]
"""By column."""


def fill(feed: Feed, rows: int, progress: Callable[[int], None]) -> int:
    """Copy until the daemon of ``feed`` has ``rows`` records; returns how many it has then."""
    connection, entropy = feed.connection, SystemEntropy()
    (base, newest_us) = connection.execute(
        "SELECT count(*), max(time_us) FROM record WHERE instance = ?", (feed.instance,)
    ).fetchone()
    count = int(base)
    connection.execute("PRAGMA synchronous=OFF")
    while count < rows:
        first = count % base
        end = first + min(_CHUNK, base - first, rows - count)
        time_us = newest_us + (count - base + 1) * _SPACED_US
        connection.execute("BEGIN IMMEDIATE")
        log = feed.logbook.open(connection, TENANT, REGION)
        leaves = feed.logbook.writer(connection, log, time_us)
        reading = connection.cursor()
        reading.row_factory = sqlite3.Row
        originals = reading.execute(_READ, (log.log, feed.instance, first, end)).fetchall()
        copies = []
        for at, original in enumerate(originals):
            one = _copy(dict(original), count + at, time_us + at * _SPACED_US, leaves, entropy)
            _categorise(connection, original["leaf_index"], one)
            copies.append(one)
        connection.executemany(INSERT_RECORD, [tuple(one.values()) for one in copies])
        leaves.finish()
        connection.execute("COMMIT")
        count += len(copies)
        progress(count)
    connection.execute("PRAGMA synchronous=FULL")
    return count


def _copy(row: _Row, seq: int, time_us: int, leaves: LeafWriter, entropy: Entropy) -> _Row:
    digest = hashlib.sha256(seq.to_bytes(8, "big")).digest()
    row |= {
        "leaf_index": leaves.add(LeafType.RECORD, digest),
        "received_us": time_us,
        "seq": seq,
        "id": record_id(time_us, entropy.bytes(RECORD_RANDOM_BYTES)),
        "record_hash": digest,
        "time_us": time_us,
    }
    for column in ("input_digest", "request_digest"):
        if row[column] is not None:
            row[column] = hashlib.sha256(row[column] + digest).digest()
    return row


def _categorise(connection: sqlite3.Connection, original: int, row: _Row) -> None:
    connection.execute(
        "INSERT INTO category SELECT log, category, ?, ? FROM category"
        " WHERE log = ? AND leaf_index = ?",
        (row["time_us"], row["leaf_index"], row["log"], original),
    )
