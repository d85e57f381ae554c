"""Answers from the store: pages of records, one record, the instances.

Owns: the SQL of reading and the shapes of the answers. Refuses: deciding who may see a tenant
(the caller hands in the one log that is asked) and writing.

A page is cut from one snapshot: the first page pins ``at_size``, later ones see no leaf above it,
so pages neither repeat nor miss a record while new ones arrive.
"""

from __future__ import annotations

import base64
import sqlite3
from typing import Final

import msgspec

from central.errors import Refused
from central.record_store.filters import Cursor, Query, cursor_text
from central.record_store.logs import Log, hash_bytes, hash_text
from central.record_store.revocations import UNTRUSTED, revocations_of
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
    """``at_size``: leaves that the whole query looks at; ``next_cursor``: None on the last page."""

    items: list[RecordItem]
    next_cursor: str | None
    at_size: int


class RecordDetail(msgspec.Struct, frozen=True):
    """``payload`` and ``signature``: base64 of the exact bytes. ``certificate``: the envelope
    that entitles the key, or None while it is uncertified; ``revocations``: what took that key
    back. ``completions``: ids of those."""

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

Parameter = str | int | bytes | None


class Condition(msgspec.Struct):
    """A WHERE clause in the making: SQL of our own words, values only as parameters."""

    clauses: list[str]
    values: list[Parameter]

    def add(self, clause: str, *values: Parameter) -> None:
        """Narrow by ``clause``."""
        self.clauses.append(clause)
        self.values.extend(values)

    @property
    def sql(self) -> str:
        return " AND ".join(self.clauses)


def condition_of(query: Query, log: Log) -> Condition:
    """What ``query`` asks of ``log``, without snapshot, order and cursor."""
    condition = Condition([], [])
    condition.add("r.log = ?", log.log)
    if query.category is not None:
        condition.add("k.log = ? AND k.category = ?", log.log, query.category)
        condition.add("r.leaf_index = k.leaf_index")
    for column, value in query.text.items():
        condition.add(f"r.{column} = ?", value)
    if query.content is not None:
        marks = ",".join("?" * len(query.content.digests))
        condition.add(f"r.{query.content.column} IN ({marks})", *query.content.digests)
    if query.untrusted is not None:
        condition.add(UNTRUSTED if query.untrusted else f"NOT {UNTRUSTED}")
    if query.grade == "on_time":
        condition.add("r.grade IS NULL")
    elif query.grade is not None:
        condition.add("r.grade = ?", query.grade)
    if query.of is not None:
        condition.add("r.of_id = ?", query.of)
    if query.policy_version is not None:
        condition.add("r.policy_version = ?", query.policy_version)
    return condition


def source_of(query: Query) -> str:
    """The FROM clause: the category index leads where a category is asked for, which is what
    CROSS JOIN means to SQLite's planner; and that of a digest before any other."""
    if query.content is not None:
        index = {"input_digest": "record_input", "request_digest": "record_request"}
        found = f"record r INDEXED BY {index[query.content.column]}"
        return found if query.category is None else f"{found} CROSS JOIN category k"
    return "record r" if query.category is None else "category k CROSS JOIN record r"


def add_times(condition: Condition, query: Query, column: str = "r.time_us") -> None:
    """Narrow by ``decided_from`` and ``decided_to``."""
    if query.decided_from_us is not None:
        condition.add(f"{column} >= ?", query.decided_from_us)
    if query.decided_to_us is not None:
        condition.add(f"{column} < ?", query.decided_to_us)


def page_statement(log: Log, query: Query, at_size: int) -> tuple[str, list[Parameter]]:
    """The SELECT of one page and one row more, by which a following page is known."""
    condition = condition_of(query, log)
    side = "r" if query.category is None else "k"
    time, leaf = f"{side}.time_us", f"{side}.leaf_index"
    add_times(condition, query, time)
    # The plus keeps the planner off the leaf index: nearly every leaf is below the size, and the
    # index of the filter gives the order too.
    condition.add(f"+{leaf} < ?", at_size)
    direction, after = ("DESC", "<") if query.order == "newest" else ("ASC", ">")
    if query.cursor is not None:
        place = (query.cursor.time_us, query.cursor.leaf_index)
        condition.add(f"({time}, {leaf}) {after} (?, ?)", *place)
    sql = (
        f"SELECT {_ITEM_COLUMNS} FROM {source_of(query)} WHERE {condition.sql}"  # noqa: S608
        f" ORDER BY {time} {direction}, {leaf} {direction} LIMIT ?"
    )
    return sql, [*condition.values, query.limit + 1]


def page(connection: sqlite3.Connection, log: Log | None, query: Query) -> Page:
    """One page. ``log``: None where nothing was ever received: an empty page."""
    if log is None:
        return Page([], None, 0)
    cursor = query.cursor
    at_size = log.size if cursor is None else min(cursor.at_size, log.size)
    reading = connection.cursor()
    reading.row_factory = sqlite3.Row
    rows = reading.execute(*page_statement(log, query, at_size)).fetchall()
    more, rows = len(rows) > query.limit, rows[: query.limit]
    following = None
    if more:
        last = rows[-1]
        place = Cursor(last["time_us"], last["leaf_index"], at_size, query.fingerprint)
        following = cursor_text(place)
    return Page([_item(row) for row in rows], following, at_size)


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
        "SELECT leaf_index, received_us, kid, record_hash, payload, signature, id"  # noqa: S608
        f" FROM record WHERE log = ? AND {column} = ? ORDER BY leaf_index LIMIT 1",
        (log.log, value),
    ).fetchone()
    if row is None:
        raise Refused("not_found")
    leaf_index, received_us, kid, digest, payload, signature, record_id = row
    certificate = connection.execute(
        "SELECT envelope FROM certificate WHERE log = ? AND kid = ?"
        " ORDER BY not_after_us DESC LIMIT 1",
        (log.log, kid),
    ).fetchone()
    completions = connection.execute(
        "SELECT id FROM record WHERE log = ? AND of_id = ? ORDER BY leaf_index",
        (log.log, record_id),
    ).fetchall()
    return RecordDetail(
        leading=record.decode_leading(payload),
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
