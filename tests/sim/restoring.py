"""The record store is put back to an older backup, as ``docs/operations.md`` says how.

Only the database changes: the services are away meanwhile. Its log is closed and the next one
opened through the store's own code, by a statement of two roles.

Owns: backup, restoring, and the book of what is gone for good: records that the store had and
acknowledged, and that were on the node's disk no more. Refuses: judging (``checkers.py``).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Final

from central.record_store import reopening
from central.record_store.logs import Logbook, find_log, newest_checkpoint
from gateway.acknowledgement import LogKeys
from gateway.ports import WallClock
from gateway.roots import RoleKeys
from gateway.seal import Signer
from tests.sim.central import LOG_KEY, REGION, REVOCATION_KEY, TENANT, Central
from tests.sim.ledger import Ledger
from tests.sim.twists import name_of

_HOST: Final = "localhost"


def _role(signer: Signer) -> RoleKeys:
    return RoleKeys({signer.kid: signer.public}, 1)


class Restorer:
    """``held``: ids of the records that are durable on the node's disk now."""

    def __init__(
        self, central: Central, clock: WallClock, ledger: Ledger, held: Callable[[], set[str]]
    ) -> None:
        self._central = central
        self._clock = clock
        self._ledger = ledger
        self._held = held
        self._copy: sqlite3.Connection | None = None
        self._closing: str | None = None

    @property
    def _connection(self) -> sqlite3.Connection:
        return self._central.databases["records"].connection

    def back_up(self) -> None:
        """Keep what the store has now."""
        self._copy = sqlite3.connect(":memory:")
        self._connection.backup(self._copy)

    def restore(self) -> None:
        """The store has what it had at ``back_up``, and nothing else. Its log must be reopened."""
        assert self._copy is not None
        rows = (
            "SELECT instance, seq, id, json_extract(CAST(payload AS TEXT), '$.trace') FROM record"
        )
        had = self._central.rows(rows)
        log = find_log(self._connection, TENANT, REGION)
        self._closing = None if log is None else newest_checkpoint(self._connection, log)
        self._copy.backup(self._connection)
        has, held = {one for _, _, one, _ in self._central.rows(rows)}, self._held()
        for instance, seq, record_id, trace in had:
            if record_id in has:
                continue
            if record_id in held:
                self._ledger.counts["put back, on disk"] += 1
            else:
                self._ledger.counts["put back, gone"] += 1
                self._ledger.gone[(instance, seq)] = record_id
                self._ledger.gone_names.add(name_of(trace))
            acked = self._central.acknowledged
            acked[instance] = max(seq, acked.get(instance, -1))
        self._central.gone.update(self._ledger.gone.values())

    def reopen(self) -> None:
        """Close the log that lost leaves and open the next; nothing after the first time."""
        if self._closing is None:
            return
        connection, now_us = self._connection, self._clock.wall_us()
        logbook = Logbook(_HOST, [LOG_KEY])
        connection.execute("BEGIN IMMEDIATE")
        log = logbook.open(connection, TENANT, REGION)
        statement = reopening.draft(connection, log, "restored", self._closing, now_us)
        envelope = reopening.sign(statement, [LOG_KEY, REVOCATION_KEY])
        keys = LogKeys(log=_role(LOG_KEY), revocation=_role(REVOCATION_KEY))
        reopening.install(connection, logbook, envelope, keys, now_us)
        connection.execute("COMMIT")
        self._closing = None
