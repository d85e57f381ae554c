"""The issuer as a service: the enrolment work on its own database.

Owns: which database, key and transaction each act uses. Refuses: HTTP and the record store's keys.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from typing import Final

from central.acts import Act, Note
from central.config import CentralConfig, PersonRole
from central.database import Database, OpenDatabase
from central.errors import Refused
from central.issuer import act_log, attestors, conflicts, digests, revoked, schema, upgrades
from central.issuer.attestors import HostAnswer
from central.issuer.conflicts import Conflict
from central.issuer.digests import DestroyAnswer, DestroyRequest, DigestAnswer, DigestRequest
from central.issuer.enrolment import Enrolments, Superseded
from central.issuer.workloads import Workloads
from central.keys import RootFiles, read_secret, read_signer
from central.people import People, Person
from gateway.attestation import EnrolAnswer, HostRegistration, NonceAnswer
from gateway.errors import ConfigInvalid, DocumentInvalid
from gateway.ports import Entropy, WallClock
from gateway.revoking import Opened

SERVICE_ROLES: Final = ("issuer", "log", "policy_head")
"""Roles of the root whose keys central services hold: each attests the chains of its service."""

_log: Final = logging.getLogger("gatepost.central")


class Issuer:
    """``note``: where acts of people are kept: the record store's, where it is in this process, or
    the outbox's; without either a table of its own.

    Raises ConfigInvalid for a key that the root does not name and for unusable hosts.
    """

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
        self._wrap_key = read_secret(config.keys.digest_wrap, "digest_wrap")
        self._config = config
        self._service_keys = {
            public for role in SERVICE_ROLES for public in root_files.role(role).keys.values()
        }
        self._clock = clock
        self._enrolments = Enrolments(config, signer, self._wrap_key, clock, entropy)
        self._people = People(config)
        self.note: Note = self._keep
        self._workloads = Workloads(config, clock)
        path = os.path.join(config.data_directory, "issuer.db")
        self.database = open_database(path, schema.SCHEMA, schema.VERSION, upgrades.UPGRADES)

    async def aclose(self) -> None:
        """Close kept connections; the database is closed by its own ``close``."""
        await self._workloads.aclose()

    async def start(self) -> None:
        """Register the configured hosts and the central services. Raises ConfigInvalid."""
        now_us = self._clock.wall_us()

        def seed(connection: sqlite3.Connection) -> list[tuple[str, str]]:
            attestors.seed_services(connection, self._service_keys, now_us)
            return attestors.seed_hosts(connection, self._config, now_us)

        try:
            dropped = await self.database.write(seed)
        except DocumentInvalid as error:
            raise ConfigInvalid(f"hosts: {error}") from error
        for name, kid in dropped:
            _log.warning(
                "host_dropped: host %s (%s) is not in the configuration any more and attests"
                " nothing now; what it attested is good until it ends, or its key is revoked",
                name,
                kid,
            )

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
            nonce = opened.request.nonce

            def keep(connection: sqlite3.Connection) -> None:
                conflicts.note(connection, conflict, now_us)
                # The refusal rolled the spending back with the rest.
                self._enrolments.spend_nonce(connection, nonce, now_us)

            await self.database.write(keep)
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

    async def digests(self, request: DigestRequest) -> DigestAnswer:
        """Digests for a search that the caller has noted and may do. Raises Refused."""
        content = digests.content_of(request)
        wrapped = await self.database.read(lambda c: digests.wrapped_keys(c, request))
        return await self.database.compute(
            lambda: digests.digests(request, content, wrapped, self._wrap_key)
        )

    async def digests_for_search(
        self, _authorization: str | None, _why: str | None, request: DigestRequest
    ) -> DigestAnswer:
        """The same, for the record store in this process: it knows the person, and has noted it."""
        return await self.digests(request)

    async def digests_for(
        self, authorization: str | None, why: str | None, request: DigestRequest
    ) -> DigestAnswer:
        """The same for a person, an auditor of the tenant; noted first. Raises Refused."""
        person = self._person(authorization, "auditor", request.tenant, request.region)
        # Never the text: whoever reads the note could not do anything with a digest either.
        kind = "body" if request.text is None else "text"
        parameters = {"by": kind, "instances": str(len(request.instances))}
        await self.note(
            Act(
                tenant=request.tenant,
                region=request.region,
                who=person.name,
                what="digests",
                why=why,
                parameters=parameters,
            )
        )
        return await self.digests(request)

    async def destroy_digest_keys(
        self, authorization: str | None, why: str | None, request: DestroyRequest
    ) -> DestroyAnswer:
        """End what can be found by content, for good; an admin of the tenant. Raises Refused."""
        person = self._person(authorization, "admin", request.tenant, request.region)
        parameters = {"instances": str(len(request.instances or ()))}
        if request.ended_before is not None:
            parameters = {"ended_before": request.ended_before}
        await self.note(
            Act(
                tenant=request.tenant,
                region=request.region,
                who=person.name,
                what="digest_keys.destroy",
                why=why,
                parameters=parameters,
            )
        )
        now_us = self._clock.wall_us()
        answer = await self.database.write(lambda c: digests.destroy(c, request, now_us))
        # The write-ahead log holds the pages as they were.
        await self.database.fold()
        return answer

    async def conflicts(
        self, authorization: str | None, why: str | None, tenant: str
    ) -> list[Conflict]:
        """The latest superseded instances that asked; an operator of the tenant. Noted first, in
        each region of the tenant: the answer is of all. Raises Refused."""
        person = self._people.authenticate(authorization, "operator")
        regions = self._config.regions_of(tenant)
        if not person.of_tenant(tenant) or not regions:
            raise Refused("not_found")
        for region in regions:
            await self.note(
                Act(
                    tenant=tenant,
                    region=region,
                    who=person.name,
                    what="instance_conflicts.list",
                    why=why,
                )
            )
        return await self.database.read(lambda c: conflicts.newest(c, tenant))

    def _person(
        self, authorization: str | None, role: PersonRole, tenant: str, region: str
    ) -> Person:
        person = self._people.authenticate(authorization, role)
        if not person.of_tenant(tenant) or not self._config.has_place(tenant, region):
            raise Refused("not_found")
        return person

    async def _keep(self, act: Act) -> None:
        now_us = self._clock.wall_us()
        await self.database.write(lambda c: act_log.keep(c, act, now_us))
