"""Four ways to make a record durable before its answer: the spool's, and what it is held against.

All four build, chain and sign the record alike, and none answers before a sync covers it. The
spool with one sync per record is the real spool that never lets two records share a group.
SQLite is in WAL mode with ``synchronous=FULL``, one connection, in a worker thread; once with a
commit per record, and once as somebody would who knows it: one writer, and whatever arrived while
it committed is its next transaction.

Owns: these ways. Refuses: clocks and callers (``commits.py``).
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import anyio
from anyio import CapacityLimiter, to_thread

from bench.ports import WatchedDisk
from gateway.identifier import INSTANCE_BYTES, instance_id
from gateway.io.entropy import SystemEntropy
from gateway.ports import FileSystem, Reservation
from gateway.record import Record
from gateway.seal import SEED_BYTES, Sealed, Sealer, Signer
from spool import read
from spool.commit import Batch, SpoolCommit
from spool.config import SpoolConfig
from spool.spool import Spool

GROUPED = "spool"
UNGROUPED = "spool, ungrouped"
SQLITE = "SQLite, ungrouped"
SQLITE_GROUPED = "SQLite, grouped"
WAYS = 4


class Way(Protocol):
    """``syncs``: of the disk so far; for SQLite its commits, each at least one sync."""

    name: str

    @property
    def syncs(self) -> int: ...

    async def commit(self, draft: Record) -> None:
        """Return once ``draft`` is durable."""

    async def take_stored(self) -> int:
        """How many records are there; they are removed, as those that were shipped are."""


def new_sealer() -> Sealer:
    """The chain of an instance that was drawn just now."""
    entropy = SystemEntropy()
    instance = instance_id(entropy.bytes(INSTANCE_BYTES))
    return Sealer(Signer(entropy.bytes(SEED_BYTES)), instance)


class UngroupedSpool(Spool):
    """The spool with a group of its own for each submit."""

    def submit(
        self, reservation: Reservation, *drafts: Record, unhurried: bool = False
    ) -> SpoolCommit:
        commit = super().submit(reservation, *drafts)
        self._whole_batches.append(self._batch)
        self._batch = Batch()
        return commit


class SpoolWay:
    """The spool on the real disk."""

    def __init__(self, name: str, spool: Spool, disk: WatchedDisk) -> None:
        self.name = name
        self._spool = spool
        self._disk = disk
        self._taken_seq = -1

    @property
    def syncs(self) -> int:
        return self._disk.syncs

    def slow_down(self, seconds: float) -> None:
        """Let each sync of a file take that much longer."""
        self._disk.stall_seconds = seconds

    async def commit(self, draft: Record) -> None:
        await self._spool.submit(self._spool.reserve(1), draft).wait()

    async def take_stored(self) -> int:
        spool, first = self._spool, self._taken_seq + 1

        def count(files: FileSystem) -> int:
            return sum(1 for _ in read.records(files, spool.directory, from_seq=first))

        stored = await self._disk.run(count)
        self._taken_seq = spool.durable_seq
        await spool.acknowledge(spool.durable_seq)
        return stored


class SqliteWay:
    """One SQLite file, one connection, one worker thread."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.syncs = 0
        self._sealer = new_sealer()
        self._limiter = CapacityLimiter(1)
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=FULL")
        self._database.execute(
            "CREATE TABLE records (seq INTEGER PRIMARY KEY, id TEXT NOT NULL,"
            " payload BLOB NOT NULL, signature BLOB NOT NULL)"
        )

    async def commit(self, draft: Record) -> None:
        await self._write([self._sealer.seal(draft)])

    async def _write(self, records: Sequence[Sealed]) -> None:
        await to_thread.run_sync(self._transaction, records, limiter=self._limiter)

    def _transaction(self, records: Sequence[Sealed]) -> None:
        database = self._database
        database.execute("BEGIN IMMEDIATE")
        database.executemany(
            "INSERT INTO records VALUES (?, ?, ?, ?)",
            [(one.seq, one.id, one.payload, one.signature) for one in records],
        )
        database.execute("COMMIT")
        self.syncs += 1

    async def take_stored(self) -> int:
        return await to_thread.run_sync(self._take, limiter=self._limiter)

    def _take(self) -> int:
        (stored,) = self._database.execute("SELECT count(*) FROM records").fetchone()
        self._database.execute("DELETE FROM records")
        return int(stored)

    def close(self) -> None:
        self._database.close()


class GroupedSqliteWay(SqliteWay):
    """Group commit over SQLite; ``run`` is its writer."""

    def __init__(self, name: str, path: Path) -> None:
        super().__init__(name, path)
        self._waiting: list[Sealed] = []
        self._done = anyio.Event()
        self._wake = anyio.Event()

    async def commit(self, draft: Record) -> None:
        self._waiting.append(self._sealer.seal(draft))
        done = self._done
        self._wake.set()
        await done.wait()

    async def run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake = anyio.Event()
            records, done = self._waiting, self._done
            self._waiting, self._done = [], anyio.Event()
            await self._write(records)
            done.set()


@asynccontextmanager
async def open_spools(config: SpoolConfig) -> AsyncIterator[list[SpoolWay]]:
    """The two that are spools, running: the daemon's, then the one with a sync per record."""
    ways: list[SpoolWay] = []
    spools: list[Spool] = []
    async with anyio.create_task_group() as tasks:
        for name, kind in ((GROUPED, Spool), (UNGROUPED, UngroupedSpool)):
            disk, sealer = WatchedDisk(), new_sealer()
            spool = await kind.open(disk, config, sealer, sealer.instance, timer=time.perf_counter)
            tasks.start_soon(spool.run)
            spools.append(spool)
            ways.append(SpoolWay(name, spool, disk))
        yield ways
        for spool in spools:
            await spool.close()
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def open_ways(directory: Path, config: SpoolConfig) -> AsyncIterator[list[Way]]:
    """All four ways, running, on the volume of ``directory``."""
    single = SqliteWay(SQLITE, directory / "single.sqlite")
    grouped = GroupedSqliteWay(SQLITE_GROUPED, directory / "grouped.sqlite")
    try:
        async with open_spools(config) as spools, anyio.create_task_group() as tasks:
            tasks.start_soon(grouped.run)
            yield [*spools, single, grouped]
            tasks.cancel_scope.cancel()
    finally:
        single.close()
        grouped.close()
