"""How a central service gets the certificate of a key that it drew.

It enrols like a daemon, by the same two calls. What attests it is the key that the root gives it
for its work (the record store's is the log key): nothing more has to be registered, and an issuer
in another process needs no new trust.

Owns: the enrolment request of a service, and checking the answer. Refuses: being the issuer, and
deciding what goes on without a certificate (the caller does).
"""

from __future__ import annotations

import base64
from typing import Final, Protocol

import msgspec

from central.errors import Refused
from gateway import attestation, documents, seal
from gateway.attestation import EnrolAnswer, NonceAnswer
from gateway.documents import Enrol, EnrolAttestation, Envelope
from gateway.errors import UNREADABLE, DocumentInvalid
from gateway.io.service import CentralService
from gateway.shipping import refusal_code
from gateway.timestamp import time_text

TOPOLOGY: Final = "central"


class IssuerDesk(Protocol):
    """The two calls of an enrolment. Both raise Refused."""

    async def nonce(self) -> NonceAnswer: ...

    async def enrol(self, body: bytes) -> EnrolAnswer: ...


class RemoteIssuer:
    """The desk of an issuer in another process. Raises ServiceUnreachable, too."""

    def __init__(self, service: CentralService) -> None:
        self._service = service

    async def aclose(self) -> None:
        """Close kept connections."""
        await self._service.aclose()

    async def nonce(self) -> NonceAnswer:
        body = await self._post("/v1/enrol/nonce", b"")
        return msgspec.json.decode(body, type=NonceAnswer)

    async def enrol(self, body: bytes) -> EnrolAnswer:
        answer = await self._post("/v1/enrol", body)
        return msgspec.json.decode(answer, type=EnrolAnswer)

    async def _post(self, path: str, body: bytes) -> bytes:
        answer = await self._service.call("POST", path, body=body)
        if answer.status not in (200, 201):
            code = refusal_code(answer.body) or "no code"
            raise Refused("attestation_invalid", f"the issuer answered {answer.status}: {code}")
        return answer.body


class Enrolling(msgspec.Struct, frozen=True, kw_only=True):
    """A key that asks. ``not_before_us``: since when it signs; ``digest_key``: 32 bytes."""

    signer: seal.Signer
    instance: str
    tenant: str
    region: str
    not_before_us: int
    digest_key: bytes


async def certify(
    desk: IssuerDesk, attesting: seal.Signer, one: Enrolling, issuer_keys: dict[str, bytes]
) -> tuple[Envelope, documents.KeyCert]:
    """The certificate of ``one``.

    Raises Refused, ServiceUnreachable, and DocumentInvalid for an answer that is none of ours.
    """
    draft = Enrol(
        audience=attestation.ENROL_AUDIENCE,
        nonce=(await desk.nonce()).nonce,
        pub=base64.b64encode(one.signer.public).decode(),
        instance=one.instance,
        tenant=one.tenant,
        region=one.region,
        topology=TOPOLOGY,
        not_before=time_text(one.not_before_us),
        digest_key=base64.b64encode(one.digest_key).decode(),
        attestation=EnrolAttestation(type="host_key", token="", worker=0),
    )
    token = attestation.host_token(draft, attesting)
    request = msgspec.structs.replace(
        draft, attestation=msgspec.structs.replace(draft.attestation, token=token)
    )
    body = documents.encode(one.signer.sign_document(documents.ENROL, request))
    try:
        envelope = (await desk.enrol(body)).certificate
        certificate = seal.open_certificate(envelope, issuer_keys)
    except UNREADABLE as error:
        raise DocumentInvalid("unreadable", f"answer of the issuer: {error}") from error
    wanted = (one.signer.kid, one.instance, one.tenant, one.region)
    if wanted != (
        certificate.kid,
        certificate.instance,
        certificate.tenant,
        certificate.region,
    ):
        raise DocumentInvalid("certificate", "the issuer certified something else")
    return envelope, certificate
