"""The signed heads of scopes: what each pins, offers and locks, and until when it counts.

Owns: the ``scope_state`` table and the head key's use. Refuses: bundles, and who may change what
(``catalogue.py``).
"""

from __future__ import annotations

import sqlite3

from central.config import CentralConfig
from central.errors import Refused
from central.keys import RootFiles
from central.policy_service import canaries
from central.served_head import ServedHead, served
from gateway import documents, issuing, seal
from gateway.documents import BundlePin, Lock, PolicyHead, Refresh
from gateway.timestamp import time_text


class Heads:
    """Every method works inside the caller's transaction."""

    def __init__(self, config: CentralConfig, root_files: RootFiles, signer: seal.Signer) -> None:
        self._settings = config.policy
        self._root_files = root_files
        self._signer = signer

    def head(self, connection: sqlite3.Connection, scope: str, now_us: int) -> ServedHead | None:
        """The head to serve, or None when it is due to be signed again (``resign``).

        Raises Refused (``not_found``) where nothing was published.
        """
        row = connection.execute(
            "SELECT head_envelope, head_issued_us FROM scope_state WHERE scope = ?", (scope,)
        ).fetchone()
        if row is None:
            raise Refused("not_found", "nothing is published for this scope")
        age_us = now_us - row[1]
        # A clock that was set back must not freeze the head that was signed ahead of it.
        if not 0 <= age_us < self._settings.resign_seconds * 1_000_000:
            return None
        return served(row[0])

    def resign(self, connection: sqlite3.Connection, scope: str, now_us: int) -> ServedHead:
        """A head with the same content and a new expiry, unless somebody else just made one."""
        fresh = self.head(connection, scope, now_us)
        if fresh is not None:
            return fresh
        return self.sign_again(connection, scope, now_us)

    def current(self, connection: sqlite3.Connection, scope: str) -> tuple[int, BundlePin]:
        """Epoch and pin of the bundle in force. Raises Refused (``not_found``)."""
        row = connection.execute(
            "SELECT b.epoch, b.version, b.digest, b.length FROM scope_state s"
            " JOIN bundle b ON b.digest = s.digest WHERE s.scope = ?",
            (scope,),
        ).fetchone()
        if row is None:
            raise Refused("not_found", "nothing is published for this scope")
        return row[0], BundlePin(*row[1:])

    def lock_of(self, connection: sqlite3.Connection, scope: str) -> Lock | None:
        """The lock in force, if there is one."""
        row = connection.execute(
            "SELECT lock_reason, lock_ticket FROM scope_state WHERE scope = ?", (scope,)
        ).fetchone()
        return None if row is None or row[0] is None else Lock(*row)

    def sign_again(self, connection: sqlite3.Connection, scope: str, now_us: int) -> ServedHead:
        """The next head, with what the last one says."""
        epoch, pin = self.current(connection, scope)
        lock = self.lock_of(connection, scope)
        return self.sign(connection, scope, epoch, pin, lock, now_us)

    def sign(
        self,
        connection: sqlite3.Connection,
        scope: str,
        epoch: int,
        pin: BundlePin,
        lock: Lock | None,
        now_us: int,
    ) -> ServedHead:
        """The next head, with the candidate of a canary that runs, and keep it."""
        settings = self._settings
        row = connection.execute(
            "SELECT head_version FROM scope_state WHERE scope = ?", (scope,)
        ).fetchone()
        version = 1 if row is None else row[0] + 1
        document = PolicyHead(
            spec=issuing.SPEC,
            scope=scope,
            epoch=epoch,
            version=version,
            root_version=self._root_files.current.version,
            issued=time_text(now_us),
            expires=time_text(now_us + settings.head_lifetime_seconds * 1_000_000),
            bundle=pin,
            next=canaries.running(connection, scope),
            lock=lock,
            refresh=Refresh(
                min_seconds=settings.refresh_min_seconds, max_seconds=settings.refresh_max_seconds
            ),
            min_gatepost=None,
        )
        signed = self._signer.sign_document(documents.POLICY_HEAD, document)
        envelope = documents.encode(signed)
        connection.execute(
            "INSERT OR REPLACE INTO scope_state VALUES (?,?,?,?,?,?,?)",
            (
                scope,
                pin.digest,
                None if lock is None else lock.reason,
                None if lock is None else lock.ticket,
                version,
                now_us,
                envelope,
            ),
        )
        return served(envelope)
