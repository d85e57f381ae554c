"""The publish log: who did what to the policy of a scope, and when.

Owns: its lines and their hash chain. Refuses: deciding what may be done (``catalogue.py``).
"""

from __future__ import annotations

import hashlib
import sqlite3

import msgspec

from gateway.documents import BundlePin, Candidate
from gateway.timestamp import time_text


class Publication(msgspec.Struct, frozen=True):
    """One line of the publish log. ``what``: publish | propose | approve | reject | lock | unlock |
    canary | promote | withdraw; ``publish``, ``approve`` and ``promote`` put the bundle in force,
    ``canary`` offers it to a part of the fleet."""

    publication: int
    scope: str
    what: str
    version: int
    digest: str
    who: str
    reason: str | None
    time: str
    hash: str


def add(
    connection: sqlite3.Connection,
    scope: str,
    what: str,
    pin: BundlePin | Candidate,
    who: str,
    reason: str | None,
    now_us: int,
) -> None:
    """Add a line, chained to the one before it."""
    row = connection.execute(
        "SELECT hash FROM publication ORDER BY publication DESC LIMIT 1"
    ).fetchone()
    prev = bytes(32) if row is None else bytes(row[0])
    line = (scope, what, pin.version, pin.digest, who, reason, now_us)
    digest = hashlib.sha256(prev + msgspec.json.encode(line)).digest()
    connection.execute(
        "INSERT INTO publication (scope, what, version, digest, who, reason, time_us, prev,"
        " hash) VALUES (?,?,?,?,?,?,?,?,?)",
        (*line, prev, digest),
    )


def read(connection: sqlite3.Connection, scope: str) -> list[Publication]:
    """The publish log of ``scope``, oldest first."""
    reading = connection.cursor()
    reading.row_factory = sqlite3.Row
    rows = reading.execute(
        "SELECT * FROM publication WHERE scope = ? ORDER BY publication", (scope,)
    )
    return [
        Publication(
            publication=row["publication"],
            scope=row["scope"],
            what=row["what"],
            version=row["version"],
            digest=row["digest"],
            who=row["who"],
            reason=row["reason"],
            time=time_text(row["time_us"]),
            hash=f"sha256:{row['hash'].hex()}",
        )
        for row in rows
    ]
