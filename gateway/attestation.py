"""What a daemon and the issuer say to each other at enrolment, byte for byte.

Owns: the exact bytes that a host key signs (to attest a start, and to be registered), the text
forms of those proofs, and the answers of the issuer. Refuses: deciding who may enrol
(``central.issuer``) and making keys or nonces.

The flow: ``POST /v1/enrol/nonce`` → ``NonceAnswer``; ``POST /v1/enrol`` with the DSSE envelope of
an ``Enrol`` signed by the new instance key → 201 ``EnrolAnswer``. A ``host_key`` attestation is
``<host kid>.<base64 signature>``; the host key was registered once by ``POST /v1/hosts`` with a
``HostRegistration``, which spends a one-time token.
"""

from __future__ import annotations

import base64
from typing import Final

import msgspec

from gateway import documents, seal
from gateway.documents import Document, Enrol, Envelope
from gateway.errors import DocumentInvalid

ENROL_AUDIENCE: Final = "gatepost-enrol"
HOST_AUDIENCE: Final = "gatepost-host"
"""Stands in what a host key signs when it is registered: neither proof can serve as the other."""

ATTESTATION_TYPES: Final = frozenset({"k8s_sa", "spiffe_jwt", "host_key", "one_time"})


class NonceAnswer(msgspec.Struct, frozen=True):
    """``nonce``: base64url, for one enrolment within ``seconds``; ``now``: the issuer's clock."""

    nonce: str
    now: str
    seconds: int


class EnrolAnswer(msgspec.Struct, frozen=True):
    """``supersedes``: the instance that this one takes the place of, or null."""

    certificate: Envelope
    supersedes: str | None


class HostStatement(Document, frozen=True):
    """What a host key signs to attest one start: this nonce, for this key and this place."""

    audience: str
    nonce: str
    pub: str
    instance: str
    tenant: str
    region: str


class HostClaim(Document, frozen=True):
    """What a host key signs to be registered: possession of the key, bound to the token."""

    audience: str
    token: str
    pub: str
    tenant: str
    region: str


class HostRegistration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of ``POST /v1/hosts``. ``token`` is spent; ``proof``: base64, over ``claim_pae``."""

    token: str
    pub: str
    tenant: str
    region: str
    proof: str


def statement_pae(request: Enrol) -> bytes:
    """The framed bytes that a host key signs to attest ``request``.

    PAE of type ``enrol`` over the exact bytes of a ``HostStatement``. The digest key and the
    rest of the request are covered by the instance key's own signature.
    """
    statement = HostStatement(
        audience=ENROL_AUDIENCE,
        nonce=request.nonce,
        pub=request.pub,
        instance=request.instance,
        tenant=request.tenant,
        region=request.region,
    )
    return seal.pae(documents.ENROL, documents.encode(statement))


def host_token(request: Enrol, host: seal.Signer) -> str:
    """``attestation.token`` of type ``host_key``: ``<host kid>.<base64 signature>``.

    ``request.attestation`` is not read, so a draft with an empty token will do.
    """
    signature = host.sign(statement_pae(request))
    return f"{host.kid}.{base64.b64encode(signature).decode()}"


def split_host_token(token: str) -> tuple[str, bytes]:
    """(host kid, signature bytes). Raises DocumentInvalid (``attestation``)."""
    kid, dot, signature = token.partition(".")
    if not dot or not kid.startswith("ed25519:"):
        raise DocumentInvalid("attestation", "a host_key token is <host kid>.<base64 signature>")
    return kid, seal.unbase64(signature, "attestation")


def claim_pae(token: str, pub: str, tenant: str, region: str) -> bytes:
    """The framed bytes that a host key signs in ``HostRegistration.proof``."""
    claim = HostClaim(audience=HOST_AUDIENCE, token=token, pub=pub, tenant=tenant, region=region)
    return seal.pae(documents.ENROL, documents.encode(claim))


def register_host(token: str, host: seal.Signer, tenant: str, region: str) -> HostRegistration:
    """The body that registers ``host`` by spending the one-time ``token``."""
    pub = base64.b64encode(host.public).decode()
    proof = host.sign(claim_pae(token, pub, tenant, region))
    return HostRegistration(
        token=token,
        pub=pub,
        tenant=tenant,
        region=region,
        proof=base64.b64encode(proof).decode(),
    )
