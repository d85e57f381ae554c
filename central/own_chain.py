"""One chain of a central service itself, with acts of people in it (topology ``central``).

Owns: what stands in such a chain (``start``, what was left of the one before, ``admin`` records, a
late certificate in a ``heartbeat``, ``seal``) and signing it, record by record, in the caller's
transaction. Refuses: when a chain begins and ends (``register.py``) and where its records lie: a
``Shelf`` keeps them, in the log itself (``record_store/own_log.py``) or until the record store of
another process has them (``outbox/shelf.py``).

Where a chain stands is read from the shelf in each transaction, so that one that was rolled back
leaves no hole.
"""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final, Protocol, TypedDict

import msgspec

from central import certifying
from gateway import __version__, record, seal
from gateway.documents import Counters, Envelope
from gateway.identifier import RECORD_RANDOM_BYTES, record_id
from gateway.ports import Entropy, WallClock
from gateway.timestamp import time_text

_UNCOUNTED: Final = Counters(decisions={}, completions={}, turned_away={})
"""A service that keeps records decides on no call and turns none away."""


class Chain(msgspec.Struct, kw_only=True):
    """One instance of a service in one log: its key is in this process's memory alone.

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


class Shelf(Protocol):
    """Where the records of a service's chains lie; everything inside a write transaction."""

    def head(self, connection: sqlite3.Connection, chain: Chain) -> Head | None:
        """The newest record of ``chain``; None before its first."""

    def predecessor(self, connection: sqlite3.Connection, chain: Chain) -> tuple[str, Head] | None:
        """Instance and newest record of this service's last chain in the log of ``chain``."""

    def begun(self, connection: sqlite3.Connection, chain: Chain) -> None:
        """``chain`` has its start, and is the last one from here on."""

    def keep(
        self, connection: sqlite3.Connection, chain: Chain, records: Sequence[seal.Sealed]
    ) -> None:
        """Put ``records`` after what stands there. Raises Refused."""


class ChainWriter:
    """Appends to chains of one service. ``config_digest``: of the process's configuration."""

    def __init__(
        self, shelf: Shelf, config_digest: str, clock: WallClock, entropy: Entropy
    ) -> None:
        self._shelf = shelf
        self._config_digest = config_digest
        self._clock = clock
        self._entropy = entropy

    def draw_id(self) -> str:
        """A fresh record id of this moment."""
        return record_id(self._clock.wall_us(), self._entropy.bytes(RECORD_RANDOM_BYTES))

    def begin(self, connection: sqlite3.Connection, chain: Chain) -> None:
        """Write the start of ``chain`` and what is known of the one before, unless they stand.

        Inside a write transaction, as everything here.
        """
        if self._shelf.head(connection, chain) is not None:
            return
        before = self._shelf.predecessor(connection, chain)
        self._append(connection, chain, self._beginning(chain, before))
        self._shelf.begun(connection, chain)

    def tell_certificate(
        self, connection: sqlite3.Connection, chain: Chain, envelope: Envelope
    ) -> None:
        """Write down a certificate that came after the start."""
        head = self._shelf.head(connection, chain)
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
        head = self._shelf.head(connection, chain)
        if head is not None and not head.sealed:
            last = record.Seal(**self._leading(chain), kind="seal", counters=_UNCOUNTED)
            self._append(connection, chain, [last])

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
        head = self._shelf.head(connection, chain)
        sealer = seal.Sealer(
            chain.signer, chain.instance, None if head is None else (head.seq, head.record_hash)
        )
        self._shelf.keep(connection, chain, [sealer.seal(draft) for draft in drafts])


class _Leading(TypedDict):
    """The first members of a draft, but for its kind."""

    v: int
    id: str
    tenant: str
    region: str
    chain: record.Chain
