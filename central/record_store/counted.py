"""What an instance itself counted: the counters in its chain head, heartbeat or seal.

Owns: finding the newest of them. Refuses: believing them; ``reconcile.py`` compares.
"""

from __future__ import annotations

import sqlite3

import msgspec

from gateway import documents, record, seal
from gateway.documents import ChainHead, Counters
from gateway.errors import UNREADABLE


class Told(msgspec.Struct, frozen=True):
    """``counters``, cumulative since the start. ``seq``: the newest record that there was then;
    ``final``: a seal holds them, and nothing follows."""

    seq: int
    counters: Counters
    final: bool


def newest(connection: sqlite3.Connection, log: int, instance: str) -> Told | None:
    """The newest counters of ``instance``, or None if it never told any."""
    row = connection.execute(
        "SELECT seq, payload FROM record WHERE log = ? AND instance = ?"
        " AND kind IN ('heartbeat', 'seal') ORDER BY seq DESC LIMIT 1",
        (log, instance),
    ).fetchone()
    head = connection.execute(
        "SELECT envelope, durable_seq FROM chain_head WHERE log = ? AND instance = ?",
        (log, instance),
    ).fetchone()
    if row is None and head is None:
        return None
    if head is None or (row is not None and row[0] > head[1]):
        decoded = _record(row[1])
        return None if decoded is None else Told(row[0] - 1, *decoded)
    sealed = seal.parse_envelope(head[0])
    payload = seal.unbase64(sealed.payload, "unreadable")
    return Told(head[1], documents.decode_exact(payload, ChainHead).counters, False)


def _record(payload: bytes) -> tuple[Counters, bool] | None:
    """None for a record of a version that this one does not know, or cannot read."""
    try:
        decoded = record.decode(payload)
    except UNREADABLE:
        return None
    if not isinstance(decoded, record.Heartbeat | record.Seal):
        return None
    return decoded.counters, isinstance(decoded, record.Seal)
