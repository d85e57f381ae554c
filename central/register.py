"""The register: every act of a person is in a chain of the service before it is answered.

Owns: which of a service's own chains an act goes to, when such a chain is drawn, certified, taken
over and sealed. Refuses: what stands in one (``own_chain.py``), and where it lies.

A chain begins with the first act in its log. Another takes its place when two thirds of its
certificate's life are over. The record store seals its chain with each export of a whole log:
nothing of the store itself is open in what an auditor carries away. An export under a quorum is cut
at what witnesses cosigned; so before they are asked, its chains are sealed as well. A service that
runs apart seals its own when nobody acts for a while (``outbox``). An issuer that is away delays an
act by two seconds at most, and by none for half a minute after that; the chain is uncertified until
it is back.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

import anyio
import msgspec

from central import acts, certifying
from central.acts import Act
from central.certifying import Enrolling, IssuerDesk
from central.config import CentralConfig
from central.database import Database
from central.errors import Refused
from central.keys import RootFiles
from central.own_chain import Chain, ChainWriter, Shelf
from gateway import documents, limits, seal
from gateway.errors import DocumentInvalid
from gateway.identifier import INSTANCE_BYTES, instance_id
from gateway.ports import Entropy, ServiceUnreachable, WallClock
from gateway.timestamp import time_micros

ResultT = TypeVar("ResultT")

_log: Final = logging.getLogger("gatepost.central")
_DIGEST_KEY_BYTES: Final = 32
_WAIT_SECONDS: Final = limits.ENROL_WAIT_MS / 1_000
_RETRY_US: Final = 30 * 1_000_000

Place = tuple[str, str]
"""Tenant and region: of one log."""

TakePending = Callable[[sqlite3.Connection, str, str], list[Act]]


def _none_pending(_: sqlite3.Connection, _tenant: str, _region: str) -> list[Act]:
    return []


class Register:
    """``desk``: the issuer, or None where none is configured: then its chains are uncertified.
    ``attesting``: the key that the root gives the service. ``take_pending``: what is still to be
    written of a (tenant, region), in order, and no longer is once the transaction commits."""

    def __init__(
        self,
        config: CentralConfig,
        root_files: RootFiles,
        attesting: seal.Signer,
        shelf: Shelf,
        database: Database,
        clock: WallClock,
        entropy: Entropy,
        desk: IssuerDesk | None,
        take_pending: TakePending = _none_pending,
    ) -> None:
        self._root_files = root_files
        self._attesting = attesting
        self._database = database
        self._clock = clock
        self._entropy = entropy
        self._desk = desk
        self._take_pending = take_pending
        self._chains: dict[Place, Chain] = {}
        self._locks: dict[Place, anyio.Lock] = {}
        self._ask_after_us: dict[Place, int] = {}
        digest = seal.sha256_text(msgspec.json.encode(config))
        self._writer = ChainWriter(shelf, digest, clock, entropy)

    async def note(self, act: Act) -> None:
        """Keep ``act``; it is durable when this returns. Raises Refused."""
        await self.note_doing(act, _nothing)

    def chain(self, place: Place) -> Chain | None:
        """The chain of ``place`` that is open, if one is."""
        return self._chains.get(place)

    @property
    def has_chains(self) -> bool:
        """Whether a chain is open."""
        return bool(self._chains)

    async def go_on(self, place: Place) -> Chain:
        """The chain of ``place``, begun, with what was pending, and certified where there is an
        issuer. Raises Refused."""
        await self._keep(place, [], _nothing, closing=False)
        return self._chains[place]

    async def note_doing(self, act: Act, work: Callable[[sqlite3.Connection], ResultT]) -> ResultT:
        """Keep ``act`` and do ``work`` in the same transaction. Raises Refused."""
        return await self._keep((act.tenant, act.region), [act], work, closing=False)

    async def note_closing(
        self, act: Act, work: Callable[[sqlite3.Connection], ResultT]
    ) -> ResultT:
        """Keep ``act``, seal the chain that it stands in, and do ``work`` in the same transaction.

        Raises Refused.
        """
        return await self._keep((act.tenant, act.region), [act], work, closing=True)

    async def rest(self) -> None:
        """Seal every chain that was begun; the next act in its log begins another. Raises
        Refused."""
        for place in list(self._chains):
            async with self._locks.setdefault(place, anyio.Lock()):
                chain = self._chains.get(place)
                if chain is not None:
                    await self._database.write(partial(self._writer.end, chain=chain))
                    del self._chains[place]

    async def _keep(
        self,
        place: Place,
        done: list[Act],
        work: Callable[[sqlite3.Connection], ResultT],
        *,
        closing: bool,
    ) -> ResultT:
        for act in done:
            acts.check(act)
        async with self._locks.setdefault(place, anyio.Lock()):
            old = self._chains.get(place)
            chain = await self._following(place, old)
            late = await self._late_certificate(chain) if chain is old else None

            def write(connection: sqlite3.Connection) -> ResultT:
                if old is not None and chain is not old:
                    self._writer.end(connection, old)
                self._writer.begin(connection, chain)
                if late is not None:
                    self._writer.tell_certificate(connection, chain, late[0])
                for act in (*self._take_pending(connection, *place), *done):
                    drafts = acts.drafts(act, self._writer.draw_id)
                    self._writer.append(connection, chain, drafts)
                if closing:
                    self._writer.end(connection, chain)
                return work(connection)

            result = await self._database.write(write)
            # Only what was committed counts: after a failure the next act begins where this did.
            if late is not None:
                _certify(chain, *late)
            if closing:
                self._chains.pop(place, None)
            else:
                self._chains[place] = chain
            return result

    async def _following(self, place: Place, chain: Chain | None) -> Chain:
        """The chain to write in: ``chain``, or a fresh one."""
        now_us = self._clock.wall_us()
        if chain is not None and (chain.renew_us is None or now_us < chain.renew_us):
            return chain
        fresh = Chain(
            tenant=place[0],
            region=place[1],
            instance=instance_id(self._entropy.bytes(INSTANCE_BYTES)),
            signer=seal.Signer(self._entropy.bytes(seal.SEED_BYTES)),
            digest_key=self._entropy.bytes(_DIGEST_KEY_BYTES),
            began_us=now_us,
        )
        found = await self._certificate(fresh)
        if found is None:
            return fresh if chain is None else chain
        _certify(fresh, *found)
        return fresh

    async def _late_certificate(
        self, chain: Chain
    ) -> tuple[documents.Envelope, documents.KeyCert] | None:
        return None if chain.certificate is not None else await self._certificate(chain)

    async def _certificate(
        self, chain: Chain
    ) -> tuple[documents.Envelope, documents.KeyCert] | None:
        """A certificate for ``chain``, or None where there is no issuer that gives one now."""
        place, now_us = (chain.tenant, chain.region), self._clock.wall_us()
        if self._desk is None or now_us < self._ask_after_us.get(place, now_us):
            return None
        one = Enrolling(
            signer=chain.signer,
            instance=chain.instance,
            tenant=chain.tenant,
            region=chain.region,
            not_before_us=chain.began_us,
            digest_key=chain.digest_key,
        )
        issuer_keys = self._root_files.role("issuer").keys
        try:
            with anyio.fail_after(_WAIT_SECONDS):
                return await certifying.certify(self._desk, self._attesting, one, issuer_keys)
        except (Refused, ServiceUnreachable, DocumentInvalid, TimeoutError) as error:
            _log.warning(
                "own_chain_uncertified",
                extra={"tenant": place[0], "region": place[1], "cause": str(error)},
            )
            self._ask_after_us[place] = now_us + _RETRY_US
            return None


def _nothing(_: sqlite3.Connection) -> None:
    """Nothing more in the transaction."""


def _certify(chain: Chain, envelope: documents.Envelope, certificate: documents.KeyCert) -> None:
    began, ends = time_micros(certificate.issued), time_micros(certificate.not_after)
    chain.certificate = envelope
    chain.renew_us = began + (ends - began) * 2 // 3
