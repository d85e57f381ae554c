"""The record store as a service: who asks, for which log, in which transaction.

Owns: the steps of taking in a batch (authenticate, verify outside the write lock, then keep) and
tenant isolation: a person sees the logs of one tenant, another's records are not there.
Refuses: HTTP.
"""

from __future__ import annotations

import os
import sqlite3

import msgspec

from central.config import OPERATOR_TENANT, CentralConfig
from central.database import Database, OpenDatabase
from central.errors import Refused
from central.keys import RootFiles
from central.people import People, Person
from central.record_store import batch, certificates, export, instances, query, schema
from central.record_store.certificates import CertificateAnswer
from central.record_store.filters import Query
from central.record_store.ingest import Arrival, ingest
from central.record_store.instances import InstanceItem
from central.record_store.keyring import Keyring
from central.record_store.logs import Log, find_log
from central.record_store.query import Page, RecordDetail
from central.record_store.senders import Authenticated, Call, authenticate
from gateway.ports import WallClock
from gateway.shipping import ShipAnswer


class Place(msgspec.Struct, frozen=True):
    """One log that a person may look into."""

    tenant: str
    region: str


class RecordStore:
    """The store over its own database. It holds no issuer key: it cannot make a daemon up."""

    def __init__(
        self,
        config: CentralConfig,
        root_files: RootFiles,
        people: People,
        clock: WallClock,
        open_database: OpenDatabase = Database,
    ) -> None:
        self._config = config
        self._root_files = root_files
        self._people = people
        self._clock = clock
        path = os.path.join(config.data_directory, "records.db")
        self.database = open_database(path, schema.SCHEMA, schema.VERSION)

    # -- what daemons send ----------------------------------------------------------------

    async def keep_certificate(self, body: bytes) -> CertificateAnswer:
        """Keep a certificate; it is its own credential. Raises Refused."""
        certified = certificates.open_certificate(body, self._config, self._root_files)
        now_us = self._clock.wall_us()
        return await self.database.write(
            lambda c: certificates.keep_certificate(c, self._config.log_host, certified, now_us)
        )

    async def keep_records(self, call: Call, encoding: str) -> ShipAnswer:
        """Take in a batch. Raises Refused where the *request* is not acceptable; whatever is
        wrong with single records stands in the answer."""
        received_us = self._clock.wall_us()
        issuer_keys = self._root_files.role("issuer").keys

        def prepare(connection: sqlite3.Connection) -> tuple[Authenticated, Keyring]:
            known = authenticate(connection, call, self._config.audience, received_us)
            log = find_log(connection, known.sender.tenant, known.sender.region)
            of = known.request.of
            instance = known.sender.instance if of is None else of.instance
            log_number = None if log is None else log.log
            return known, certificates.keyring_of(connection, log_number, instance, issuer_keys)

        known, keyring = await self.database.read(prepare)
        arrival = await self.database.compute(
            lambda: _verify(call.body, encoding, known, keyring, received_us)
        )
        return await self.database.write(lambda c: ingest(c, arrival, self._config.log_host))

    async def keep_chain_head(self, call: Call) -> None:
        """Keep where an instance's chain stands. Raises Refused."""
        now_us = self._clock.wall_us()

        def work(connection: sqlite3.Connection) -> None:
            sender = authenticate(connection, call, self._config.audience, now_us).sender
            head = instances.open_chain_head(call.body, sender)
            instances.keep_chain_head(
                connection, self._config.log_host, sender, head, call.body, now_us
            )

        await self.database.write(work)

    # -- what people ask ------------------------------------------------------------------

    def auditor(self, authorization: str | None, tenant: str | None, region: str | None) -> Place:
        """The log that the bearer of a token may look into.

        ``tenant``: only those who act for every tenant name one. Raises Refused; a tenant or
        region that is not theirs is ``not_found`` before anything is looked up.
        """
        return self._place(self._people.authenticate(authorization, "auditor"), tenant, region)

    def _place(self, person: Person, tenant: str | None, region: str | None) -> Place:
        asked = person.tenant if tenant is None else tenant
        if asked == OPERATOR_TENANT:
            raise Refused("bad_filter", "name the tenant: this token acts for every one")
        if not person.of_tenant(asked):
            raise Refused("not_found")
        regions = self._config.regions_of(asked)
        if region is None and len(regions) > 1:
            raise Refused("region_required", f"regions: {', '.join(regions)}")
        chosen = regions[0] if region is None and regions else region
        if chosen is None or chosen not in regions:
            raise Refused("not_found")
        return Place(asked, chosen)

    async def note_look(
        self, authorization: str | None, place: Place, what: str, parameters: str
    ) -> None:
        """Write down who looks at what, before it is shown."""
        person = self._people.authenticate(authorization, "auditor")
        row = (self._clock.wall_us(), place.tenant, person.name, what, parameters)
        await self.database.write(
            lambda c: c.execute(
                "INSERT INTO look (time_us, tenant, person, what, parameters) VALUES (?,?,?,?,?)",
                row,
            )
        )

    async def page(self, place: Place, wanted: Query) -> Page:
        return await self.database.read(lambda c: query.page(c, _log(c, place), wanted))

    async def detail(self, place: Place, name: str) -> RecordDetail:
        return await self.database.read(lambda c: query.detail(c, _log(c, place), name))

    async def instances(self, place: Place) -> list[InstanceItem]:
        now_us = self._clock.wall_us()
        return await self.database.read(lambda c: instances.instances(c, _log(c, place), now_us))

    async def log(self, place: Place) -> Log | None:
        """The log with its size now: what an export is cut at."""
        return await self.database.read(lambda c: _log(c, place))

    async def export_head(self, log: Log | None) -> bytes:
        """The first lines of an export: roots and certificates."""
        roots = b"".join(line + b"\n" for line in self._root_files.exact_envelopes())
        if log is None:
            return roots
        return roots + await self.database.read(lambda c: export.certificate_lines(c, log))

    async def export_page(self, log: Log, wanted: Query, after: int) -> export.ExportPage:
        return await self.database.read(lambda c: export.record_page(c, log, wanted, after))


def _log(connection: sqlite3.Connection, place: Place) -> Log | None:
    return find_log(connection, place.tenant, place.region)


def _verify(
    body: bytes, encoding: str, known: Authenticated, keyring: Keyring, received_us: int
) -> Arrival:
    sender, of = known.sender, known.request.of
    lines = batch.split(batch.decompress(body, encoding))
    return Arrival(
        tenant=sender.tenant,
        region=sender.region,
        sender=sender.instance,
        instance=keyring.instance,
        items=batch.read_batch(
            lines, keyring, sender.tenant, sender.region, None if of is None else of.first_seq
        ),
        keyring=keyring,
        received_us=received_us,
    )
