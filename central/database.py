"""SQLite as the services use it: one writer, a few readers, all off the event loop.

Owns: connections, their settings, transactions, and the hop to a worker thread. Refuses: SQL of
any table (each service has its ``schema.py``) and retries: a failed commit is the caller's answer.

One writer connection behind a limiter of one, so a transaction never waits for another's lock;
WAL with ``synchronous=FULL``: a commit that was answered survives a power cut
(sqlite.org/pragma.html#pragma_synchronous).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeVar

import anyio
import anyio.to_thread

from central.errors import Refused
from gateway import limits
from gateway.errors import ConfigInvalid

ResultT = TypeVar("ResultT")

Upgrade = Callable[[sqlite3.Connection], None]
"""Turns the tables of one version into those of the next; inside a transaction. It finds the tables
as that version made them, and makes those that it fills."""

OpenDatabase = Callable[[str, str, int, Mapping[int, Upgrade]], "Database"]
"""(path, schema, version, upgrades) → the database of one service. ``Database`` itself, or one
whose work runs inline: a simulated clock cannot see worker threads."""

_BUSY_MS: Final = 5_000
_STATEMENTS_CACHED: Final = 256


class Database:
    """One SQLite file. ``schema``: statements that are safe to repeat, each on lines of its own;
    ``version`` its number; ``upgrades``: by version, what comes first to lead to the one after it.

    All of an upgrade is one transaction. Raises ConfigInvalid when the file cannot be used or was
    written by a newer version.
    """

    def __init__(
        self, path: str, schema: str, version: int, upgrades: Mapping[int, Upgrade]
    ) -> None:
        self.path = path
        try:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            self._writer = self._connect()
            prepare(self._writer, path, schema, version, upgrades)
            os.chmod(path, 0o600)
        except (sqlite3.Error, OSError) as error:
            raise ConfigInvalid(f"database {path}: {error}") from error
        # Idle readers; the limiter bounds how many there ever are.
        self._readers: list[sqlite3.Connection] = []
        self._write_limiter = anyio.CapacityLimiter(1)
        self._read_limiter = anyio.CapacityLimiter(limits.CENTRAL_READERS_MAX)

    def _connect(self) -> sqlite3.Connection:
        # The limiters see to it that a connection is in one thread at a time.
        connection = sqlite3.connect(
            self.path,
            timeout=_BUSY_MS / 1_000,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=_STATEMENTS_CACHED,
        )
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        return connection

    async def write(self, work: Callable[[sqlite3.Connection], ResultT]) -> ResultT:
        """``work`` in one transaction, committed (durable) before this returns.

        Whatever ``work`` raises rolls all of it back. Raises Refused (``storage_failed``).
        """
        return await anyio.to_thread.run_sync(
            _transaction, self._writer, work, limiter=self._write_limiter
        )

    async def read(self, work: Callable[[sqlite3.Connection], ResultT]) -> ResultT:
        """``work`` on a snapshot that no writer changes meanwhile."""
        return await anyio.to_thread.run_sync(self._read, work, limiter=self._read_limiter)

    async def compute(self, work: Callable[[], ResultT]) -> ResultT:
        """``work`` that needs a processor for a while and no connection, off the event loop."""
        return await anyio.to_thread.run_sync(work)

    async def fold(self) -> None:
        """Fold the write-ahead log into the file and empty it: after something was overwritten
        that must not be read any more. While somebody reads, the next commits do it.

        Raises Refused (``storage_failed``); what was committed stays so.
        """
        await anyio.to_thread.run_sync(_fold, self._writer, limiter=self._write_limiter)

    def _read(self, work: Callable[[sqlite3.Connection], ResultT]) -> ResultT:
        try:
            reader = self._readers.pop() if self._readers else self._connect_reader()
            try:
                reader.execute("BEGIN")
                try:
                    return work(reader)
                finally:
                    reader.execute("ROLLBACK")
            finally:
                self._readers.append(reader)
        except sqlite3.Error as error:
            raise Refused("storage_failed", f"reading failed: {error}") from error

    def _connect_reader(self) -> sqlite3.Connection:
        reader = self._connect()
        reader.execute("PRAGMA query_only=ON")
        return reader

    def close(self) -> None:
        """Close every connection; the write-ahead log is folded into the file."""
        for reader in self._readers:
            reader.close()
        self._writer.close()


def _fold(connection: sqlite3.Connection) -> None:
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except sqlite3.Error as error:
        raise Refused("storage_failed", f"the log was not folded into the file: {error}") from error


def _transaction(
    connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], ResultT]
) -> ResultT:
    try:
        connection.execute("BEGIN IMMEDIATE")
        try:
            result = work(connection)
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        raise Refused("storage_failed", f"the transaction was rolled back: {error}") from error
    return result


def prepare(
    connection: sqlite3.Connection,
    path: str,
    schema: str,
    version: int,
    upgrades: Mapping[int, Upgrade],
) -> None:
    """Bring the tables behind ``connection`` to ``version``, in one transaction.

    Raises ConfigInvalid for a file of a newer version, and sqlite3.Error; then nothing changed.
    """
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found > version:
        raise ConfigInvalid(
            f"database {path} has schema {found}, this version knows {version}: upgrade Gatepost"
        )
    connection.execute("BEGIN IMMEDIATE")
    try:
        # A new file has version 0, and the schema is all of it.
        for step in range(found or version, version):
            if step in upgrades:
                upgrades[step](connection)
        for statement in _statements(schema):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version={version}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _statements(script: str) -> Iterator[str]:
    """One by one: ``executescript`` would commit what is open before it begins."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
