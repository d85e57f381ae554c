"""One process instance: its id, its key in memory, its chain and its digest key.

Owns: drawing them at start, and the window in which the key may sign. Refuses: writing any key
to disk (a new start is a new instance) and talking to the issuer (``enrol.py``).
"""

from __future__ import annotations

import anyio

from gateway import documents, lineage, seal
from gateway.documents import Envelope, KeyCert, LogSeen, RequestOf
from gateway.identifier import INSTANCE_BYTES, instance_id
from gateway.ports import Entropy, Receipt, WallClock
from gateway.signed_request import sign_request
from gateway.timestamp import time_micros

_DIGEST_KEY_BYTES = 32


class Instance:
    """Key, chain and certificate of this process.

    ``certified`` is set once the first certificate is held. Uncertified time counts from the
    start, or from the end of the newest certificate.
    """

    def __init__(self, entropy: Entropy, clock: WallClock) -> None:
        self.id = instance_id(entropy.bytes(INSTANCE_BYTES))
        self.digest_key = entropy.bytes(_DIGEST_KEY_BYTES)
        self.sealer = seal.Sealer(seal.Signer(entropy.bytes(seal.SEED_BYTES)), self.id)
        self.started_us = clock.wall_us()
        self.certificate: KeyCert | None = None
        self.certificate_envelope: Envelope | None = None
        self.certificate_envelopes: list[Envelope] = []
        self.certified = anyio.Event()
        self._clock = clock

    def __repr__(self) -> str:
        return f"Instance({self.id}, certified={self.certificate is not None})"

    @property
    def signer(self) -> seal.Signer:
        return self.sealer.signer

    def accept(self, envelope: Envelope, certificate: KeyCert) -> None:
        """Hold a checked certificate of the current key, beside those of the keys before it."""
        self.certificate = certificate
        self.certificate_envelope = envelope
        self.certificate_envelopes.append(envelope)
        self.certified.set()

    def may_ship(self) -> bool:
        """Only a certified instance ships: the certificate in its window is its credential."""
        return self.uncertified_seconds(self._clock.wall_us()) == 0 and self.certified.is_set()

    def uncertified_seconds(self, now_us: int) -> float:
        """For how long the key has had no certificate that is in its window; 0 if it has one."""
        if self.certificate is None:
            return max(0.0, (now_us - self.started_us) / 1e6)
        return max(0.0, (now_us - time_micros(self.certificate.not_after)) / 1e6)

    def sign_call(
        self,
        audience: str,
        method: str,
        path: str,
        body: bytes,
        of: RequestOf | None,
        log_seen: LogSeen | None,
    ) -> str:
        """The ``Gatepost-Signed`` value for one call to a central service."""
        return sign_request(
            self.signer,
            self.id,
            audience=audience,
            method=method,
            path=path,
            body=body,
            now_us=self._clock.wall_us(),
            of=of,
            log_seen=log_seen,
        )

    def parent_header(self, receipt: Receipt, body: bytes, hops: int) -> str | None:
        """``lineage.parent_header`` of this instance; None while its key is not certified."""
        now_us = self._clock.wall_us()
        if self.certificate_envelope is None or self.uncertified_seconds(now_us) > 0:
            return None
        return lineage.parent_header(
            receipt,
            body,
            hops,
            instance=self.id,
            signer=self.signer,
            certificate=self.certificate_envelope,
            wall_us=now_us,
        )

    def sign_document(self, payload_type: str, document: documents.Document) -> Envelope:
        """``document`` signed by the instance key."""
        return self.signer.sign_document(payload_type, document)
