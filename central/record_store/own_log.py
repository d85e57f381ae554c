"""The shelf of the store's own chains: the log itself.

Owns: taking a record of the store in by the same steps as a daemon's (verified, judged, and a leaf
of the log), and which chains are the store's. Refuses: what stands in them (``own_chain.py``).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

from central.errors import Refused
from central.own_chain import Chain, Head
from central.record_store import batch, certificates
from central.record_store.ingest import Arrival, ingest
from central.record_store.logs import Log, Logbook, hash_text
from gateway import seal
from gateway.ports import WallClock


class OwnLog:
    """Implements ``own_chain.Shelf`` for the chains of one ``service`` in the store's process."""

    def __init__(
        self,
        service: str,
        issuer_keys: Callable[[], dict[str, bytes]],
        logbook: Logbook,
        clock: WallClock,
    ) -> None:
        self._service = service
        self._issuer_keys = issuer_keys
        self._logbook = logbook
        self._clock = clock

    def head(self, connection: sqlite3.Connection, chain: Chain) -> Head | None:
        return _head_of(connection, self._log(connection, chain), chain.instance)

    def predecessor(self, connection: sqlite3.Connection, chain: Chain) -> tuple[str, Head] | None:
        log = self._log(connection, chain)
        row = connection.execute(
            "SELECT instance FROM own_instance WHERE log = ? AND service = ?"
            " ORDER BY number DESC LIMIT 1",
            (log.log, self._service),
        ).fetchone()
        head = None if row is None else _head_of(connection, log, row[0])
        return None if head is None else (row[0], head)

    def begun(self, connection: sqlite3.Connection, chain: Chain) -> None:
        connection.execute(
            "INSERT INTO own_instance (log, instance, service) VALUES (?,?,?)",
            (self._log(connection, chain).log, chain.instance, self._service),
        )

    def keep(
        self, connection: sqlite3.Connection, chain: Chain, records: Sequence[seal.Sealed]
    ) -> None:
        log = self._log(connection, chain)
        keyring = certificates.keyring_of(connection, log.log, chain.instance, self._issuer_keys())
        lines = [one.envelope_line() for one in records]
        answer = ingest(
            connection,
            Arrival(
                tenant=chain.tenant,
                region=chain.region,
                sender=chain.instance,
                instance=chain.instance,
                items=batch.read_batch(lines, keyring, chain.tenant, chain.region, None),
                keyring=keyring,
                received_us=self._clock.wall_us(),
                log_seen=None,
            ),
            self._logbook,
        )
        if answer.exceptions:
            raise Refused("storage_failed", "the store does not take its own record")

    def _log(self, connection: sqlite3.Connection, chain: Chain) -> Log:
        return self._logbook.open(connection, chain.tenant, chain.region)


def _head_of(connection: sqlite3.Connection, log: Log, instance: str) -> Head | None:
    row = connection.execute(
        "SELECT head_seq, head_hash, sealed_seq FROM instance"
        " WHERE log = ? AND instance = ? AND head_seq >= 0",
        (log.log, instance),
    ).fetchone()
    return None if row is None else Head(row[0], hash_text(row[1]), row[2] is not None)
