"""A record store's database on disk, and batches as a daemon ships them.

Owns: a development home with the store's keys, one certified instance, and its records in gzip,
made up so that filters find few or many of them. Refuses: clocks; what is made is not measured.
"""

from __future__ import annotations

import base64
import gzip
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from bench.drafts import Drafts
from bench.ways import new_sealer
from central.database import Database
from central.record_store import certificates, schema, upgrades
from central.record_store.keyring import Certified
from central.record_store.logs import Logbook
from gatepost.home import REGION, TENANT, Home
from gatepost.key_file import read_signer
from gatepost.samples import sample
from gateway import documents, limits, record
from gateway.documents import Attestation, KeyCert
from gateway.io.clock import SystemClock
from gateway.io.entropy import SystemEntropy
from gateway.recording import Scribe
from gateway.timestamp import time_text

BATCH: Final = limits.SHIP_RECORDS_MAX
PERSONS: Final = 1_000
_AGENTS: Final = 20
_MODELS: Final = ("gpt-4.1", "gpt-4.1-mini", "claude-sonnet-4", "o4-mini")
_DENIED_EVERY: Final = 50
_CATEGORIES: Final = (("pii.email",), ("pii.phone", "pii.email"), ("secret.key",), ())
_DAY_US: Final = 86_400_000_000


class Feed:
    """One store and one daemon. ``connection`` is set up as the store's own writer is."""

    def __init__(self, directory: Path) -> None:
        self.home = Home(directory / "home")
        now_us = SystemClock().wall_us()
        self.home.make(SystemEntropy(), now_us, sample("policy.json"))
        self.signer = read_signer(self.home.key_file("log"))
        self.issuer = read_signer(self.home.key_file("issuer"))
        self.logbook = Logbook("localhost", [self.signer])
        self.issuer_keys = {self.issuer.kid: self.issuer.public}
        self.path = self.home.directory / "central/records.db"
        self.connection = opened(self.path)
        self._sealer = new_sealer()
        self.instance = self._sealer.instance
        self.public = self._sealer.signer.public
        clock, entropy = SystemClock(), SystemEntropy()
        scribe = Scribe(
            tenant=TENANT,
            region=REGION,
            topology="sidecar",
            digest_key=entropy.bytes(32),
            clock=clock,
            entropy=entropy,
        )
        self._drafts = Drafts(scribe, clock)
        self._made = 0
        self._certify(now_us)

    def close(self) -> None:
        self.connection.close()

    def batches(self, records: int) -> Iterator[bytes]:
        """The bodies of ``records`` records, gzip, in seq order."""
        for first in range(0, records, BATCH):
            lines = [self._line() for _ in range(min(BATCH, records - first))]
            yield gzip.compress(b"".join(lines), compresslevel=6, mtime=0)

    def _line(self) -> bytes:
        number = self._made
        self._made += 1
        draft = self._drafts.decision()
        denied = number % _DENIED_EVERY == 0
        changed: record.Decision = msgspec.structs.replace(
            draft,
            person=msgspec.structs.replace(draft.person, id=f"person-{number % PERSONS}@acme"),
            agent=msgspec.structs.replace(draft.agent, id=f"agent-{number % _AGENTS}"),
            model=msgspec.structs.replace(draft.model, requested=_MODELS[number % len(_MODELS)]),
            data=msgspec.structs.replace(
                draft.data, categories=list(_CATEGORIES[number % len(_CATEGORIES)])
            ),
            decision=msgspec.structs.replace(
                draft.decision,
                outcome="deny" if denied else "allow",
                reason="no_grant" if denied else "granted",
            ),
        )
        return self._sealer.seal(changed).envelope_line() + b"\n"

    def _certify(self, now_us: int) -> None:
        signer = self._sealer.signer
        certificate = KeyCert(
            serial="1",
            kid=signer.kid,
            pub=base64.b64encode(signer.public).decode(),
            instance=self.instance,
            tenant=TENANT,
            region=REGION,
            topology="sidecar",
            issued=time_text(now_us),
            not_before=time_text(now_us - _DAY_US),
            not_after=time_text(now_us + _DAY_US),
            attestation=Attestation("host_key", None, "node-1", None, 0),
            issuer_kid=self.issuer.kid,
        )
        envelope = self.issuer.sign_document(documents.KEY_CERT, certificate)
        self.connection.execute("BEGIN IMMEDIATE")
        certificates.keep_certificate(
            self.connection, self.logbook, Certified(certificate, envelope), now_us
        )
        self.connection.execute("COMMIT")


def opened(path: Path) -> sqlite3.Connection:
    """A connection to a store's database, which is made if it is not there."""
    Database(str(path), schema.SCHEMA, schema.VERSION, upgrades.UPGRADES).close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    return connection


def now_us() -> int:
    return time.time_ns() // 1_000
