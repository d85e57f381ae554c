"""Whether a database of the record store is whole and agrees with itself: after a restoration.

Everything that a leaf commits to is hashed again from the bytes that are kept: records, evidence,
certificates, revocations, log statements. The first falsehood ends it: what follows from a
database that is wrong somewhere is no use to anybody.

Owns: this walk through a database that nobody writes to. Refuses: signatures of records and who was
entitled to them (an export and the verifier say that), and mending anything.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from urllib.parse import quote

import msgspec

from central.record_store import schema
from central.record_store.logs import Log, document_hash, newest_checkpoint
from central.record_store.tree_check import Falsehood, TreeCheck
from gateway import checkpoint, documents, note, record, seal
from gateway.documents import LogStatement
from gateway.errors import UNREADABLE, ConfigInvalid, DocumentInvalid
from gateway.log_audit import evidence_hash
from gateway.logproof import Entry, LeafType
from gateway.roots import RoleKeys

Advance = Callable[[int], None]
"""Told how many leaves were looked at since the last call."""

_STRIDE = 1_000
_KINDS = {
    LeafType.RECORD: "record",
    LeafType.KEY_CERT: "certificate",
    LeafType.REVOCATION: "revocation",
    LeafType.LOG_STATEMENT: "log statement",
    LeafType.EVIDENCE: "evidence",
}


class LogState(msgspec.Struct, frozen=True, kw_only=True):
    """One log. ``checkpoint``: its newest note, or None before the first leaf."""

    tenant: str
    region: str
    origin: str
    size: int
    checkpoint: str | None


class _Kept(msgspec.Struct, frozen=True):
    """What stands at a leaf. ``digest``: hashed from its bytes; ``received_us``: None where its
    table has none."""

    leaf_index: int
    received_us: int | None
    digest: bytes


def open_unchanged(path: str) -> sqlite3.Connection:
    """The database in ``path``, for reading. Raises ConfigInvalid: none, or of another version.

    Without a write-ahead log beside it, it is read as a file that nobody changes, so that the
    reading leaves nothing beside it either.
    """
    if not os.path.isfile(path):
        raise ConfigInvalid(f"{path}: there is no such database")
    mode = "mode=ro" if os.path.exists(f"{path}-wal") else "mode=ro&immutable=1"
    connection = sqlite3.connect(f"file:{quote(path)}?{mode}", uri=True, isolation_level=None)
    try:
        (found,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute("BEGIN")
    except sqlite3.OperationalError as error:
        connection.close()
        raise ConfigInvalid(f"{path}: {error}") from error
    except sqlite3.DatabaseError as error:
        connection.close()
        raise Falsehood(path, str(error)) from error
    if found != schema.VERSION:
        connection.close()
        hint = "upgrade Gatepost" if found > schema.VERSION else "see gatepost store migrate"
        raise ConfigInvalid(f"{path} has schema {found}, this version {schema.VERSION}: {hint}")
    return connection


def states(connection: sqlite3.Connection) -> list[LogState]:
    """Every log, and its newest checkpoint."""
    return [
        LogState(
            tenant=log.tenant,
            region=log.region,
            origin=log.origin,
            size=log.size,
            checkpoint=newest_checkpoint(connection, log),
        )
        for log in _logs(connection)
    ]


def check(
    connection: sqlite3.Connection, log_keys: RoleKeys | None, advance: Advance
) -> list[LogState]:
    """Look at everything; returns the logs. Raises Falsehood at the first thing that is not true.

    ``log_keys``: the newest root's role ``log``, to check each newest checkpoint's signatures; None
    to leave that out.
    """
    try:
        _check_file(connection)
        for log in _logs(connection):
            _check_log(connection, log, advance)
            _check_newest(connection, log, log_keys)
        return states(connection)
    except sqlite3.DatabaseError as error:
        raise Falsehood("the file", str(error)) from error


def _logs(connection: sqlite3.Connection) -> list[Log]:
    rows = connection.execute("SELECT log, tenant, region, origin, size FROM log ORDER BY log")
    return [Log(*row) for row in rows]


def _check_file(connection: sqlite3.Connection) -> None:
    (first, *_) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if first != "ok":
        raise Falsehood("the file", first)
    for table, *_ in connection.execute("PRAGMA foreign_key_check"):
        raise Falsehood("the file", f"a row of table {table} is of a log that is not there")


def _check_log(connection: sqlite3.Connection, log: Log, advance: Advance) -> None:
    grown = TreeCheck(connection, log)
    kept = {int(kind): _kept(connection, log, kind) for kind in LeafType}
    leaves = connection.execute(
        "SELECT leaf_index, type, received_us, hash FROM leaf WHERE log = ? ORDER BY leaf_index",
        (log.log,),
    )
    seen = 0
    for number, (index, kind, received_us, digest) in enumerate(leaves):
        where = f"{log.origin}, leaf {number}"
        if index != number:
            raise Falsehood(where, f"is missing; the next is {index}")
        if kind not in kept:
            raise Falsehood(where, f"there is no leaf of type {kind}")
        _compare(next(kept[kind], None), _Kept(index, received_us, digest), where, kind)
        grown.add(Entry(kind, received_us, digest).leaf_hash())
        seen += 1
        if seen == _STRIDE:
            advance(seen)
            seen = 0
    advance(seen)
    for kind, rest in kept.items():
        for one in rest:
            name = _KINDS[LeafType(kind)]
            raise Falsehood(
                log.origin, f"a {name} stands at {one.leaf_index}, past the last leaf of it"
            )
    grown.finish()


def _compare(found: _Kept | None, leaf: _Kept, where: str, kind: int) -> None:
    name = _KINDS[LeafType(kind)]
    if found is None or found.leaf_index > leaf.leaf_index:
        raise Falsehood(where, f"its {name} is missing")
    if found.leaf_index < leaf.leaf_index:
        raise Falsehood(where, f"a {name} stands at {found.leaf_index}, where no leaf is of it")
    if found.digest != leaf.digest:
        raise Falsehood(where, f"its {name} is not what the leaf commits to")
    if found.received_us not in (None, leaf.received_us):
        raise Falsehood(where, f"its {name} has another time of receipt")


def _kept(connection: sqlite3.Connection, log: Log, kind: LeafType) -> Iterator[_Kept]:
    """What is kept of the leaves of ``kind``, in order, hashed from its bytes."""
    if kind is LeafType.RECORD:
        return _records(connection, log)
    if kind is LeafType.EVIDENCE:
        return _evidence(connection, log)
    if kind is LeafType.LOG_STATEMENT:
        return _documents(connection, log, "log_statement", "NULL")
    table = "certificate" if kind is LeafType.KEY_CERT else "revocation"
    return _documents(connection, log, table, "received_us")


def _records(connection: sqlite3.Connection, log: Log) -> Iterator[_Kept]:
    rows = connection.execute(
        "SELECT leaf_index, received_us, payload, signature, record_hash, instance, seq, kid, id,"
        " v, kind FROM record WHERE log = ? ORDER BY leaf_index",
        (log.log,),
    )
    for index, received_us, payload, signature, kept_hash, *columns in rows:
        where = f"{log.origin}, leaf {index}"
        framed = seal.record_pae(_bytes(payload, where))
        digest = hashlib.sha256(framed + _bytes(signature, where)).digest()
        if digest != kept_hash:
            raise Falsehood(where, "its record does not have the hash that stands beside it")
        try:
            leading = record.decode_leading(payload)
        except UNREADABLE as error:
            raise Falsehood(where, f"its record: {error}") from error
        chain = leading.chain
        said = [chain.instance, chain.seq, chain.kid, leading.id, leading.v, leading.kind]
        if columns != said:
            raise Falsehood(where, "its record is filed under what it does not say")
        yield _Kept(index, received_us, digest)


def _evidence(connection: sqlite3.Connection, log: Log) -> Iterator[_Kept]:
    rows = connection.execute(
        "SELECT leaf_index, received_us, line FROM evidence WHERE log = ? ORDER BY leaf_index",
        (log.log,),
    )
    for index, received_us, line in rows:
        line = _bytes(line, f"{log.origin}, leaf {index}")
        yield _Kept(index, received_us, evidence_hash(line))


def _bytes(value: object, where: str) -> bytes:
    """What SQLite keeps as bytes; it lets others write anything anywhere. Raises Falsehood."""
    if not isinstance(value, bytes):
        raise Falsehood(where, "what is kept of it are not bytes")
    return value


def _documents(
    connection: sqlite3.Connection, log: Log, table: str, received: str
) -> Iterator[_Kept]:
    rows = connection.execute(
        f"SELECT leaf_index, {received}, envelope FROM {table}"  # noqa: S608 - our own words
        " WHERE log = ? ORDER BY leaf_index",
        (log.log,),
    )
    for index, received_us, envelope in rows:
        where = f"{log.origin}, leaf {index}"
        try:
            digest = document_hash(seal.parse_envelope(_bytes(envelope, where)))
        except (DocumentInvalid, IndexError) as error:
            raise Falsehood(where, f"its {table} cannot be read: {error}") from error
        yield _Kept(index, received_us, digest)


def _check_newest(connection: sqlite3.Connection, log: Log, keys: RoleKeys | None) -> None:
    if log.origin != _opened_last(connection, log):
        raise Falsehood(log.origin, "no log statement opened a log of that name last")
    text = newest_checkpoint(connection, log)
    if text is None:
        # A tree that an upgrade grew is under no signature before the first batch after it.
        if connection.execute("SELECT 1 FROM checkpoint WHERE log = ?", (log.log,)).fetchone():
            raise Falsehood(log.origin, "its newest checkpoint is missing")
        return
    size = checkpoint.read(note.parse(text).text).size
    if size != log.size:
        raise Falsehood(log.origin, f"its newest checkpoint says {size} leaves, not {log.size}")
    if keys is not None:
        try:
            checkpoint.open_note(text, log.origin, keys)
        except DocumentInvalid as error:
            raise Falsehood(log.origin, f"its newest checkpoint: {error}") from error


def _opened_last(connection: sqlite3.Connection, log: Log) -> str:
    """The origin that the newest log statement opened; without one, that of the first log."""
    row = connection.execute(
        "SELECT envelope FROM log_statement WHERE log = ? ORDER BY leaf_index DESC LIMIT 1",
        (log.log,),
    ).fetchone()
    if row is None:
        host, _, _ = log.origin.partition("/log/")
        return checkpoint.origin(host, log.tenant, log.region, 1)
    payload = seal.unbase64(seal.parse_envelope(row[0]).payload, "unreadable")
    return documents.decode_exact(payload, LogStatement).opened_origin
