"""The instances of a log: how each chain stands, and where it has holes.

Owns: the state of an instance, computed when asked, and keeping chain heads. Refuses: finding
holes (``holes.py``), and treating silence as an end: a chain without a seal is open or silent, and
says so.
"""

from __future__ import annotations

import sqlite3
from typing import Final

import msgspec

from central.errors import Refused
from central.record_store import counted, holes, recovery
from central.record_store.certificates import Sender
from central.record_store.logs import Log, Logbook, hash_text
from gateway import documents, limits, seal
from gateway.documents import ChainHead
from gateway.errors import DocumentInvalid
from gateway.shipping import SeqRange
from gateway.timestamp import time_text

_SILENT_US: Final = 3 * int(limits.CHAIN_HEAD_SECONDS * 1_000_000)


class InstanceItem(msgspec.Struct, frozen=True):
    """``missing``: records below the head that never came, or that this store acknowledged and has
    no longer (a restored backup); ``gaps``: where, the first hundred ranges. ``head_seq`` and
    ``head_hash``: None before the first record. ``unshipped``: records above the head that the
    instance said are durable: still to come, or lost with it. ``turned_away``: calls by code, by
    the newest word of the instance. ``recovered_by``: the instance that says where this one ended;
    the state follows it only where that fits what is here. ``service``: of a chain of the store
    itself."""

    instance: str
    service: str | None
    state: str
    head_seq: int | None
    head_hash: str | None
    records: int
    missing: int
    gaps: list[SeqRange]
    forks: int
    sealed_seq: int | None
    recovered_by: str | None
    durable_seq: int | None
    unshipped: int
    acked_seq: int | None
    turned_away: dict[str, int]
    first_seen: str
    last_seen: str


def instances(connection: sqlite3.Connection, log: Log | None, now_us: int) -> list[InstanceItem]:
    """Every instance that sent anything, the newest first."""
    if log is None:
        return []
    reading = connection.cursor()
    reading.row_factory = sqlite3.Row
    rows = reading.execute(
        "SELECT i.*, h.durable_seq, h.acked_seq,"
        " max(i.last_seen_us, coalesce(h.received_us, 0)) AS seen_us,"
        " EXISTS (SELECT 1 FROM certificate c WHERE c.log = i.log AND c.instance = i.instance)"
        " AS certified,"
        " (SELECT service FROM own_instance o WHERE o.log = i.log AND o.instance = i.instance)"
        " AS service"
        " FROM instance i LEFT JOIN chain_head h ON h.log = i.log AND h.instance = i.instance"
        " WHERE i.log = ? ORDER BY i.first_seen_us DESC, i.instance",
        (log.log,),
    ).fetchall()
    return [_item(connection, row, now_us) for row in rows]


def _item(connection: sqlite3.Connection, row: sqlite3.Row, now_us: int) -> InstanceItem:
    acked_seq = -1 if row["acked_seq"] is None else row["acked_seq"]
    end = max(row["head_seq"], acked_seq) + 1
    missing = end - row["records"]
    empty = row["head_seq"] < 0
    return InstanceItem(
        instance=row["instance"],
        service=row["service"],
        state=_state(connection, row, now_us),
        head_seq=None if empty else row["head_seq"],
        head_hash=None if empty else hash_text(row["head_hash"]),
        records=row["records"],
        missing=missing,
        gaps=holes.shown(connection, row["log"], row["instance"], end) if missing else [],
        forks=row["forks"],
        sealed_seq=row["sealed_seq"],
        recovered_by=row["recovered_by"],
        durable_seq=row["durable_seq"],
        unshipped=max(0, (-1 if row["durable_seq"] is None else row["durable_seq"]) - end + 1),
        acked_seq=row["acked_seq"],
        turned_away=_turned_away(connection, row),
        first_seen=time_text(row["first_seen_us"]),
        last_seen=time_text(row["seen_us"]),
    )


def _state(connection: sqlite3.Connection, row: sqlite3.Row, now_us: int) -> str:
    """A word of ``vocabulary.INSTANCE_STATES``; what needs attention most comes first."""
    if row["forks"]:
        return "forked"
    if row["sealed_seq"] is not None:
        return "sealed"
    claim = recovery.kept(connection, row["log"], row["instance"])
    if claim is not None and recovery.fits(connection, row["log"], claim):
        return "lost" if _has_lost_its_end(row) else "recovered"
    # A chain of the store itself has only as much to say as there are acts.
    silent = row["service"] is None and now_us - row["seen_us"] > _SILENT_US
    if silent and _is_superseded(connection, row, now_us):
        return "lost"
    if not row["certified"]:
        return "uncertified"
    return "silent" if silent else "open"


def _is_superseded(connection: sqlite3.Connection, row: sqlite3.Row, now_us: int) -> bool:
    """Whether a later instance took its place, long enough ago to have said what it found."""
    later = connection.execute(
        "SELECT 1 FROM certificate mine JOIN certificate theirs"
        " ON theirs.log = mine.log AND theirs.attested = mine.attested"
        " AND theirs.issued_us > mine.issued_us AND theirs.instance != mine.instance"
        " WHERE mine.log = ? AND mine.instance = ? AND theirs.received_us < ? LIMIT 1",
        (row["log"], row["instance"], now_us - _SILENT_US),
    ).fetchone()
    return later is not None


def _turned_away(connection: sqlite3.Connection, row: sqlite3.Row) -> dict[str, int]:
    told = counted.newest(connection, row["log"], row["instance"])
    if told is None:
        return {}
    by_code = told.counters.turned_away
    return {code: sum(by_listener.values()) for code, by_listener in by_code.items()}


def _has_lost_its_end(row: sqlite3.Row) -> bool:
    """Whether it said that records were durable which neither came nor were found after it.

    A successor cannot tell a torn last write, which nobody was answered for, from rot; the head
    that the instance posted itself can. What the successor found and still ships is not lost.
    """
    known = (row["head_seq"], row["acked_seq"], row["recovered_seq"])
    known_seq = max((seq for seq in known if seq is not None), default=-1)
    return row["durable_seq"] is not None and bool(row["durable_seq"] > known_seq)


def open_chain_head(data: bytes, sender: Sender) -> ChainHead:
    """The chain head in ``data``, signed by ``sender`` for its own instance. Raises Refused."""
    try:
        payload = seal.open_envelope(data, documents.CHAIN_HEAD, {sender.kid: sender.public})
        head = documents.decode_exact(payload, ChainHead)
    except DocumentInvalid as error:
        raise Refused("document_invalid", str(error)) from error
    if head.instance != sender.instance:
        raise Refused("not_entitled", "the chain head is of another instance")
    numbers = (head.durable_seq, head.acked_seq)
    if not all(-1 <= number <= limits.JSON_INTEGER_MAX for number in numbers):
        raise Refused("document_invalid", "a seq is out of range")
    return head


def keep_chain_head(
    connection: sqlite3.Connection,
    logbook: Logbook,
    sender: Sender,
    head: ChainHead,
    data: bytes,
    now_us: int,
) -> Log:
    """Keep the newest head of each instance; an older one that comes late is dropped.

    The log it belongs to. An instance of which no record is here is listed from now on.
    """
    log = logbook.open(connection, sender.tenant, sender.region)
    connection.execute(
        "INSERT OR IGNORE INTO instance (log, instance, head_seq, head_hash, records, forks,"
        " first_seen_us, last_seen_us) VALUES (?,?,-1,x'',0,0,?,?)",
        (log.log, sender.instance, now_us, now_us),
    )
    connection.execute(
        "INSERT INTO chain_head VALUES (?,?,?,?,?,?,?)"
        " ON CONFLICT (log, instance) DO UPDATE SET received_us = excluded.received_us,"
        " durable_seq = excluded.durable_seq, acked_seq = excluded.acked_seq,"
        " record_hash = excluded.record_hash, envelope = excluded.envelope"
        " WHERE excluded.durable_seq >= chain_head.durable_seq",
        (
            log.log,
            sender.instance,
            now_us,
            head.durable_seq,
            head.acked_seq,
            head.record_hash,
            data,
        ),
    )
    return log
