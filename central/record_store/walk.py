"""How a page finds its rows: which index it walks, from where, and how far.

A page walks one index in the order of time. What that index does not answer is checked row by row,
and a filter that finds little would walk the whole log; so a page examines ``limits`` rows at the
most, and then answers with what it found, possibly nothing, and a cursor to go on from.

Owns: the choice of the index, the bound, and the SELECT of one page. Refuses: what a query means
(``condition.py``) and what is shown of a row (``query.py``).
"""

from __future__ import annotations

import sqlite3
from typing import Final

import msgspec

from central.record_store.condition import Condition, Parameter, condition_of
from central.record_store.filters import Content, Query
from central.record_store.logs import Log
from gateway import limits

_INDEXES: Final = (
    ("of", "of_id", "record_of"),
    ("person", "person", "record_person"),
    ("instance", "instance", "record_instance"),
    ("policy_version", "policy_version", "record_policy"),
    ("agent", "agent", "record_agent"),
    ("model", "model", "record_model"),
    ("grade", "grade", "record_grade"),
    ("outcome", "outcome", "record_outcome"),
)
"""Filter, column and index, what names fewer rows first. A category comes before all of them, a
digest before a category."""
_DIGEST_INDEXES: Final = {"input_digest": "record_input", "request_digest": "record_request"}
_IN_ROW_OF_TIME: Final = frozenset(
    {
        "kind",
        "reason",
        "level",
        "operation",
        "provider",
        "route",
        "tool",
        "tool_server",
        "policy_digest",
    }
)
"""Filters that the index of times answers without the row."""


class Place(msgspec.Struct, frozen=True):
    """A row in the order of time."""

    time_us: int
    leaf_index: int


class Walk(msgspec.Struct, frozen=True):
    """One index. ``source``: the FROM clause; ``side``: the table whose rows are walked;
    ``clause``: what the index itself answers, by ``values``; ``rows_max``: how many rows are
    examined, None where the index names no others than those that are shown, or few."""

    source: str
    side: str
    clause: str
    values: tuple[Parameter, ...]
    rows_max: int | None


def walk_of(connection: sqlite3.Connection, log: Log, query: Query) -> Walk:
    """The walk that a page of ``query`` takes."""
    content = query.content
    if content is not None and _is_rare(connection, log, content):
        source = f"record r INDEXED BY {_DIGEST_INDEXES[content.column]}"
        if query.category is not None:
            return Walk(f"{source} CROSS JOIN category k", "k", "", (), None)
        return Walk(source, "r", "", (), None)
    if query.category is not None:
        others = _filters(query) - {"category"}
        clause, most = "k.log = ? AND k.category = ?", _most(others, frozenset())
        values = (log.log, query.category)
        return Walk("category k CROSS JOIN record r", "k", clause, values, most)
    for name, column, index in _INDEXES:
        value = _value(query, name)
        if value is not None:
            clause, most = (
                f"r.log = ? AND r.{column} = ?",
                _most(_filters(query) - {name}, frozenset()),
            )
            return Walk(f"record r INDEXED BY {index}", "r", clause, (log.log, value), most)
    most = _most(_filters(query), _IN_ROW_OF_TIME)
    return Walk("record r INDEXED BY record_time", "r", "r.log = ?", (log.log,), most)


def _is_rare(connection: sqlite3.Connection, log: Log, content: Content) -> bool:
    """Whether so few records have one of the digests that all of them can be put in order. What
    was said more often than that is soon found by walking through the times."""
    marks = ",".join("?" * len(content.digests))
    (found,) = connection.execute(
        "SELECT count(*) FROM (SELECT 1 FROM record"  # noqa: S608 - our own words
        f" INDEXED BY {_DIGEST_INDEXES[content.column]}"
        f" WHERE log = ? AND {content.column} IN ({marks}) LIMIT ?)",
        (log.log, *content.digests, limits.QUERY_ROWS_READ_MAX + 1),
    ).fetchone()
    return int(found) <= limits.QUERY_ROWS_READ_MAX


def _filters(query: Query) -> set[str]:
    """The names of what is asked for, but for times."""
    names = ("of", "category", "policy_version", "untrusted", "grade", "content")
    return {*query.text, *(name for name in names if getattr(query, name) is not None)}


def _value(query: Query, name: str) -> Parameter:
    if name == "grade":
        return None if query.grade == "on_time" else query.grade
    if name in ("of", "policy_version"):
        value: Parameter = query.of if name == "of" else query.policy_version
        return value
    return query.text.get(name)


def _most(unanswered: set[str], in_index: frozenset[str]) -> int | None:
    if not unanswered:
        return None
    whole_rows = unanswered - in_index
    return limits.QUERY_ROWS_READ_MAX if whole_rows else limits.QUERY_ROWS_EXAMINED_MAX


def stop_of(
    connection: sqlite3.Connection, log: Log, query: Query, at_size: int, walk: Walk
) -> Place | None:
    """The last row that a page examines, or None where it need not stop before the end."""
    most = walk.rows_max
    if most is None and walk.clause and log.size - at_size > limits.QUERY_ROWS_EXAMINED_MAX:
        # What came since the first page is passed over, and may be much.
        most = limits.QUERY_ROWS_EXAMINED_MAX
    if most is None:
        return None
    condition = Condition([walk.clause], list(walk.values))
    _add_span(condition, query, walk.side, None)
    row = connection.execute(
        f"SELECT {walk.side}.time_us, {walk.side}.leaf_index"  # noqa: S608 - our own words
        f" FROM {walk.source.partition(' CROSS ')[0]} WHERE {condition.sql}"
        f" {_order(query, walk.side)} LIMIT 1 OFFSET ?",
        (*condition.values, most - 1),
    ).fetchone()
    return None if row is None else Place(*row)


def page_statement(
    columns: str, log: Log, query: Query, at_size: int, walk: Walk, stop: Place | None
) -> tuple[str, list[Parameter]]:
    """The SELECT of ``columns`` of one page, and of one row more, by which a following page is
    known."""
    condition = condition_of(query, log)
    _add_span(condition, query, walk.side, stop)
    # The plus keeps the planner off the leaf index: nearly every leaf is below the size, and the
    # index of the filter gives the order too.
    condition.add(f"+{walk.side}.leaf_index < ?", at_size)
    sql = (
        f"SELECT {columns} FROM {walk.source} WHERE {condition.sql}"  # noqa: S608 - our own words
        f" {_order(query, walk.side)} LIMIT ?"
    )
    return sql, [*condition.values, query.limit + 1]


def _order(query: Query, side: str) -> str:
    direction = "DESC" if query.order == "newest" else "ASC"
    return f"ORDER BY {side}.time_us {direction}, {side}.leaf_index {direction}"


def _add_span(condition: Condition, query: Query, side: str, stop: Place | None) -> None:
    """Narrow to what lies after the cursor, up to ``stop``, within the times of ``query``.

    SQLite walks between one bound on each side. The plus takes the wider one out of its choice.
    """
    newest = query.order == "newest"
    after, until = ("<", ">=") if newest else (">", "<=")
    place = f"({side}.time_us, {side}.leaf_index)"
    if query.cursor is not None:
        cursor = query.cursor
        condition.add(f"{place} {after} (?, ?)", cursor.time_us, cursor.leaf_index)
    if stop is not None:
        condition.add(f"{place} {until} (?, ?)", stop.time_us, stop.leaf_index)
    above, below = (query.cursor, stop) if newest else (stop, query.cursor)
    if query.decided_from_us is not None:
        plus = "" if below is None else "+"
        condition.add(f"{plus}{side}.time_us >= ?", query.decided_from_us)
    if query.decided_to_us is not None:
        plus = "" if above is None else "+"
        condition.add(f"{plus}{side}.time_us < ?", query.decided_to_us)
