"""What taking in records costs the store, step by step, against a bare insert of the same rows.

The way of a batch is that of ``POST /v1/records`` without HTTP: unpack, decode and verify, then one
transaction. The steps inside are timed alone, on the same batches, in the same run; what is left of
the whole is the judgement and the rows. The bare insert puts the finished rows into the same table
with the same indexes, a transaction per batch: what any store of these records has to do.

Owns: these figures, as CPU time of this process. Refuses: HTTP and syncs, which are the disk's.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from bench.store_feed import BATCH, Feed, now_us, opened
from central.record_store import answer, batch, certificates, tree
from central.record_store.answer import LeafPlace
from central.record_store.ingest import Arrival, ingest
from central.record_store.logs import find_log
from gatepost.home import REGION, TENANT
from gateway import checkpoint, seal
from gateway.checkpoint import Checkpoint
from gateway.logproof import Entry, LeafType
from gateway.merkle import Frontier

STEPS: Final = (
    "gunzip",
    "decode",
    "Ed25519",
    "judge and rows",
    "insert",
    "tree",
    "checkpoint",
    "proof",
)


class Ingested(msgspec.Struct, frozen=True):
    """Microseconds of CPU per record. ``steps``: in the order of ``STEPS``; ``bare``: the insert
    alone, which is also the step of that name."""

    records: int
    whole: float
    steps: dict[str, float]
    bare: float
    database_bytes: int

    @property
    def records_per_second(self) -> float:
        return 1e6 / self.whole

    @property
    def share(self) -> float:
        """Of the speed of a bare insert."""
        return self.bare / self.whole


class _Spent:
    """CPU seconds by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def __call__(self, name: str, started: float) -> float:
        now = time.process_time()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - started
        return time.process_time()


def run(feed: Feed, records: int, progress: Callable[[int], None]) -> Ingested:
    """Take ``records`` in; the database is left for others to read."""
    spent = _Spent()
    done = 0
    for body in feed.batches(records):
        items = _take(feed, body, spent)
        _alone(feed, items, spent)
        done += len(items)
        progress(done)
    bare = _bare(feed, spent)
    assert bare == records
    per = {name: seconds * 1e6 / records for name, seconds in spent.seconds.items()}
    whole = per["gunzip"] + per["read"] + per["write"]
    inside = per["insert"] + per["tree"] + per["checkpoint"] + per["proof"]
    steps = {
        **per,
        "decode": per["read"] - per["Ed25519"],
        "judge and rows": max(0.0, per["write"] - inside),
    }
    return Ingested(
        records=records,
        whole=whole,
        steps={name: steps[name] for name in STEPS},
        bare=per["insert"],
        database_bytes=feed.path.stat().st_size,
    )


def _take(feed: Feed, body: bytes, spent: _Spent) -> list[batch.Item]:
    """As ``RecordStore.keep_records``."""
    connection = feed.connection
    started = time.process_time()
    data = batch.decompress(body, "gzip")
    started = spent("gunzip", started)
    log = find_log(connection, TENANT, REGION)
    keyring = certificates.keyring_of(
        connection, None if log is None else log.log, feed.instance, feed.issuer_keys
    )
    items = batch.read_batch(batch.split(data), keyring, TENANT, REGION, None)
    started = spent("read", started)
    arrival = Arrival(
        tenant=TENANT,
        region=REGION,
        sender=feed.instance,
        instance=feed.instance,
        items=items,
        keyring=keyring,
        received_us=now_us(),
        log_seen=None,
    )
    connection.execute("BEGIN IMMEDIATE")
    told = ingest(connection, arrival, feed.logbook)
    connection.execute("COMMIT")
    spent("write", started)
    assert told.exceptions == [], told.exceptions[:3]
    return items


def _alone(feed: Feed, items: list[batch.Item], spent: _Spent) -> None:
    """The steps inside, each once more and by itself; nothing of it is kept."""
    connection = feed.connection
    log = find_log(connection, TENANT, REGION)
    assert log is not None
    first = log.size - len(items)
    places = [LeafPlace(item.seq, first + at, 0) for at, item in enumerate(items)]
    framed = [seal.record_pae(item.payload) for item in items]
    started = time.process_time()
    for text, item in zip(framed, items, strict=True):
        assert seal.verify(text, item.signature, feed.public)
    started = spent("Ed25519", started)
    found = Checkpoint(log.origin, log.size, bytes(32))
    checkpoint.write(found, [feed.signer]).encode()
    started = spent("checkpoint", started)
    answer.prove(connection, log, found, places, None)
    spent("proof", started)
    _grow(feed, items, spent)


def _grow(feed: Feed, items: list[batch.Item], spent: _Spent) -> None:
    """The tree's step, beside the real one: leaves into the tree of a log that is rolled back."""
    connection = feed.connection
    connection.execute("BEGIN IMMEDIATE")
    started = time.process_time()
    frontier = Frontier()
    rows = [(-1, at, 1, 0, item.hash) for at, item in enumerate(items)]
    connection.executemany("INSERT INTO leaf VALUES (?,?,?,?,?)", rows)
    leaves = [Entry(LeafType.RECORD, 0, item.hash).leaf_hash() for item in items]
    tree.append(connection, -1, frontier, leaves)
    spent("tree", started)
    connection.execute("ROLLBACK")


def _bare(feed: Feed, spent: _Spent) -> int:
    """Every row of the table of records into another of the same form; returns how many."""
    target_path: Path = feed.path.with_name("bare.db")
    target = opened(target_path)
    target.execute("PRAGMA foreign_keys=OFF")
    reading = feed.connection.execute("SELECT * FROM record ORDER BY leaf_index")
    marks = ",".join("?" * len(reading.description))
    count = 0
    while rows := reading.fetchmany(BATCH):
        started = time.process_time()
        target.execute("BEGIN IMMEDIATE")
        target.executemany(f"INSERT INTO record VALUES ({marks})", rows)
        target.execute("COMMIT")
        spent("insert", started)
        count += len(rows)
    target.close()
    for path in target_path.parent.glob("bare.db*"):
        path.unlink()
    return count
