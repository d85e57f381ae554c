"""What another central service asks of the issuer: the certificate of a key that it drew, and the
digests of a text that a person searches for.

It enrols like a daemon, by the same two calls. What attests it is the key that the root gives it
for its work (the record store's is the log key): nothing more has to be registered, and an issuer
in another process needs no new trust.

Owns: the enrolment request of a service, checking the answer, and calls to an issuer elsewhere.
Refuses: being the issuer, and deciding what goes on without a certificate (the caller does).
"""

from __future__ import annotations

import base64
from typing import Final, Protocol

import msgspec

from central.acts import WHY_HEADER
from central.errors import Refused
from central.issuer.digests import DigestAnswer, DigestRequest
from gateway import attestation, documents, seal
from gateway.attestation import EnrolAnswer, NonceAnswer
from gateway.documents import Enrol, EnrolAttestation, Envelope
from gateway.errors import UNREADABLE, DocumentInvalid
from gateway.io.service import CentralService
from gateway.ports import ServiceUnreachable
from gateway.shipping import refusal_code
from gateway.timestamp import time_text

TOPOLOGY: Final = "central"
_DIGEST_REFUSALS: Final = frozenset(
    {"token_missing", "token_unknown", "role_insufficient", "not_found", "body_too_large"}
)


class IssuerDesk(Protocol):
    """The two calls of an enrolment. Both raise Refused."""

    async def nonce(self) -> NonceAnswer: ...

    async def enrol(self, body: bytes) -> EnrolAnswer: ...


class DigestDesk(Protocol):
    """Where digests for a search come from."""

    async def digests_for_search(
        self, authorization: str | None, why: str | None, request: DigestRequest
    ) -> DigestAnswer:
        """``authorization``, ``why``: of the person who searches, by the caller's own check an
        auditor of the tenant. Raises Refused."""
        ...


class RemoteIssuer:
    """The desks of an issuer in another process. Enrolling raises ServiceUnreachable, too."""

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

    async def digests_for_search(
        self, authorization: str | None, why: str | None, request: DigestRequest
    ) -> DigestAnswer:
        """The issuer decides by the person's token, too, and notes the act in its own list."""
        headers = {"Authorization": authorization or "", "Content-Type": "application/json"}
        if why is not None:
            headers[WHY_HEADER] = why
        body = msgspec.json.encode(request)
        try:
            answer = await self._service.call("POST", "/v1/digests", headers=headers, body=body)
        except (ServiceUnreachable, ValueError) as error:
            raise Refused("digests_unavailable", str(error)) from error
        if answer.status != 200:
            code = refusal_code(answer.body)
            if code in _DIGEST_REFUSALS:
                raise Refused(code, "says the issuer")
            raise Refused(
                "digests_unavailable", f"it answered {answer.status}: {code or 'no code'}"
            )
        try:
            return msgspec.json.decode(answer.body, type=DigestAnswer)
        except UNREADABLE as error:
            raise Refused("digests_unavailable", f"its answer: {error}") from error

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
