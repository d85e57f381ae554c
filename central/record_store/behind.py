"""What daemons say they saw of a log, held against the log that is here.

A daemon signs the newest checkpoint that it checked into what it sends. If that is more than this
log has, or another tree, then leaves were lost, or there are two stores: most often a backup was
restored. Such a log must not go on under its origin; whoever runs the store reopens it. It is not
stopped here: one daemon could lie, and the records of all would wait.

Owns: this comparison, and keeping the signed word of each instance. Refuses: judging who is right,
and closing a log (``reopening.py``).
"""

from __future__ import annotations

import sqlite3
from typing import Literal

import msgspec

from central.record_store.logs import Log
from central.record_store.tree import Nodes
from gateway import checkpoint, merkle
from gateway.checkpoint import Checkpoint
from gateway.documents import LogSeen
from gateway.errors import DocumentInvalid
from gateway.timestamp import time_text

Reason = Literal["ahead", "other_root", "newer_log"]
"""More leaves than are here · another root at a size that is here · a log that was opened after
this one."""


class LogBehind(msgspec.Struct, frozen=True):
    """The word of ``instance``: it checked a checkpoint of ``size`` leaves with ``root`` (base64)
    under ``origin``. ``said``: what it signed, a chain-head's envelope or a ``Gatepost-Signed``
    header."""

    instance: str
    reason: Reason
    origin: str
    size: int
    root: str
    received: str
    said: str


class LogStatus(msgspec.Struct, frozen=True):
    """A log, and what contradicts it; an empty list is as it should be."""

    tenant: str
    region: str
    origin: str
    size: int
    behind: list[LogBehind]


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
    return None if _root(connection, log, seen.size) == seen.root else "other_root"


def _root(connection: sqlite3.Connection, log: Log, size: int) -> str:
    """The root that ``log`` had with ``size`` leaves, base64."""
    row = connection.execute(
        "SELECT note FROM checkpoint WHERE log = ? AND origin = ? AND size = ?",
        (log.log, log.origin, size),
    ).fetchone()
    if row is not None:
        return str(row[0]).split("\n", 3)[2]
    nodes = Nodes(connection, log.log)
    root = merkle.span_hash((0, size), nodes) if size else merkle.EMPTY_ROOT
    return Checkpoint(log.origin, size, root).seen().root


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
    """
    reason = None if seen is None else contradiction(connection, log, seen)
    if seen is None or reason is None:
        return None
    number = checkpoint.place_of(seen.origin).number
    known = connection.execute(
        "SELECT 1 FROM log_behind WHERE log = ? AND instance = ? AND number = ?",
        (log.log, instance, number),
    ).fetchone()
    connection.execute(
        "INSERT OR REPLACE INTO log_behind VALUES (?,?,?,?,?,?,?,?,?)",
        (log.log, instance, number, reason, seen.origin, seen.size, seen.root, now_us, said),
    )
    return None if known else reason


def status(connection: sqlite3.Connection, log: Log) -> LogStatus:
    """``log``, and every word against it; those against logs that are closed are settled."""
    rows = connection.execute(
        "SELECT instance, reason, origin, size, root, received_us, said FROM log_behind"
        " WHERE log = ? AND number >= ? ORDER BY received_us",
        (log.log, checkpoint.place_of(log.origin).number),
    )
    return LogStatus(
        tenant=log.tenant,
        region=log.region,
        origin=log.origin,
        size=log.size,
        behind=[
            LogBehind(instance, reason, origin, size, root, time_text(received_us), said.decode())
            for instance, reason, origin, size, root, received_us, said in rows
        ],
    )


def any_behind(connection: sqlite3.Connection) -> bool:
    """Whether any log of this store is contradicted."""
    rows = connection.execute(
        "SELECT l.log, l.tenant, l.region, l.origin, l.size FROM log l"
        " WHERE EXISTS (SELECT 1 FROM log_behind b WHERE b.log = l.log)"
    ).fetchall()
    return any(status(connection, Log(*row)).behind for row in rows)
