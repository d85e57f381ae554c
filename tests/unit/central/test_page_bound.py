"""A page examines so many rows and no more, and whoever follows its cursor misses nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from central.record_store.filters import Content, Query, read_query
from central.record_store.logs import find_log
from central.record_store.query import Page, page
from central.record_store.walk import Place, page_statement, stop_of, walk_of
from gateway import limits
from gateway.timestamp import time_text
from tests.unit.central.deployment import NOW_US, REGION, TENANT
from tests.unit.central.test_query import CALLS, Filled

BOUND = 4


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    made = Filled(tmp_path_factory.mktemp("central"))
    with made.http:
        made.fill()
        yield made


@pytest.fixture
def bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.limits.QUERY_ROWS_EXAMINED_MAX", BOUND)
    monkeypatch.setattr("gateway.limits.QUERY_ROWS_READ_MAX", BOUND)


def walked(filled: Filled, **asked: str | int) -> list[dict[str, Any]]:
    """Every page of a query."""
    pages = [filled.get("/v1/records", **asked)]
    while pages[-1]["next_cursor"] is not None:
        pages.append(filled.get("/v1/records", **asked, cursor=pages[-1]["next_cursor"]))
    return pages


def turned(filled: Filled, asked: dict[str, str | int], limit: int) -> list[Page]:
    """The same without HTTP, and without a record of each."""
    connection = sqlite3.connect(f"{filled.directory}/data/records.db")
    log = find_log(connection, TENANT, REGION)
    given = {name: str(value) for name, value in {**asked, "limit": limit}.items()}
    pages = [page(connection, log, read_query(given.items()))]
    while (cursor := pages[-1].next_cursor) is not None:
        pages.append(page(connection, log, read_query({**given, "cursor": cursor}.items())))
    connection.close()
    return pages


def test_a_filter_that_finds_nothing_ends_each_page_at_the_bound_and_goes_on(
    filled: Filled, bounded: None
) -> None:
    pages = walked(filled, tool="none", instance=filled.first.instance)
    assert len(pages) == len(filled.sealed) // BOUND + 1
    assert all(one["items"] == [] for one in pages)
    stops = [one["examined_to"] for one in pages]
    assert stops[-1] is None
    assert stops[:-1] == sorted(stops[:-1], reverse=True)
    assert {one["at_size"] for one in pages} == {pages[0]["at_size"]}


@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize(
    "asked",
    [
        {"kind": "decision"},
        {"kind": "seal"},
        {"level": "confidential"},
        {"person": "person-3", "level": "confidential"},
        {"category": "pii.email", "person": "person-1"},
        {"policy_version": 0, "kind": "decision"},
        {"grade": "on_time", "outcome": "allow"},
        {"untrusted": 0, "kind": "completion"},
        {
            "kind": "decision",
            "decided_from": time_text(NOW_US + 3_000_000),
            "decided_to": time_text(NOW_US + 20_000_000),
        },
    ],
)
def test_pages_that_stop_at_the_bound_miss_and_repeat_nothing(
    filled: Filled, monkeypatch: pytest.MonkeyPatch, asked: dict[str, str | int], order: str
) -> None:
    asked = {"order": order, **asked}
    (whole,) = turned(filled, asked, 100)
    assert whole.items
    monkeypatch.setattr("gateway.limits.QUERY_ROWS_EXAMINED_MAX", BOUND)
    monkeypatch.setattr("gateway.limits.QUERY_ROWS_READ_MAX", BOUND)
    for limit in (3, 100):
        pages = turned(filled, asked, limit)
        assert [one.id for found in pages for one in found.items] == [one.id for one in whole.items]
        assert all(len(one.items) <= min(limit, BOUND) for one in pages)
    assert [one for one in pages if one.examined_to is None] == pages[-1:]


def test_a_page_of_what_an_index_names_stops_nowhere_but_when_it_is_full(
    filled: Filled, bounded: None
) -> None:
    pages = walked(filled, policy_version=1, instance=filled.first.instance, limit=3)
    assert any(one["examined_to"] for one in pages), "two indexed filters: one is checked"
    for asked in ({"policy_version": 1}, {"person": "person-3"}, {"category": "pii.email"}):
        found = walked(filled, **asked, decided_to=time_text(NOW_US + 90_000_000), limit=3)
        assert [one["examined_to"] for one in found] == [None] * len(found)


class _Steps:
    """Steps of SQLite's machine."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.taken = 0
        connection.set_progress_handler(self._one, 10)

    def _one(self) -> int:
        self.taken += 10
        return 0


def test_the_work_of_a_page_does_not_grow_with_the_log(filled: Filled, bounded: None) -> None:
    """Ten times as many records: the same steps of SQLite for a page, within a few."""
    connection = sqlite3.connect(f"{filled.directory}/data/records.db", isolation_level=None)
    log = find_log(connection, TENANT, REGION)
    assert log is not None
    content = Content("input_digest", (bytes(32),))
    queries: list[Query] = [
        read_query([("tool", "none")]),
        read_query([("untrusted", "1")]),
        read_query([("agent", "claims-bot"), ("tool", "none")]),
        read_query([("category", "pii.email"), ("person", "nobody")]),
        read_query([("reason", "none"), ("decided_to", time_text(NOW_US + 90_000_000))]),
        msgspec.structs.replace(read_query([("tool", "none")]), content=content),
    ]
    connection.execute("BEGIN")
    connection.execute("UPDATE record SET input_digest = zeroblob(32) WHERE kind = 'decision'")
    before = [_steps_of(connection, query) for query in queries]
    columns = [row[1] for row in connection.execute("PRAGMA table_info(record)")]
    moved = {"leaf_index": "leaf_index + {0}", "seq": "seq + {0}", "time_us": "time_us + {0}"}
    for times in range(1, 10):
        values = (moved.get(name, name).format(times * log.size) for name in columns)
        connection.execute(
            f"INSERT INTO record SELECT {', '.join(values)} FROM record WHERE leaf_index < ?",
            (log.size,),
        )
        connection.execute(
            "INSERT INTO category SELECT log, category, time_us + ?1, leaf_index + ?1"
            " FROM category WHERE leaf_index < ?2",
            (times * log.size, log.size),
        )
    connection.execute("UPDATE log SET size = size * 10 WHERE log = ?", (log.log,))
    after = [_steps_of(connection, query) for query in queries]
    connection.execute("ROLLBACK")
    connection.close()
    assert all(much < few + 200 for few, much in zip(before, after, strict=True)), (before, after)


def _steps_of(connection: sqlite3.Connection, query: Query) -> int:
    log = find_log(connection, TENANT, REGION)
    steps = _Steps(connection)
    found = page(connection, log, query)
    connection.set_progress_handler(None, 0)
    assert found.items == []
    assert found.examined_to is not None
    return steps.taken


def test_what_was_said_too_often_to_be_sorted_is_found_by_time(
    filled: Filled, bounded: None
) -> None:
    connection = sqlite3.connect(f"{filled.directory}/data/records.db", isolation_level=None)
    log = find_log(connection, TENANT, REGION)
    assert log is not None
    connection.execute("BEGIN")
    connection.execute("UPDATE record SET input_digest = zeroblob(32) WHERE kind = 'decision'")
    asked = msgspec.structs.replace(
        read_query([("limit", "3")]), content=Content("input_digest", (bytes(32), b"\1" * 32))
    )
    seqs: list[int] = []
    while True:
        found = page(connection, log, asked)
        seqs += [one.seq for one in found.items]
        if found.next_cursor is None:
            break
        following = read_query([("limit", "3"), ("cursor", found.next_cursor)])
        asked = msgspec.structs.replace(following, content=asked.content)
    walk = walk_of(connection, log, asked)
    connection.execute("ROLLBACK")
    connection.close()
    assert len(seqs) == CALLS
    assert seqs == sorted(seqs, reverse=True)
    assert "record_time" in walk.source


def test_a_walk_begins_at_the_cursor_and_ends_at_the_stop_in_the_index(filled: Filled) -> None:
    """A wider bound on the same side would make SQLite walk from there."""
    connection = sqlite3.connect(f"{filled.directory}/data/records.db")
    log = find_log(connection, TENANT, REGION)
    assert log is not None
    asked = {"reason": "none", "decided_from": time_text(0), "decided_to": time_text(NOW_US * 2)}
    query = read_query(asked.items())
    walk = walk_of(connection, log, query)
    stop = stop_of(connection, log, query, log.size, walk)
    assert (walk.rows_max, stop) == (limits.QUERY_ROWS_EXAMINED_MAX, None)
    sql, values = page_statement("r.id", log, query, log.size, walk, Place(NOW_US, 1))
    (step, *_) = connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)
    connection.close()
    assert "(time_us,leaf_index)>(?,?)" in step[3], step
