"""Answers from the store: pages of records, one record, the instances.

Owns: what is shown of a record, and the shapes of the answers. Refuses: deciding who may see a
tenant (the caller hands in the one log that is asked), how a page finds its rows (``walk.py``),
and writing.

A page is cut from one snapshot: the first page pins ``at_size``, later ones see no leaf above it,
so pages neither repeat nor miss a record while new ones arrive.
"""

from __future__ import annotations

import base64
import sqlite3
from typing import Final

import msgspec

from central.errors import Refused
from central.record_store.condition import Parameter
from central.record_store.filters import Cursor, Query, cursor_text
from central.record_store.logs import Log, hash_bytes, hash_text
from central.record_store.revocations import UNTRUSTED, revocations_of
from central.record_store.walk import Place, page_statement, stop_of, walk_of
from gateway import documents, record, seal
from gateway.documents import Envelope
from gateway.timestamp import time_text


class RecordItem(msgspec.Struct, frozen=True):
    """One record of a page. ``certified``: a certificate for its key is kept here; ``untrusted``:
    its key was taken back from before the record on; ``time`` is the record's own, else the time
    of receipt."""

    leaf_index: int
    received: str
    time: str
    id: str
    record_hash: str
    instance: str
    seq: int
    kind: str
    certified: bool
    untrusted: bool
    of: str | None
    person: str | None
    agent: str | None
    provider: str | None
    model: str | None
    operation: str | None
    route: str | None
    tool: str | None
    tool_server: str | None
    outcome: str | None
    reason: str | None
    stage: str | None
    level: str | None
    categories: list[str]
    policy_version: int | None
    policy_digest: str | None
    grade: str


class Page(msgspec.Struct, frozen=True):
    """``at_size``: leaves that the whole query looks at; ``next_cursor``: None on the last page.

    ``examined_to``: a page that has examined as many rows as one may ends there, at a record of
    this time, with what it found so far, which may be nothing; None for one that is full or last.
    """

    items: list[RecordItem]
    next_cursor: str | None
    at_size: int
    examined_to: str | None = None


class RecordDetail(msgspec.Struct, frozen=True):
    """``payload`` and ``signature``: base64 of the exact bytes. ``certificate``: the envelope
    that entitles the key, or None while it is uncertified; ``revocations``: what took that key
    back. ``completions``: ids of those that its own instance wrote."""

    leading: record.Leading
    payload: str
    signature: str
    envelope: Envelope
    record_hash: str
    leaf_index: int
    received: str
    certificate: Envelope | None
    revocations: list[Envelope]
    completions: list[str]


_PLAIN_COLUMNS: Final = (
    "leaf_index",
    "id",
    "instance",
    "seq",
    "kind",
    "person",
    "agent",
    "provider",
    "model",
    "operation",
    "route",
    "tool",
    "tool_server",
    "outcome",
    "reason",
    "stage",
    "level",
    "policy_version",
    "policy_digest",
)
_ITEM_COLUMNS: Final = (
    ", ".join(f"r.{column}" for column in _PLAIN_COLUMNS)  # noqa: S608 - our own words
    + ", r.received_us, r.time_us, coalesce(r.grade, 'on_time') AS grade, r.record_hash, r.of_id,"
    " EXISTS (SELECT 1 FROM certificate c WHERE c.kid = r.kid AND c.log = r.log) AS certified,"
    " (SELECT json_group_array(g.category) FROM category g"
    " WHERE g.log = r.log AND g.leaf_index = r.leaf_index) AS categories, "
    + UNTRUSTED
    + " AS untrusted"
)


def page(connection: sqlite3.Connection, log: Log | None, query: Query) -> Page:
    """One page. ``log``: None where nothing was ever received: an empty page."""
    if log is None:
        return Page([], None, 0)
    cursor = query.cursor
    at_size = log.size if cursor is None else min(cursor.at_size, log.size)
    reading = connection.cursor()
    reading.row_factory = sqlite3.Row
    walk = walk_of(connection, log, query)
    stop = stop_of(connection, log, query, at_size, walk)
    asked = page_statement(_ITEM_COLUMNS, log, query, at_size, walk, stop)
    rows = reading.execute(*asked).fetchall()
    last = stop
    if len(rows) > query.limit:
        rows = rows[: query.limit]
        stop, last = None, Place(rows[-1]["time_us"], rows[-1]["leaf_index"])
    following = None
    if last is not None:
        place = Cursor(last.time_us, last.leaf_index, at_size, query.fingerprint)
        following = cursor_text(place)
    return Page(
        items=[_item(row) for row in rows],
        next_cursor=following,
        at_size=at_size,
        examined_to=None if stop is None else time_text(stop.time_us),
    )


def _item(row: sqlite3.Row) -> RecordItem:
    return RecordItem(
        **{column: row[column] for column in _PLAIN_COLUMNS},
        received=time_text(row["received_us"]),
        time=time_text(row["time_us"]),
        record_hash=hash_text(row["record_hash"]),
        of=row["of_id"],
        grade=row["grade"],
        certified=bool(row["certified"]),
        untrusted=bool(row["untrusted"]),
        categories=sorted(msgspec.json.decode(row["categories"], type=list[str])),
    )


def detail(connection: sqlite3.Connection, log: Log | None, name: str) -> RecordDetail:
    """One record by its id or record hash. Raises Refused (``not_found``)."""
    if log is None:
        raise Refused("not_found")
    column, value = _lookup(name)
    row = connection.execute(
        "SELECT leaf_index, received_us, kid, record_hash, payload, signature"  # noqa: S608
        f" FROM record WHERE log = ? AND {column} = ? ORDER BY leaf_index LIMIT 1",
        (log.log, value),
    ).fetchone()
    if row is None:
        raise Refused("not_found")
    leaf_index, received_us, kid, digest, payload, signature = row
    leading = record.decode_leading(payload)
    certificate = connection.execute(
        "SELECT envelope FROM certificate WHERE log = ? AND kid = ?"
        " ORDER BY not_after_us DESC LIMIT 1",
        (log.log, kid),
    ).fetchone()
    completions = connection.execute(
        "SELECT id FROM record WHERE log = ? AND of_id = ? AND instance = ? ORDER BY leaf_index",
        (log.log, leading.id, leading.chain.instance),
    ).fetchall()
    return RecordDetail(
        leading=leading,
        payload=base64.b64encode(payload).decode(),
        signature=base64.b64encode(signature).decode(),
        envelope=seal.envelope(documents.RECORD, payload, [(kid, signature)]),
        record_hash=hash_text(digest),
        leaf_index=leaf_index,
        received=time_text(received_us),
        certificate=None if certificate is None else seal.parse_envelope(certificate[0]),
        revocations=revocations_of(connection, log.log, kid),
        completions=[found for (found,) in completions],
    )


def _lookup(name: str) -> tuple[str, Parameter]:
    if not name.startswith("sha256:"):
        return "id", name
    try:
        return "record_hash", hash_bytes(name)
    except ValueError as error:
        raise Refused("not_found") from error
