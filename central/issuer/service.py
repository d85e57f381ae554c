"""The issuer as a service: the enrolment work on its own database.

Owns: which database, key and transaction each act uses. Refuses: HTTP and the record store's keys.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from typing import Final

from central.config import CentralConfig
from central.database import Database, OpenDatabase
from central.errors import Refused
from central.issuer import attestors, conflicts, revoked, schema, upgrades
from central.issuer.attestors import HostAnswer
from central.issuer.enrolment import Enrolments, Superseded
from central.issuer.workloads import Workloads
from central.keys import RootFiles, read_secret, read_signer
from gateway.attestation import EnrolAnswer, HostRegistration, NonceAnswer
from gateway.errors import ConfigInvalid, DocumentInvalid
from gateway.ports import Entropy, WallClock
from gateway.revoking import Opened

_log: Final = logging.getLogger("gatepost.central")


class Issuer:
    """Raises ConfigInvalid for a key that the root does not name and for unusable hosts."""

    def __init__(
        self,
        config: CentralConfig,
        root_files: RootFiles,
        clock: WallClock,
        entropy: Entropy,
        open_database: OpenDatabase = Database,
    ) -> None:
        signer = read_signer(config.keys.issuer, "issuer")
        root_files.require(signer, "issuer")
        if config.keys.digest_wrap is None:
            raise ConfigInvalid("keys.digest_wrap: the issuer keeps digest keys under it")
        wrap_key = read_secret(config.keys.digest_wrap, "digest_wrap")
        self._config = config
        self._log_keys = list(root_files.role("log").keys.values())
        self._clock = clock
        self._enrolments = Enrolments(config, signer, wrap_key, clock, entropy)
        self._workloads = Workloads(config, clock)
        path = os.path.join(config.data_directory, "issuer.db")
        self.database = open_database(path, schema.SCHEMA, schema.VERSION, upgrades.UPGRADES)

    async def aclose(self) -> None:
        """Close kept connections; the database is closed by its own ``close``."""
        await self._workloads.aclose()

    async def start(self) -> None:
        """Register the configured hosts and the record store. Raises ConfigInvalid."""
        now_us = self._clock.wall_us()

        def seed(connection: sqlite3.Connection) -> None:
            attestors.seed_services(connection, self._log_keys, now_us)
            attestors.seed_hosts(connection, self._config, now_us)

        try:
            await self.database.write(seed)
        except DocumentInvalid as error:
            raise ConfigInvalid(f"hosts: {error}") from error

    async def nonce(self) -> NonceAnswer:
        return await self.database.write(self._enrolments.nonce)

    async def enrol(self, body: bytes) -> EnrolAnswer:
        """Certify an instance key. Raises Refused; ``instance_conflict`` is noted before."""
        opened = self._enrolments.open(body)
        proved = await self._workloads.attest(opened.request)
        try:
            return await self.database.write(lambda c: self._enrolments.enrol(c, opened, proved))
        except Superseded as found:
            conflict = found
            now_us, place = self._clock.wall_us(), (opened.request.tenant, opened.request.region)
            await self.database.write(lambda c: conflicts.note(c, conflict, now_us))
            _log.warning(
                "instance_conflict: instance %s of %s in %s asks for a certificate, and %s took its"
                " place: two daemons attest with one identity and worker",
                conflict.instance,
                *place,
                conflict.superseded_by,
            )
            raise

    async def register_host(self, request: HostRegistration) -> HostAnswer:
        """Spend a one-time token. Raises Refused."""
        now_us = self._clock.wall_us()
        return await self.database.write(
            lambda c: attestors.register_host(c, self._config, request, now_us)
        )

    async def keep_revocation(self, opened: Opened) -> None:
        """Certify its key no more, nor what its key attests."""
        now_us = self._clock.wall_us()
        await self.database.write(lambda c: revoked.keep(c, opened, now_us))

    async def digest_key(self, instance: str) -> bytes:
        """The digest key of ``instance``: for searches by an exact text. Raises Refused."""
        found = await self.database.read(lambda c: self._enrolments.digest_key(c, instance))
        if found is None:
            raise Refused("not_found")
        return found
