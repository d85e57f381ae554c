"""Where a chain in the store has holes.

Owns: the two ways of looking. People see every place that has no record. A daemon that says how
far the store has acknowledged its chain is told what of that the store lacks, which after a
restored backup is much: bytes that it sent itself and that are kept as evidence count as had, what
somebody else sent in its name does not; and only so many of the newest rows are looked at, because
it asks every minute. Refuses: saying why something is missing.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from gateway import limits
from gateway.shipping import SeqRange

_GAPS_SHOWN_MAX: Final = 100

_HAD: Final = """
SELECT seq FROM record WHERE log = :log AND instance = :instance AND seq BETWEEN 0 AND :through
UNION
SELECT seq FROM evidence WHERE log = :log AND instance = :instance AND seq BETWEEN 0 AND :through
AND sender = :instance
ORDER BY seq DESC LIMIT :rows
"""


def shown(connection: sqlite3.Connection, log: int, instance: str, end: int) -> list[SeqRange]:
    """The seqs below ``end`` at which no record stands: the first hundred ranges, in order."""
    rows = connection.execute(
        "SELECT before + 1, seq - 1 FROM ("
        " SELECT seq, lag(seq, 1, -1) OVER (ORDER BY seq) AS before FROM ("
        "  SELECT seq FROM record WHERE log = ? AND instance = ? AND seq < ?"
        "  UNION ALL SELECT ?)"
        ") WHERE seq > before + 1 LIMIT ?",
        (log, instance, end, end, _GAPS_SHOWN_MAX),
    ).fetchall()
    return [SeqRange(first, last) for first, last in rows]


def lacking(
    connection: sqlite3.Connection, log: int, instance: str, through_seq: int
) -> list[SeqRange]:
    """What the store lacks of seq 0 to ``through_seq``, in order.

    At most ``limits.MISSING_RANGES_MAX`` ranges, the newest, found among the newest
    ``limits.MISSING_ROWS_MAX`` rows: what a daemon still has is new.
    """
    whole = connection.execute(
        "SELECT 1 FROM instance WHERE log = ? AND instance = ?"
        " AND head_seq >= ? AND records = head_seq + 1",
        (log, instance, through_seq),
    ).fetchone()
    if through_seq < 0 or whole is not None:
        return []
    rows_max, ranges_max = limits.MISSING_ROWS_MAX, limits.MISSING_RANGES_MAX
    place = {"log": log, "instance": instance, "through": through_seq, "rows": rows_max}
    found: list[SeqRange] = []
    looked_at, expected = 0, through_seq
    for (seq,) in connection.execute(_HAD, place):
        if seq < expected:
            found.append(SeqRange(seq + 1, expected))
        looked_at, expected = looked_at + 1, seq - 1
        if len(found) == ranges_max:
            break
    else:
        if looked_at < rows_max and expected >= 0:
            found.append(SeqRange(0, expected))
    return found[::-1]
