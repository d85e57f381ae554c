"""One chain of the store itself, in which acts of people are recorded (topology ``central``).

Owns: what stands in such a chain (``start``, what was left of the one before, ``admin`` records, a
late certificate in a ``heartbeat``, ``seal``) and appending to it in the caller's transaction.
Refuses: when a chain begins and ends (``register.py``). A record of the store is taken in by
the same steps as a daemon's: verified, judged, and a leaf of the log.

Where a chain stands is read from the table in each transaction, so that one that was rolled back
leaves no hole.
"""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Callable, Iterable
from typing import Final, TypedDict

import msgspec

from central import certifying
from central.errors import Refused
from central.record_store import batch, certificates
from central.record_store.ingest import Arrival, ingest
from central.record_store.logs import Log, Logbook, hash_text
from gateway import __version__, record, seal
from gateway.documents import Counters, Envelope
from gateway.identifier import RECORD_RANDOM_BYTES, record_id
from gateway.ports import Entropy, WallClock
from gateway.timestamp import time_text

_UNCOUNTED: Final = Counters(decisions={}, completions={}, turned_away={})
"""A service that keeps records decides on no call and turns none away."""


class Chain(msgspec.Struct, kw_only=True):
    """One instance of the store in one log: its key is in this process's memory alone.

    ``began_us``: when it was drawn; ``certificate``: None while no issuer certified it;
    ``renew_us``: when another one should take its place, None without a certificate.
    """

    tenant: str
    region: str
    instance: str
    signer: seal.Signer
    digest_key: bytes
    began_us: int
    certificate: Envelope | None = None
    renew_us: int | None = None


class Head(msgspec.Struct, frozen=True):
    """The newest record of a chain."""

    seq: int
    record_hash: str
    sealed: bool


class ChainWriter:
    """Appends to chains of one ``service``. ``config_digest``: of the process's configuration."""

    def __init__(
        self,
        service: str,
        config_digest: str,
        issuer_keys: Callable[[], dict[str, bytes]],
        logbook: Logbook,
        clock: WallClock,
        entropy: Entropy,
    ) -> None:
        self._service = service
        self._config_digest = config_digest
        self._issuer_keys = issuer_keys
        self._logbook = logbook
        self._clock = clock
        self._entropy = entropy

    def draw_id(self) -> str:
        """A fresh record id of this moment."""
        return record_id(self._clock.wall_us(), self._entropy.bytes(RECORD_RANDOM_BYTES))

    def begin(self, connection: sqlite3.Connection, chain: Chain) -> None:
        """Write the start of ``chain`` and what is known of the one before, unless they stand.

        Inside a write transaction, as everything here.
        """
        log = self._logbook.open(connection, chain.tenant, chain.region)
        if head_of(connection, log, chain.instance) is not None:
            return
        before = self._predecessor(connection, log)
        self._append(connection, chain, self._beginning(chain, before))
        connection.execute(
            "INSERT INTO own_instance (log, instance, service) VALUES (?,?,?)",
            (log.log, chain.instance, self._service),
        )

    def tell_certificate(
        self, connection: sqlite3.Connection, chain: Chain, envelope: Envelope
    ) -> None:
        """Write down a certificate that came after the start."""
        log = self._logbook.open(connection, chain.tenant, chain.region)
        head = head_of(connection, log, chain.instance)
        assert head is not None, "begin comes first"
        heartbeat = record.Heartbeat(
            **self._leading(chain),
            kind="heartbeat",
            durable_seq=head.seq,
            record_hash=head.record_hash,
            acked_seq=head.seq,
            counters=_UNCOUNTED,
            log_seen=None,
            certificate=envelope,
        )
        self._append(connection, chain, [heartbeat])

    def append(
        self, connection: sqlite3.Connection, chain: Chain, drafts: Iterable[record.Admin]
    ) -> None:
        """Write ``drafts`` after what stands there."""
        self._append(connection, chain, drafts)

    def end(self, connection: sqlite3.Connection, chain: Chain) -> None:
        """Seal ``chain``, if it ever began."""
        log = self._logbook.open(connection, chain.tenant, chain.region)
        head = head_of(connection, log, chain.instance)
        if head is not None and not head.sealed:
            last = record.Seal(**self._leading(chain), kind="seal", counters=_UNCOUNTED)
            self._append(connection, chain, [last])

    def _predecessor(self, connection: sqlite3.Connection, log: Log) -> tuple[str, Head] | None:
        row = connection.execute(
            "SELECT instance FROM own_instance WHERE log = ? AND service = ?"
            " ORDER BY number DESC LIMIT 1",
            (log.log, self._service),
        ).fetchone()
        head = None if row is None else head_of(connection, log, row[0])
        return None if head is None else (row[0], head)

    def _beginning(self, chain: Chain, before: tuple[str, Head] | None) -> Iterable[record.Record]:
        clock = self._clock
        stamp = record.Clock(
            source=clock.source(),
            err_ms=clock.error_ms(),
            mono_us=clock.mono_us(),
            boot_id=clock.boot_id(),
        )
        yield record.Start(
            **self._leading(chain),
            kind="start",
            topology=certifying.TOPOLOGY,
            time=record.Started(started=time_text(chain.began_us), clock=stamp),
            pub=base64.b64encode(chain.signer.public).decode(),
            certificate=chain.certificate,
            config_digest=self._config_digest,
            build=f"gatepost/{__version__}",
            continues=None
            if before is None
            else record.Continues(before[0], before[1].seq, before[1].record_hash),
            continues_reason="first_start" if before is None else None,
        )
        if before is not None and not before[1].sealed:
            yield record.Recovered(
                **self._leading(chain),
                kind="recovered",
                instance=before[0],
                last_seq=before[1].seq,
                last_hash=before[1].record_hash,
                cut_bytes=0,
                # Its records and their leaves were one transaction: nothing was half written.
                ambiguous=False,
                damaged=[],
                quarantined=[],
            )

    def _leading(self, chain: Chain) -> _Leading:
        return _Leading(
            v=record.VERSION,
            id=self.draw_id(),
            tenant=chain.tenant,
            region=chain.region,
            chain=record.UNCHAINED,
        )

    def _append(
        self, connection: sqlite3.Connection, chain: Chain, drafts: Iterable[record.Record]
    ) -> None:
        log = self._logbook.open(connection, chain.tenant, chain.region)
        head = head_of(connection, log, chain.instance)
        sealer = seal.Sealer(
            chain.signer, chain.instance, None if head is None else (head.seq, head.record_hash)
        )
        keyring = certificates.keyring_of(connection, log.log, chain.instance, self._issuer_keys())
        lines = [sealer.seal(draft).envelope_line() for draft in drafts]
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


class _Leading(TypedDict):
    """The first members of a draft, but for its kind."""

    v: int
    id: str
    tenant: str
    region: str
    chain: record.Chain


def head_of(connection: sqlite3.Connection, log: Log, instance: str) -> Head | None:
    """Where the chain of ``instance`` stands in ``log``; None before its first record."""
    row = connection.execute(
        "SELECT head_seq, head_hash, sealed_seq FROM instance"
        " WHERE log = ? AND instance = ? AND head_seq >= 0",
        (log.log, instance),
    ).fetchone()
    return None if row is None else Head(row[0], hash_text(row[1]), row[2] is not None)
