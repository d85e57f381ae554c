"""An export: everything an offline verifier needs, one DSSE envelope per line.

Owns: the order of the lines (roots, key certificates, records in leaf order) and reading them in
pages from one pinned size. Refuses: judging what it hands out; ``gatepost verify`` does.
"""

from __future__ import annotations

import sqlite3

import msgspec

from central.record_store.filters import Query
from central.record_store.logs import Log
from central.record_store.query import add_times, condition_of, source_of
from gateway import envelope_line, limits


class ExportPage(msgspec.Struct, frozen=True):
    """``lines``: NDJSON text; ``after``: the last leaf index in it, None when nothing follows."""

    lines: bytes
    after: int | None


def certificate_lines(connection: sqlite3.Connection, log: Log) -> bytes:
    """Every certificate of ``log`` below its size, in leaf order, exactly as it was signed."""
    rows = connection.execute(
        "SELECT envelope FROM certificate WHERE log = ? AND leaf_index < ? ORDER BY leaf_index",
        (log.log, log.size),
    )
    return b"".join(envelope + b"\n" for (envelope,) in rows)


def record_page(connection: sqlite3.Connection, log: Log, query: Query, after: int) -> ExportPage:
    """The records of ``query`` that follow leaf ``after`` (-1 for the first page)."""
    condition = condition_of(query, log)
    add_times(condition, query)
    condition.add("r.leaf_index > ? AND r.leaf_index < ?", after, log.size)
    rows = connection.execute(
        "SELECT r.leaf_index, r.kid, r.payload, r.signature"  # noqa: S608 - our own words
        f" FROM {source_of(query)} WHERE {condition.sql}"
        " ORDER BY r.leaf_index LIMIT ?",
        (*condition.values, limits.EXPORT_PAGE_RECORDS),
    ).fetchall()
    lines = [
        envelope_line.write_record(payload, kid, signature) for _, kid, payload, signature in rows
    ]
    full = len(rows) == limits.EXPORT_PAGE_RECORDS
    return ExportPage(b"".join(lines), rows[-1][0] if full else None)
