"""What reading costs: a page for each filter, proofs in a tree of many leaves, memory of the store.

Owns: these figures. Refuses: building what is read (``store_ingest.py``); only the tree that proofs
are made in is built here, of leaves alone.
"""

from __future__ import annotations

import hashlib
import http.client
import sqlite3
import statistics
import time
from collections.abc import Callable
from typing import Final, Literal

import msgspec

from bench.store_feed import Feed
from central.record_store import tree
from central.record_store.filters import Content, Cursor, Query, decode_cursor, read_query
from central.record_store.logs import Log, find_log
from central.record_store.query import Page
from central.record_store.query import page as query_page
from central.record_store.tree import Nodes
from gatepost.home import REGION, TENANT
from gatepost.process import Children
from gatepost.stack import run_central, write_central
from gateway import merkle
from gateway.logproof import Entry, LeafType
from gateway.merkle import Frontier
from gateway.timestamp import time_text

_PROVED_LOG: Final = -2
_CHUNK: Final = 10_000
_REPEATS: Final = 7
_PROOFS: Final = 200
_PIECE_BYTES: Final = 64 * 1024


class Asked(msgspec.Struct, frozen=True):
    """A page of 100 with one filter: the first one, and a deep one that goes on in the middle of
    the log. Milliseconds of CPU, the median of some. ``pages``: how many it takes from the first
    until something is found, or the end is."""

    asked: str
    rows: int
    milliseconds: float
    deep_rows: int
    deep_milliseconds: float
    pages: int


class Proved(msgspec.Struct, frozen=True):
    """Microseconds of CPU per proof: made and checked."""

    leaves: int
    inclusion_made: float
    inclusion_checked: float
    consistency_made: float
    consistency_checked: float


class Held(msgspec.Struct, frozen=True):
    """Resident memory of a ``gatepost central`` process over the database, in bytes."""

    started: int
    after_export: int
    exported_bytes: int


def pages(feed: Feed) -> list[Asked]:
    """A page for each filter, newest first, and oldest first without one; for those that answer
    from an index and those that do not, something that is there and something that is not."""
    log = find_log(feed.connection, TENANT, REGION)
    assert log is not None
    middle = feed.connection.execute(
        "SELECT time_us, leaf_index, id, input_digest, request_digest FROM record"
        " WHERE log = ? AND leaf_index >= ? LIMIT 1",
        (log.log, log.size // 2),
    ).fetchone()
    wanted: list[list[tuple[str, str]]] = [
        [],
        [("order", "oldest")],
        [("person", "person-7@acme")],
        [("person", "nobody@acme")],
        [("agent", "agent-7")],
        [("model", "gpt-4.1")],
        [("provider", "openai")],
        [("provider", "none")],
        [("operation", "chat")],
        [("operation", "none")],
        [("outcome", "deny")],
        [("outcome", "deny"), ("person", "person-0@acme")],
        [("outcome", "allow"), ("level", "public")],
        [("agent", "agent-7"), ("level", "public")],
        [("reason", "no_grant")],
        [("reason", "none")],
        [("level", "confidential")],
        [("level", "public")],
        [("category", "secret.key")],
        [("category", "secret.key"), ("tool", "none")],
        [("tool", "none")],
        [("tool_server", "none")],
        [("route", "openai")],
        [("route", "none")],
        [("kind", "decision")],
        [("kind", "admin")],
        [("grade", "late")],
        [("grade", "on_time"), ("level", "public")],
        [("instance", feed.instance)],
        [("instance", feed.instance), ("tool", "none")],
        [("of", str(middle[2]))],
        [("policy_version", "7")],
        [("policy_digest", "sha256:" + "0" * 64)],
        [("untrusted", "1")],
        [("decided_to", time_text(middle[0]))],
    ]
    deep = Cursor(middle[0], middle[1], log.size, "")
    found = [_asked(feed, log, _shown(one), read_query(one), deep) for one in wanted]
    columns: tuple[Literal["input_digest", "request_digest"], ...] = (
        "input_digest",
        "request_digest",
    )
    for column, there in zip(columns, middle[3:], strict=True):
        for name, digest in (("there", there), ("not there", bytes(32))):
            query = msgspec.structs.replace(read_query([]), content=Content(column, (digest,)))
            found.append(_asked(feed, log, f"search {column}, {name}", query, deep))
    return found


def _shown(parameters: list[tuple[str, str]]) -> str:
    return " ".join(f"{name}={value[:24]}" for name, value in parameters) or "no filter"


def _asked(feed: Feed, log: Log, shown: str, query: Query, deep: Cursor) -> Asked:
    first, milliseconds = _timed(feed, log, query)
    place = msgspec.structs.replace(query, cursor=deep)
    further, deep_milliseconds = _timed(feed, log, place)
    count, found = 1, first
    while not found.items and found.next_cursor is not None:
        cursor = decode_cursor(found.next_cursor)
        found = query_page(feed.connection, log, msgspec.structs.replace(query, cursor=cursor))
        count += 1
    return Asked(
        shown, len(first.items), milliseconds, len(further.items), deep_milliseconds, count
    )


def _timed(feed: Feed, log: Log, query: Query) -> tuple[Page, float]:
    taken = []
    for _ in range(_REPEATS):
        started = time.process_time()
        page = query_page(feed.connection, log, query)
        taken.append((time.process_time() - started) * 1e3)
    return page, statistics.median(taken)


def proofs(connection: sqlite3.Connection, leaves: int, progress: Callable[[int], None]) -> Proved:
    """Proofs at ``leaves`` leaves, from tiles on disk, each with nothing remembered."""
    connection.execute("PRAGMA foreign_keys=OFF")
    frontier = Frontier()
    hashes: list[bytes] = []
    while frontier.size < leaves:
        first = frontier.size
        count = min(_CHUNK, leaves - first)
        hashes = [_leaf(first + at) for at in range(count)]
        connection.execute("BEGIN IMMEDIATE")
        tree.append(connection, _PROVED_LOG, frontier, hashes)
        connection.execute("COMMIT")
        progress(frontier.size)
    root = frontier.root()
    step = max(1, leaves // _PROOFS)
    indexes = range(0, leaves, step)
    spent = [0.0] * 4
    for index in indexes:
        started = time.process_time()
        proof = merkle.inclusion_proof(index, leaves, Nodes(connection, _PROVED_LOG))
        made = time.process_time()
        assert merkle.root_of_inclusion(_leaf(index), index, leaves, proof) == root
        checked = time.process_time()
        spent[0] += made - started
        spent[1] += checked - made
    for old in indexes:
        nodes = Nodes(connection, _PROVED_LOG)
        old_root = merkle.span_hash((0, old), nodes) if old else merkle.EMPTY_ROOT
        started = time.process_time()
        proof = merkle.consistency_proof(old, leaves, Nodes(connection, _PROVED_LOG))
        made = time.process_time()
        merkle.check_consistency(old, old_root, leaves, root, proof)
        checked = time.process_time()
        spent[2] += made - started
        spent[3] += checked - made
    per = [seconds * 1e6 / len(indexes) for seconds in spent]
    return Proved(leaves, per[0], per[1], per[2], per[3])


def _leaf(number: int) -> bytes:
    digest = hashlib.sha256(number.to_bytes(8, "big")).digest()
    return Entry(LeafType.RECORD, number, digest).leaf_hash()


def memory(feed: Feed) -> Held:
    """The store as a process of its own, before and after an export of everything."""
    write_central(feed.home, 0)
    token = feed.home.operator_token.read_text().strip()
    with Children(feed.home.logs) as children:
        central = run_central(children, feed.home)
        address = str(central.wait_ready()["url"]).removeprefix("http://")
        started = _resident(central.pid)
        connection = http.client.HTTPConnection(address, timeout=600)
        connection.request(
            "GET", "/v1/exports?complete=1", headers={"authorization": f"Bearer {token}"}
        )
        answer = connection.getresponse()
        assert answer.status == 200, answer.read(500)
        size = 0
        while piece := answer.read(_PIECE_BYTES):
            size += len(piece)
        connection.close()
        return Held(started, _resident(central.pid, peak=True), size)


def _resident(pid: int, *, peak: bool = False) -> int:
    name = "VmHWM:" if peak else "VmRSS:"
    with open(f"/proc/{pid}/status") as file:
        line = next(line for line in file if line.startswith(name))
    return int(line.split()[1]) * 1_024
