"""Every signed document that is neither a record nor a policy bundle, and the DSSE envelope.

Owns: the payload type names and the Struct of each document, with its exact byte form
(``encode``/``decode_exact``: members in Struct order, nothing omitted, no unknown member).
Refuses: keys and signatures (``seal.py``) and judging freshness, thresholds or entitlement
(``policy_cache.trusted``, ``seal.entitled``).
"""

from __future__ import annotations

from typing import Annotated, Final, TypeVar

import msgspec

from gateway import limits
from gateway.errors import UNREADABLE, DocumentInvalid

Integer = Annotated[int, msgspec.Meta(ge=-limits.JSON_INTEGER_MAX, le=limits.JSON_INTEGER_MAX)]
"""An integer that every JSON reader sees alike; decoding refuses others, encoding does not."""

_TYPE: Final = "application/vnd.gatepost.{}.v1+json"

RECORD: Final = _TYPE.format("record")
KEY_CERT: Final = _TYPE.format("key-cert")
ROOT: Final = _TYPE.format("root")
POLICY_HEAD: Final = _TYPE.format("policy-head")
BUNDLE: Final = _TYPE.format("bundle")
CHAIN_HEAD: Final = _TYPE.format("chain-head")
REVOCATION: Final = _TYPE.format("revocation")
LOG_STATEMENT: Final = _TYPE.format("log-statement")
REQUEST: Final = _TYPE.format("request")
ENROL: Final = _TYPE.format("enrol")
PARENT: Final = _TYPE.format("parent")

PAYLOAD_TYPES: Final = frozenset(
    {
        RECORD,
        KEY_CERT,
        ROOT,
        POLICY_HEAD,
        BUNDLE,
        CHAIN_HEAD,
        REVOCATION,
        LOG_STATEMENT,
        REQUEST,
        ENROL,
        PARENT,
    }
)


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every signed document: no defaults, nothing omitted, nothing unknown."""


class Signature(Document, frozen=True):
    """``sig``: base64 of the signature bytes. ``keyid`` chooses a key, it never authorises."""

    keyid: str
    sig: str


class Envelope(Document, frozen=True, rename={"payload_type": "payloadType"}):
    """DSSE envelope (secure-systems-lab/dsse protocol.md v1.0): ``payload`` is base64."""

    payload_type: str
    payload: str
    signatures: list[Signature]


class Role(Document, frozen=True):
    keyids: list[str]
    threshold: Integer


class Roles(Document, frozen=True):
    root: Role
    bundle: Role
    policy_head: Role
    issuer: Role
    log: Role
    revocation: Role


class Root(Document, frozen=True):
    """What is trusted, and by how many: keyid → base64 of the 32-byte Ed25519 public key.

    One thing is pinned anywhere: the SHA-256 of root 1's payload. N+1 is signed by the
    thresholds of both N and N+1.
    """

    spec: Integer
    version: Integer
    epoch: Integer
    custody: str
    issued: str
    expires: str
    scopes: list[str]
    keys: dict[str, str]
    roles: Roles


class BundlePin(Document, frozen=True):
    version: Integer
    digest: str
    length: Integer


class Candidate(Document, frozen=True):
    """A bundle above the pinned one that ``percent`` % of the daemons take (``canary.py``)."""

    version: Integer
    digest: str
    length: Integer
    percent: Annotated[int, msgspec.Meta(ge=0, le=100)]


class Lock(Document, frozen=True):
    reason: str
    ticket: str | None


class Refresh(Document, frozen=True):
    min_seconds: Integer
    max_seconds: Integer


class PolicyHead(Document, frozen=True):
    """The short-lived pin of the current bundle, signed by the policy service's own key.

    ``next``: the candidate of a canary, null where there is none.
    """

    spec: Integer
    scope: str
    epoch: Integer
    version: Integer
    root_version: Integer
    issued: str
    expires: str
    bundle: BundlePin
    next: Candidate | None
    lock: Lock | None
    refresh: Refresh | None
    min_gatepost: str | None


class Attestation(Document, frozen=True):
    """How an instance proved who it is. ``type``: k8s_sa | spiffe_jwt | host_key | one_time."""

    type: str
    issuer: str | None
    subject: str
    pod_uid: str | None
    worker: Integer


class KeyCert(Document, frozen=True):
    """An instance key's entitlement to one (instance, tenant, region) and a time window."""

    serial: str
    kid: str
    pub: str
    instance: str
    tenant: str
    region: str
    topology: str
    issued: str
    not_before: str
    not_after: str
    attestation: Attestation
    issuer_kid: str


class LogSeen(Document, frozen=True):
    """The newest checkpoint a daemon has checked: size in leaves, ``root`` base64."""

    origin: str
    size: Integer
    root: str


class Counters(Document, frozen=True):
    """Cumulative since ``start``: outcome → count; turned_away: code → listener → count."""

    decisions: dict[str, Integer]
    completions: dict[str, Integer]
    turned_away: dict[str, dict[str, Integer]]


class ChainHead(Document, frozen=True):
    """Where an instance's chain stands; posted every 60 s whether or not shipping works."""

    instance: str
    durable_seq: Integer
    record_hash: str
    acked_seq: Integer
    counters: Counters
    log_seen: LogSeen | None


class Revocation(Document, frozen=True):
    """Takes back a key or a certificate. Records of it are untrusted from ``untrusted_from``."""

    kid: str
    serial: str | None
    reason: str
    untrusted_from: str
    issued: str


class LogStatement(Document, frozen=True):
    """Closes a log origin that lost acknowledged leaves and opens the next one."""

    closed_origin: str
    last_checkpoint: str
    opened_origin: str
    reason: str
    issued: str


class RequestSender(Document, frozen=True):
    instance: str
    kid: str


class RequestOf(Document, frozen=True):
    instance: str
    first_seq: Integer
    last_seq: Integer


class SignedRequest(Document, frozen=True):
    """The ``Gatepost-Signed`` header: binds one call of a daemon to a central service.

    ``content`` is the SHA-256 of the body as sent. ``of`` may name a dead instance of the same
    tenant and region whose records the sender ships.
    """

    audience: str
    method: str
    path: str
    content: str
    time: str
    sender: RequestSender
    of: RequestOf | None
    log_seen: LogSeen | None


class EnrolAttestation(Document, frozen=True):
    """``token``: the projected token, JWT-SVID, host-key signature or one-time token."""

    type: str
    token: str
    worker: Integer


class Enrol(Document, frozen=True):
    """An instance asks for a certificate; signed by the new key: proof of possession.

    ``audience`` is ``gatepost-enrol``; ``nonce`` is the issuer's; ``digest_key`` is base64 of the
    32 bytes under which this instance keys its digests; ``not_before`` asks for a window that
    covers what the instance already signed uncertified.
    """

    audience: str
    nonce: str
    pub: str
    instance: str
    tenant: str
    region: str
    topology: str
    not_before: str
    digest_key: str
    attestation: EnrolAttestation


class ParentLink(Document, frozen=True):
    """``X-Gatepost-Parent``: the decision of a gateway that this one stands behind."""

    id: str
    instance: str
    seq: Integer
    record_hash: str
    request_sha256: str
    time: str
    hops: Integer


DOCUMENTS: Final[dict[str, type[Document]]] = {
    KEY_CERT: KeyCert,
    ROOT: Root,
    POLICY_HEAD: PolicyHead,
    CHAIN_HEAD: ChainHead,
    REVOCATION: Revocation,
    LOG_STATEMENT: LogStatement,
    REQUEST: SignedRequest,
    ENROL: Enrol,
    PARENT: ParentLink,
}

DocumentT = TypeVar("DocumentT", bound=msgspec.Struct)

_encoder: Final = msgspec.json.Encoder()


def encode(document: msgspec.Struct) -> bytes:
    """The exact payload bytes of ``document``: what is signed."""
    return _encoder.encode(document)


def decode_exact(payload: bytes, struct: type[DocumentT]) -> DocumentT:
    """The ``struct`` in ``payload``, whose bytes must be its exact encoding.

    Raises DocumentInvalid (``unreadable``) for bad JSON, wrong types, unknown or missing
    members, and (``inexact``) for bytes that encode back differently: duplicate keys, spacing,
    escapes, member order.
    """
    try:
        document = msgspec.json.decode(payload, type=struct)
    except UNREADABLE as error:
        raise DocumentInvalid("unreadable", f"{struct.__name__}: {error}") from error
    if _encoder.encode(document) != payload:
        raise DocumentInvalid("inexact", f"{struct.__name__}: the bytes are not its exact form")
    return document
