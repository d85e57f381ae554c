"""Links of a gateway in front of the simulated one: true ones, and two kinds of false ones.

The gateway in front is certified by the world's own issuer key. Owns: making the header. Refuses:
checking it, which is the daemon's work; what its record must say stands in ``particulars.py``.
"""

from __future__ import annotations

import base64
from typing import Final

import msgspec

from gateway import documents, seal
from gateway.documents import Attestation, KeyCert, ParentLink
from gateway.lineage import ParentHeader
from gateway.timestamp import time_text
from tests.sim.clock import EPOCH_US

INSTANCE: Final = "p" * 26
TOO_MANY_HOPS: Final = 5
_YEAR_US: Final = 365 * 86_400_000_000
_FRONT: Final = seal.Signer(b"f" * 32)
_FORGER: Final = seal.Signer(b"g" * 32)
_ISSUER: Final = seal.Signer(b"i" * 32)


def _certificate() -> documents.Envelope:
    certificate = KeyCert(
        serial="front-1",
        kid=_FRONT.kid,
        pub=base64.b64encode(_FRONT.public).decode(),
        instance=INSTANCE,
        tenant="acme",
        region="eu",
        topology="regional",
        issued=time_text(EPOCH_US - _YEAR_US),
        not_before=time_text(EPOCH_US - _YEAR_US),
        not_after=time_text(EPOCH_US + _YEAR_US),
        attestation=Attestation(
            type="host_key", issuer=None, subject="front", pod_uid=None, worker=0
        ),
        issuer_kid=_ISSUER.kid,
    )
    return _ISSUER.sign_document(documents.KEY_CERT, certificate)


def link_header(number: int, body: bytes, *, forged: bool = False, hops: int = 1) -> str:
    """The header value of a link that is good for ``body``; ``number`` makes its ids."""
    link = ParentLink(
        id=f"019a0c6e-9d00-7abc-8def-{number:012x}",
        instance=INSTANCE,
        seq=number,
        record_hash=seal.sha256_text(b"%d" % number),
        request_sha256=seal.sha256_text(body),
        time=time_text(EPOCH_US),
        hops=hops,
    )
    signer = _FORGER if forged else _FRONT
    envelope = signer.envelope(documents.PARENT, documents.encode(link))
    data = msgspec.json.encode(ParentHeader(link=envelope, certificate=_certificate()))
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
