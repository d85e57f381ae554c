"""The policy service: publishing, heads that stay fresh, and waiting for a change.

Owns: the database, the head key, and waking those who wait for a scope. Refuses: HTTP.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable
from typing import Final

import anyio

from central.acts import Act, Note
from central.config import CentralConfig
from central.database import Database, OpenDatabase
from central.errors import Refused
from central.keys import RootFiles, read_signer
from central.people import People, Person
from central.policy_service import canaries, fleet, publish_log, schema
from central.policy_service.catalogue import (
    Catalogue,
    Checked,
    Published,
    check_bundle,
)
from central.policy_service.fleet import Convergence, Fleet, Standing
from central.policy_service.proposals import Proposal, Verdict
from central.policy_service.publish_log import Publication
from central.policy_service.reports import Call, prove
from central.served_head import ServedHead
from gateway.documents import Lock
from gateway.limits import POLICY_WAIT_SECONDS_MAX
from gateway.ports import WallClock

_log: Final = logging.getLogger("gatepost.central")
_WAITING_MAX: Final = 1_024
ITSELF: Final = "_policy"
"""Who withdraws what too many daemons refuse, in the publish log and in admin records."""


class PolicyService:
    """Raises ConfigInvalid for a head key that the root does not name."""

    def __init__(
        self,
        config: CentralConfig,
        root_files: RootFiles,
        people: People,
        clock: WallClock,
        open_database: OpenDatabase = Database,
        note: Note | None = None,
    ) -> None:
        """``note``: keeps what a person does; None where there is neither a record store in this
        process nor one to send it to."""
        signer = read_signer(config.keys.policy_head, "policy_head")
        root_files.require(signer, "policy_head")
        self._config = config
        self._root_files = root_files
        self._people = people
        self._clock = clock
        self._note = note
        self._catalogue = Catalogue(config, root_files, signer)
        self._changed: dict[str, anyio.Event] = {}
        self._waiting = 0
        path = os.path.join(config.data_directory, "policy.db")
        self.database = open_database(path, schema.SCHEMA, schema.VERSION, {})

    async def start(self) -> None:
        """Sign heads anew that an earlier root's key signed. A bundle that the newest root's keys
        did not sign is named in the log: daemons refuse it, and keep what they have until its head
        expires."""
        now_us = self._clock.wall_us()
        unsigned = await self.database.write(lambda c: self._catalogue.follow_root(c, now_us))
        for scope in unsigned:
            _log.error("bundle_not_signed_under_root", extra={"scope": scope})

    def operator(self, authorization: str | None, scope: str) -> Person:
        """The operator who may change ``scope``. Another tenant's scope is not there."""
        person = self._people.authenticate(authorization, "operator")
        tenant = self._config.tenant_of_scope(scope)
        if tenant is None or not person.of_tenant(tenant):
            raise Refused("not_found", "no tenant of yours has this scope")
        return person

    async def record(
        self, who: str, scope: str, what: str, why: str | None, parameters: dict[str, str]
    ) -> None:
        """Record an act on ``scope`` in each log of its tenant, before it is done. Raises Refused.

        Where no record store is configured, the service's own list of publications is all.
        """
        tenant = self._config.tenant_of_scope(scope)
        if self._note is None or tenant is None:
            return
        for region in self._config.regions_of(tenant):
            await self._note(
                Act(
                    tenant=tenant,
                    region=region,
                    who=who,
                    what=what,
                    why=why,
                    parameters={"scope": scope, **parameters},
                )
            )

    async def publish(
        self, person: Person, scope: str, body: bytes, percent: int | None = None
    ) -> Published:
        """Verify, compile, keep and pin a bundle, or offer it to ``percent`` %. Raises Refused."""
        now_us = self._clock.wall_us()
        checked = await self.database.compute(
            lambda: check_bundle(body, scope, self._root_files, now_us)
        )
        answer = await self.database.write(
            lambda c: self._catalogue.publish(c, checked, person.name, now_us, percent)
        )
        self._wake(scope)
        return answer

    async def judge(self, person: Person, scope: str, verdict: Verdict) -> Published:
        """Put in force what waits for approval, or drop it. Raises Refused."""
        now_us = self._clock.wall_us()
        check = self._checker(scope, now_us)
        answer = await self.database.write(
            lambda c: self._catalogue.judge(c, scope, verdict, check, person.name, now_us)
        )
        self._wake(scope)
        return answer

    def _checker(self, scope: str, now_us: int) -> Callable[[bytes], Checked]:
        return lambda envelope: check_bundle(envelope, scope, self._root_files, now_us)

    async def set_percent(self, person: Person, scope: str, percent: int) -> Published:
        """Offer the candidate to more or fewer. Raises Refused (``no_canary``)."""
        now_us = self._clock.wall_us()
        answer = await self.database.write(
            lambda c: self._catalogue.set_percent(c, scope, percent, person.name, now_us)
        )
        self._wake(scope)
        return answer

    async def promote(self, person: Person, scope: str) -> Published:
        """Put the candidate in force for all. Raises Refused."""
        now_us = self._clock.wall_us()
        check = self._checker(scope, now_us)
        answer = await self.database.write(
            lambda c: self._catalogue.promote(c, scope, check, person.name, now_us)
        )
        self._wake(scope)
        return answer

    async def withdraw(self, person: Person, scope: str) -> Published:
        """Take the candidate back everywhere. Raises Refused (``no_canary``)."""
        now_us = self._clock.wall_us()
        answer = await self.database.write(
            lambda c: self._catalogue.withdraw(c, scope, person.name, None, now_us)
        )
        self._wake(scope)
        return answer

    async def proposals(self, scope: str) -> list[Proposal]:
        return await self.database.read(lambda c: self._catalogue.proposals(c, scope))

    async def set_lock(self, person: Person, scope: str, lock: Lock | None) -> ServedHead:
        """Sign a head with or without a lock, at once. Raises Refused."""
        now_us = self._clock.wall_us()
        head = await self.database.write(
            lambda c: self._catalogue.set_lock(c, scope, lock, person.name, now_us)
        )
        self._wake(scope)
        return head

    async def head(self, scope: str) -> ServedHead:
        """The current head, never older than the re-sign interval. Raises Refused."""
        now_us = self._clock.wall_us()
        fresh = await self.database.read(lambda c: self._catalogue.heads.head(c, scope, now_us))
        if fresh is not None:
            return fresh
        return await self.database.write(lambda c: self._catalogue.heads.resign(c, scope, now_us))

    async def head_after(self, scope: str, etag: str | None, wait_seconds: int) -> ServedHead:
        """The head; where it still is ``etag``, first wait for a publication or a lock.

        Waits at most ``wait_seconds`` (55); not at all where too many wait already.
        """
        head = await self.head(scope)
        if head.etag != etag or wait_seconds <= 0 or self._waiting >= _WAITING_MAX:
            return head
        changed = self._changed.setdefault(scope, anyio.Event())
        # Asked for before another look: a lock that came since the first would be waited out.
        head = await self.head(scope)
        if head.etag != etag:
            return head
        self._waiting += 1
        try:
            with anyio.move_on_after(min(wait_seconds, POLICY_WAIT_SECONDS_MAX)):
                await changed.wait()
        finally:
            self._waiting -= 1
        return await self.head(scope)

    def _wake(self, scope: str) -> None:
        changed = self._changed.pop(scope, None)
        if changed is not None:
            changed.set()

    # -- the fleet ----------------------------------------------------------------------------

    async def take_report(self, scope: str, call: Call) -> None:
        """Keep what a daemon says that it runs; one of before its last is passed over.

        Raises Refused.
        """
        now_us = self._clock.wall_us()
        proven = await self.database.compute(
            lambda: prove(call, scope, self._config, self._root_files, now_us)
        )
        settings = self._config.policy
        if await self.database.write(lambda c: fleet.keep(c, scope, proven, settings, now_us)):
            self._wake(f"{scope} fleet")
        if proven.report.refused is not None:
            await self._withdraw_if_refused(scope)

    async def _withdraw_if_refused(self, scope: str) -> None:
        """Take a candidate back that too many daemons refuse."""
        now_us, settings = self._clock.wall_us(), self._config.policy
        seen = await self.database.read(lambda c: canaries.view(c, scope, settings, now_us))
        if seen is None or not canaries.refused_too_often(seen, settings):
            return
        reason = f"{seen.refusing} of {seen.have + seen.refusing} daemons refused it"
        parameters = {"digest": seen.digest}
        await self.record(ITSELF, scope, "policy.canary_withdraw", reason, parameters)

        def work(connection: sqlite3.Connection) -> None:
            found = canaries.running(connection, scope)
            # Somebody may have been quicker, and have begun another one.
            if found is not None and found.digest == seen.digest:
                self._catalogue.withdraw(connection, scope, ITSELF, reason, now_us)

        await self.database.write(work)
        _log.error("canary_withdrawn", extra={"scope": scope, "reason": reason})
        self._wake(scope)

    async def fleet(self, scope: str, only: Standing | None, most: int) -> Fleet:
        """Which instance runs what. Raises Refused (``not_found``)."""
        now_us, settings = self._clock.wall_us(), self._config.policy

        def look(connection: sqlite3.Connection) -> Fleet:
            wanted = self._catalogue.wanted(connection, scope)
            return fleet.view(connection, scope, wanted, settings, now_us, only, most)

        return await self.database.read(look)

    async def convergence(
        self, scope: str, version: int | None, percent: int, wait_seconds: int
    ) -> Convergence:
        """How many have ``version`` (the current one, if None), once ``percent`` % have it or the
        wait (55 s at most) is over. Raises Refused (``not_found``, ``too_busy``)."""
        settings = self._config.policy

        async def look() -> Convergence:
            now_us = self._clock.wall_us()

            def work(connection: sqlite3.Connection) -> Convergence:
                wanted = self._catalogue.wanted(connection, scope, version)
                return fleet.convergence(connection, scope, wanted, percent, settings, now_us)

            return await self.database.read(work)

        found = await look()
        if found.reached or wait_seconds <= 0:
            return found
        if self._waiting >= _WAITING_MAX:
            raise Refused("too_busy")
        self._waiting += 1
        try:
            with anyio.move_on_after(min(wait_seconds, POLICY_WAIT_SECONDS_MAX)):
                while not found.reached:
                    # Asked for before the look: what comes in between is not missed.
                    changed = self._changed.setdefault(f"{scope} fleet", anyio.Event())
                    found = await look()
                    if not found.reached:
                        await changed.wait()
        finally:
            self._waiting -= 1
        return found

    async def blob(self, digest: str) -> bytes:
        return await self.database.read(lambda c: self._catalogue.blob(c, digest))

    async def publications(self, scope: str) -> list[Publication]:
        return await self.database.read(lambda c: publish_log.read(c, scope))

    def root(self, version: int) -> bytes:
        """The envelope of root ``version``. Raises Refused (``not_found``)."""
        data = self._root_files.file(version)
        if data is None:
            raise Refused("not_found")
        return data
