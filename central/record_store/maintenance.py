"""The store's database, for commands beside the running service.

SQLite lets a second process write in between; each act is one transaction, as in the service.

Owns: opening it with the keys that the configuration names, and leaving its acts to be recorded.
Refuses: HTTP, acting by itself, and proving who runs it: that is for the machine to know.
"""

from __future__ import annotations

import os
import pwd
import sqlite3
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self, TypeVar

from central.acts import Act
from central.config import CentralConfig
from central.keys import RootFiles, read_secret, read_signer
from central.record_store import pending, reopening
from central.record_store.logs import Logbook
from gateway import checkpoint, limits, seal
from gateway.acknowledgement import LogKeys
from gateway.cutting import json_bytes
from gateway.documents import Envelope, LogStatement
from gateway.errors import ConfigInvalid
from gateway.io.clock import SystemClock

ResultT = TypeVar("ResultT")

_BUSY_SECONDS = 30.0


class Maintenance:
    """One store's database. Raises ConfigInvalid: no database yet, a key that the root does not
    name."""

    def __init__(self, config: CentralConfig) -> None:
        self._config = config
        self._root_files = RootFiles(config.roots_directory, config.root_fingerprint)
        self._signer = read_signer(config.keys.log, "log")
        self._root_files.require(self._signer, "log")
        self._logbook = Logbook(config.log_host, [self._signer])
        path = os.path.join(config.data_directory, "records.db")
        if not os.path.exists(path):
            raise ConfigInvalid(f"{path}: there is no record store's database")
        self._connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
        self._connection.execute("PRAGMA synchronous=FULL")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()

    def reopen(
        self,
        tenant: str,
        region: str,
        reason: str,
        last_checkpoint: str | None,
        revocation_keys: Sequence[str],
        who: str | None = None,
    ) -> LogStatement:
        """Close the log and open the next, signed by the log's key and those in these files.

        ``who``: does it, for the record; None for the owner of this process. Raises Refused and
        ConfigInvalid; then nothing changed.
        """

        def work(connection: sqlite3.Connection) -> LogStatement:
            envelope = self._drafted(
                connection, tenant, region, reason, last_checkpoint, revocation_keys
            )
            return self._installed(connection, envelope, who)

        return self._write(work)

    def draft(
        self,
        tenant: str,
        region: str,
        reason: str,
        last_checkpoint: str | None,
        revocation_keys: Sequence[str],
    ) -> Envelope:
        """The statement that would do it, signed so far; others sign it, then ``install``.

        Raises Refused and ConfigInvalid. The log goes on meanwhile.
        """
        return self._write(
            lambda connection: self._drafted(
                connection, tenant, region, reason, last_checkpoint, revocation_keys
            )
        )

    def install(self, envelope: Envelope, who: str | None = None) -> LogStatement:
        """Close and open as a statement says that both roles signed. Raises Refused."""
        return self._write(lambda connection: self._installed(connection, envelope, who))

    def _drafted(
        self,
        connection: sqlite3.Connection,
        tenant: str,
        region: str,
        reason: str,
        last_checkpoint: str | None,
        revocation_keys: Sequence[str],
    ) -> Envelope:
        if not self._config.has_place(tenant, region):
            raise ConfigInvalid(f"tenant {tenant!r} in region {region!r} is not in tenants")
        signers = [self._signer]
        signers += [seal.Signer(read_secret(path, "revocation")) for path in revocation_keys]
        # A backup from before the first leaf has no log yet, and daemons have seen it.
        log = self._logbook.open(connection, tenant, region)
        now_us = SystemClock().wall_us()
        statement = reopening.draft(connection, log, reason, last_checkpoint, now_us)
        return reopening.sign(statement, signers)

    def _installed(
        self, connection: sqlite3.Connection, envelope: Envelope, who: str | None
    ) -> LogStatement:
        keys = LogKeys(
            log=self._root_files.role("log"), revocation=self._root_files.role("revocation")
        )
        now_us = SystemClock().wall_us()
        statement = reopening.install(connection, self._logbook, envelope, keys, now_us)
        closed = checkpoint.place_of(statement.closed_origin)
        act = Act(
            tenant=closed.tenant,
            region=closed.region,
            who=_process_owner() if who is None else who,
            what="log.reopen",
            why=_fitting(statement.reason),
            parameters={
                "closed_origin": statement.closed_origin,
                "opened_origin": statement.opened_origin,
            },
        )
        pending.leave(connection, act)
        return statement

    def _write(self, work: Callable[[sqlite3.Connection], ResultT]) -> ResultT:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            result = work(self._connection)
            self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        return result


def _fitting(reason: str) -> str | None:
    """``reason`` where a record has room for it; it stands in the statement in any case."""
    return reason if json_bytes(reason) <= limits.ADMIN_TEXT_BYTES_MAX else None


def _process_owner() -> str:
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    return f"{name} at the store's machine"
