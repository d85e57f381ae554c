"""The record store as a service: who asks, for which log, in which transaction.

Owns: the steps of taking in a batch (authenticate, verify outside the write lock, then keep) and
tenant isolation: a person sees the logs of one tenant, another's records are not there.
Refuses: HTTP.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from typing import Final, Protocol

from central.acts import Act
from central.certifying import DigestDesk, IssuerDesk, RemoteIssuer
from central.config import OPERATOR_TENANT, CentralConfig
from central.database import Database, OpenDatabase
from central.errors import Refused
from central.issuer.digests import WithoutKey
from central.keys import RootFiles, read_signer
from central.people import People, Person
from central.record_store import (
    batch,
    behind,
    certificates,
    export,
    holes,
    instances,
    pending,
    query,
    revocations,
    schema,
    search,
    upgrades,
    witnesses,
)
from central.record_store.behind import AcknowledgeRequest, LogStatus, Reason
from central.record_store.certificates import CertificateAnswer
from central.record_store.export import ExportPage, Pinned
from central.record_store.filters import Query
from central.record_store.ingest import Arrival, ingest
from central.record_store.instances import InstanceItem
from central.record_store.keyring import Keyring
from central.record_store.logs import Log, Logbook, find_log
from central.record_store.own_log import OwnLog
from central.record_store.place import Looker, Place
from central.record_store.published import PublishedLogs
from central.record_store.query import Page, RecordDetail
from central.record_store.reconcile import Reconciliation, reconcile
from central.record_store.revocations import RevokedLeaf
from central.record_store.search import SearchAnswer, SearchRequest
from central.record_store.senders import Authenticated, Call, authenticate
from central.register import Register
from gateway.documents import ChainHead, LogSeen
from gateway.ports import Entropy, WallClock
from gateway.revoking import Opened
from gateway.shipping import ChainHeadAnswer, ShipAnswer

_logger: Final = logging.getLogger("gatepost.central")
_CURSOR_KEY_BYTES: Final = 32
_SERVICE: Final = "record_store"


class IssuerAtHand(IssuerDesk, DigestDesk, Protocol):
    """All that the store asks of an issuer."""


class RecordStore:
    """The store over its own database. It holds no issuer key: it cannot make a daemon up.

    Raises ConfigInvalid for a log key that the root does not name.
    """

    def __init__(
        self,
        config: CentralConfig,
        root_files: RootFiles,
        people: People,
        clock: WallClock,
        entropy: Entropy,
        open_database: OpenDatabase = Database,
        desk: IssuerAtHand | None = None,
    ) -> None:
        """``desk``: of the issuer that certifies the store's own chains and keeps digest keys, or
        None."""
        self._config = config
        self._root_files = root_files
        self._people = people
        self._clock = clock
        self._desk = desk
        self._cursor_key = entropy.bytes(_CURSOR_KEY_BYTES)
        signer = read_signer(config.keys.log, "log")
        root_files.require(signer, "log")
        self._logbook = Logbook(config.log_host, [signer])
        asked = witnesses.configured(config.witnesses)
        path = os.path.join(config.data_directory, "records.db")
        self.database = open_database(path, schema.SCHEMA, schema.VERSION, upgrades.UPGRADES)
        own_log = OwnLog(_SERVICE, self._issuer_keys, self._logbook, clock)
        self.register = Register(
            config,
            root_files,
            signer,
            own_log,
            self.database,
            clock,
            entropy,
            desk,
            pending.take,
        )
        self.published = PublishedLogs(asked, self.database, clock, self.register.rest)

    async def start(self) -> None:
        """Sign for what an earlier start of this store signed under another key, and record what
        commands did meanwhile."""
        await self.database.write(self._logbook.sign_again)
        for place in await self.database.read(pending.places):
            await self.register.go_on(place)

    def _issuer_keys(self) -> dict[str, bytes]:
        return self._root_files.role("issuer").keys

    async def aclose(self) -> None:
        """Seal the store's own chains; the database is closed by its own ``close``."""
        await self.register.rest()
        if isinstance(self._desk, RemoteIssuer):
            await self._desk.aclose()

    # -- what daemons send ----------------------------------------------------------------

    async def keep_certificate(self, body: bytes) -> CertificateAnswer:
        """Keep a certificate; it is its own credential. Raises Refused."""
        certified = certificates.open_certificate(body, self._config, self._root_files)
        now_us = self._clock.wall_us()
        return await self.database.write(
            lambda c: certificates.keep_certificate(c, self._logbook, certified, now_us)
        )

    async def keep_revocation(
        self, opened: Opened, place: tuple[str, str] | None
    ) -> list[RevokedLeaf]:
        """Keep a revocation in the logs that know its key, and in that of ``place``. Raises
        Refused."""
        now_us = self._clock.wall_us()
        return await self.database.write(
            lambda c: revocations.keep_revocation(c, self._logbook, opened, place, now_us)
        )

    async def keep_records(self, call: Call, encoding: str) -> ShipAnswer:
        """Take in a batch. Raises Refused where the *request* is not acceptable; whatever is
        wrong with single records stands in the answer."""
        received_us = self._clock.wall_us()
        issuer_keys = self._issuer_keys()

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
        signed = (call.signed or "").encode()

        def work(connection: sqlite3.Connection) -> tuple[Reason | None, ShipAnswer]:
            log = self._logbook.open(connection, arrival.tenant, arrival.region)
            seen, sender = arrival.log_seen, arrival.sender
            found = behind.keep(connection, log, sender, seen, signed, received_us)
            return found, ingest(connection, arrival, self._logbook)

        found, answer = await self.database.write(work)
        _tell_behind(found, arrival.sender, arrival.log_seen)
        return answer

    async def keep_chain_head(self, call: Call) -> ChainHeadAnswer:
        """Keep where an instance's chain stands, and say what of it is missing here that was
        acknowledged. Raises Refused."""
        now_us = self._clock.wall_us()

        def work(connection: sqlite3.Connection) -> tuple[Log, ChainHead, Reason | None]:
            sender = authenticate(connection, call, self._config.audience, now_us).sender
            head = instances.open_chain_head(call.body, sender)
            log = instances.keep_chain_head(
                connection, self._logbook, sender, head, call.body, now_us
            )
            seen, instance = head.log_seen, head.instance
            return log, head, behind.keep(connection, log, instance, seen, call.body, now_us)

        log, head, found = await self.database.write(work)
        _tell_behind(found, head.instance, head.log_seen)
        missing = await self.database.read(
            lambda c: holes.lacking(c, log.log, head.instance, head.acked_seq)
        )
        return ChainHeadAnswer(missing)

    # -- what people ask ------------------------------------------------------------------

    def auditor(self, authorization: str | None, tenant: str | None, region: str | None) -> Looker:
        """The bearer of a token, and the log that they may look into.

        ``tenant``: only those who act for every tenant name one. Raises Refused; a tenant or
        region that is not theirs is ``not_found`` before anything is looked up.
        """
        person = self._people.authenticate(authorization, "auditor")
        return Looker(person, self._place(person, tenant, region))

    def _place(self, person: Person, tenant: str | None, region: str | None) -> Place:
        asked = person.tenant if tenant is None else tenant
        if tenant is None and asked == OPERATOR_TENANT:
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

    def log_reader(self, authorization: str | None, tenant: str, region: str) -> Place:
        """The log that may be fetched: anybody's if its tenant made it public. Raises Refused.

        What is fetched of a log are hashes and times. A mirror asks for them again and again, and
        a record of each time would make the log grow by being read; so none is kept.
        """
        if self._config.is_public(tenant, region):
            return Place(tenant, region)
        return self.auditor(authorization, tenant, region).place

    async def note(self, act: Act) -> None:
        """Record what a person does, before it is answered. Raises Refused."""
        await self.register.note(act)

    async def page(self, place: Place, wanted: Query) -> Page:
        return await self.database.read(lambda c: query.page(c, place.log(c), wanted))

    async def search(
        self, looker: Looker, asked: SearchRequest, authorization: str | None, why: str | None
    ) -> SearchAnswer:
        """Records that hold a digest of what is asked; noted before anything is looked up.

        Raises Refused.
        """
        if self._desk is None:
            raise Refused("digests_not_configured", "set issuer_url, or run the issuer here")
        place, content = looker.place, search.content_of(asked)
        wanted = search.query_of(asked, content, self._cursor_key)
        instances = await self.database.read(lambda c: search.candidates(c, place.log(c), wanted))
        search.check_work(content, instances)
        # A cursor says nothing that the act does not say.
        filters = {name: text for name, text in asked.filters.items() if name != "cursor"}
        await self.note(
            Act(
                tenant=place.tenant,
                region=place.region,
                who=looker.person.name,
                what="records.search",
                why=why,
                parameters={**filters, "by": asked.kind, "instances": str(len(instances))},
                range=wanted.times_text,
            )
        )
        digests: list[str] = []
        without: list[WithoutKey] = []
        for one in search.digest_requests(asked, content, place.tenant, place.region, instances):
            found = await self._desk.digests_for_search(authorization, why, one)
            digests += [digest.digest for digest in found.digests]
            without += found.without
        return await self.database.read(
            lambda c: search.find(c, place.log(c), wanted, asked.kind, digests, without)
        )

    async def detail(self, place: Place, name: str) -> RecordDetail:
        return await self.database.read(lambda c: query.detail(c, place.log(c), name))

    async def instances(self, place: Place) -> list[InstanceItem]:
        now_us = self._clock.wall_us()
        return await self.database.read(lambda c: instances.instances(c, place.log(c), now_us))

    async def log_status(self, place: Place) -> LogStatus:
        """A log, and what daemons saw of it that it does not have. Raises Refused
        (``not_found``) before its first leaf."""

        def work(connection: sqlite3.Connection) -> LogStatus:
            log = place.log(connection)
            if log is None:
                raise Refused("not_found", "this log has no leaf yet")
            return behind.status(connection, log)

        return await self.database.read(work)

    async def acknowledge(
        self, authorization: str | None, why: str | None, asked: AcknowledgeRequest
    ) -> LogStatus:
        """Settle what instances say against a log; an operator of the tenant. The log afterwards.

        Raises Refused.
        """
        person = self._people.authenticate(authorization, "operator")
        place, now_us = self._place(person, asked.tenant, asked.region), self._clock.wall_us()
        names = sorted(set(asked.instances))
        words = await self.database.read(lambda c: behind.open_words(c, place.log(c), names))
        act = Act(
            tenant=place.tenant,
            region=place.region,
            who=person.name,
            what="log.acknowledge",
            why=why,
            parameters=words,
        )

        def work(connection: sqlite3.Connection) -> LogStatus:
            log = place.log(connection)
            assert log is not None, "somebody spoke against it"
            behind.acknowledge(connection, log, names, person.name, now_us)
            return behind.status(connection, log)

        return await self.register.note_doing(act, work)

    async def any_behind(self) -> bool:
        """Whether a daemon saw more of any log, or another one, and nobody settled it."""
        return await self.database.read(behind.any_behind)

    async def reconcile(self, place: Place, older_than_seconds: int) -> Reconciliation:
        """What of one log does not fit the rest."""
        now_us = self._clock.wall_us()
        return await self.database.read(
            lambda c: reconcile(c, place.log(c), older_than_seconds, now_us)
        )

    # -- exports ---------------------------------------------------------------------------

    async def pin(self, act: Act) -> Pinned:
        """Record the export ``act``; the checkpoint that it is cut at, which covers the record
        unless a quorum of witnesses is asked for, who have not seen it yet.

        The store's own chain ends with it, so that what is exported holds a chain that is open
        only where somebody else's is. Raises Refused.
        """
        place = Place(act.tenant, act.region)
        pinned = await self.register.note_closing(
            act, lambda c: export.pin(c, place.log(c), self.published.quorum)
        )
        assert pinned is not None, "the record of the act is a leaf"
        return pinned

    async def export_head(self, pinned: Pinned) -> bytes:
        """The first lines of an export: roots and what else is signed."""
        roots = b"".join(line + b"\n" for line in self._root_files.exact_envelopes())
        return roots + await self.database.read(lambda c: export.head_lines(c, pinned.log))

    async def export_page(self, pinned: Pinned, wanted: Query | None, after: int) -> ExportPage:
        """The next records, or leaves where ``wanted`` is None."""
        log = pinned.log
        if wanted is None:
            return await self.database.read(lambda c: export.leaf_page(c, log, after))
        return await self.database.read(lambda c: export.record_page(c, log, wanted, after))

    async def export_tail(self, pinned: Pinned, old_size: int | None) -> bytes:
        """The last lines of an export."""
        return await self.database.read(lambda c: export.tail_lines(c, pinned, old_size))


def _tell_behind(reason: Reason | None, instance: str, seen: LogSeen | None) -> None:
    if reason is not None and seen is not None:
        _logger.error(
            "log_behind: instance %s saw %s with %d leaves, and here it is not so (%s): a backup"
            " was restored, or there are two stores; see /v1/log, and reopen the log",
            instance,
            seen.origin,
            seen.size,
            reason,
        )


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
        log_seen=known.request.log_seen,
    )
