"""What daemons say they saw of a log, held against the log that is here.

A daemon signs the newest checkpoint that it checked into what it sends. If that is more than this
log has, or another tree, then leaves were lost, or there are two stores: most often a backup was
restored. Such a log must not go on under its origin; whoever runs the store reopens it. It is not
stopped here: one daemon could lie, and the records of all would wait. For the same reason an
operator may settle the word of an instance: it stays to be read, and is no alarm any more.

Owns: this comparison, keeping the signed word of each instance, and who settled it. Refuses:
judging who is right, and closing a log (``reopening.py``).
"""

from __future__ import annotations

import sqlite3
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from central.errors import Refused
from central.record_store.logs import Log
from central.record_store.tree import Nodes
from gateway import checkpoint, limits, merkle, note, seal
from gateway.documents import LogSeen
from gateway.errors import DocumentInvalid
from gateway.timestamp import time_text

Reason = Literal["ahead", "other_root", "newer_log"]
"""More leaves than are here · another root at a size that is here · a log that was opened after
this one."""


class LogBehind(msgspec.Struct, frozen=True):
    """The word of ``instance``: it checked a checkpoint of ``size`` leaves with ``root`` (base64)
    under ``origin``. ``said``: what it signed, a chain-head's envelope or a ``Gatepost-Signed``
    header. ``acknowledged_by``: the person who settled what this instance says, or None."""

    instance: str
    reason: Reason
    origin: str
    size: int
    root: str
    received: str
    said: str
    acknowledged: str | None
    acknowledged_by: str | None


class LogStatus(msgspec.Struct, frozen=True):
    """A log, and what contradicts it; an empty list is as it should be."""

    tenant: str
    region: str
    origin: str
    size: int
    behind: list[LogBehind]


class AcknowledgeRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of ``POST /v1/log/acknowledge``: whose words against the log are settled."""

    region: str
    instances: Annotated[
        list[Annotated[str, Meta(max_length=64)]],
        Meta(min_length=1, max_length=limits.ADMIN_PARAMETERS_MAX),
    ]
    tenant: str | None = None


def contradiction(connection: sqlite3.Connection, log: Log, seen: LogSeen) -> Reason | None:
    """How ``seen`` does not fit ``log``, or None. Of a closed origin nothing is said any more."""
    try:
        ours, theirs = checkpoint.place_of(log.origin), checkpoint.place_of(seen.origin)
    except DocumentInvalid:
        return None
    elsewhere = (theirs.host, theirs.tenant, theirs.region) != (ours.host, ours.tenant, ours.region)
    if elsewhere or seen.size < 0:
        return None
    if theirs.number != ours.number:
        return "newer_log" if theirs.number > ours.number else None
    if seen.size > log.size:
        return "ahead"
    try:
        root = seal.unbase64(seen.root, "root")
    except DocumentInvalid:
        return None
    return None if _root(connection, log, seen.size) == root else "other_root"


def _root(connection: sqlite3.Connection, log: Log, size: int) -> bytes:
    """The root that ``log`` had with ``size`` leaves."""
    row = connection.execute(
        "SELECT note FROM checkpoint WHERE log = ? AND origin = ? AND size = ?",
        (log.log, log.origin, size),
    ).fetchone()
    if row is not None:
        return checkpoint.read(note.parse(row[0]).text).root
    nodes = Nodes(connection, log.log)
    return merkle.span_hash((0, size), nodes) if size else merkle.EMPTY_ROOT


def keep(
    connection: sqlite3.Connection,
    log: Log,
    instance: str,
    seen: LogSeen | None,
    said: bytes,
    now_us: int,
) -> Reason | None:
    """Keep what ``instance`` saw, where it does not fit; returns how, if it was not known to.

    Before what came with it is taken in. Inside a write transaction.

    A number that lies far ahead is kept as the next one: a false word is settled by one reopening
    more, and who did see such a log says so again.
    """
    reason = None if seen is None else contradiction(connection, log, seen)
    if seen is None or reason is None:
        return None
    ours, theirs = checkpoint.place_of(log.origin), checkpoint.place_of(seen.origin)
    number = min(theirs.number, ours.number + 1)
    known = connection.execute(
        "SELECT 1 FROM log_behind WHERE log = ? AND instance = ? AND number = ?",
        (log.log, instance, number),
    ).fetchone()
    connection.execute(
        "INSERT INTO log_behind VALUES (?,?,?,?,?,?,?,?,?,NULL,NULL)"
        " ON CONFLICT (log, instance, number) DO UPDATE SET reason = excluded.reason,"
        " origin = excluded.origin, size = excluded.size, root = excluded.root,"
        " received_us = excluded.received_us, said = excluded.said",
        (log.log, instance, number, reason, seen.origin, seen.size, seen.root, now_us, said),
    )
    return None if known else reason


def status(connection: sqlite3.Connection, log: Log) -> LogStatus:
    """``log``, and every word against it; those against logs that are closed are settled."""
    rows = connection.execute(
        "SELECT instance, reason, origin, size, root, received_us, said, acknowledged_us,"
        " acknowledged_by FROM log_behind WHERE log = ? AND number >= ? ORDER BY received_us",
        (log.log, checkpoint.place_of(log.origin).number),
    )
    return LogStatus(
        tenant=log.tenant,
        region=log.region,
        origin=log.origin,
        size=log.size,
        behind=[
            LogBehind(
                instance=instance,
                reason=reason,
                origin=origin,
                size=size,
                root=root,
                received=time_text(at_us),
                said=said.decode(),
                acknowledged=None if settled_us is None else time_text(settled_us),
                acknowledged_by=settled_by,
            )
            for instance, reason, origin, size, root, at_us, said, settled_us, settled_by in rows
        ],
    )


def open_words(connection: sqlite3.Connection, log: Log | None, names: list[str]) -> dict[str, str]:
    """What the instances ``names`` said against ``log`` that nobody settled, by instance.

    Raises Refused (``not_found``) for one that said nothing.
    """
    found = [] if log is None else status(connection, log).behind
    words = {
        one.instance: f"{one.reason}: {one.size} leaves"
        for one in found
        if one.acknowledged_by is None
    }
    missing = next((name for name in names if name not in words), None)
    if missing is not None:
        raise Refused("not_found", f"{missing} said nothing against this log that is open")
    return {name: words[name] for name in names}


def acknowledge(
    connection: sqlite3.Connection, log: Log, names: list[str], who: str, now_us: int
) -> None:
    """Settle what the instances ``names`` say of ``log``. Inside a write transaction."""
    connection.executemany(
        "UPDATE log_behind SET acknowledged_us = ?, acknowledged_by = ?"
        " WHERE log = ? AND instance = ? AND acknowledged_us IS NULL",
        [(now_us, who, log.log, name) for name in names],
    )


def any_behind(connection: sqlite3.Connection) -> bool:
    """Whether any log of this store is contradicted by somebody whose word is not settled."""
    rows = connection.execute(
        "SELECT l.log, l.tenant, l.region, l.origin, l.size FROM log l WHERE EXISTS"
        " (SELECT 1 FROM log_behind b WHERE b.log = l.log AND b.acknowledged_us IS NULL)"
    ).fetchall()
    words = (word for row in rows for word in status(connection, Log(*row)).behind)
    return any(word.acknowledged_by is None for word in words)
