"""Signing and verifying: DSSE framing, Ed25519, the hash chain, key certificates.

The rules of this file: what is signed is the *framed bytes* (PAE), never a re-encoding; bytes
are verified before they are parsed, and the same bytes are parsed after; a ``keyid`` chooses a
key and never authorises it; small-order public keys are refused (libsodium does, and
``public_key`` checks it again).

Owns: ``pae``, signatures, ``record_hash``, the ``Sealer`` that gives a draft its place in a
chain, and ``entitled`` (was this key allowed to sign this?). Refuses: trust decisions about
policy (``policy_cache.trusted``) and any I/O. The only importer of PyNaCl.

Sources: secure-systems-lab/dsse protocol.md v1.0.2; RFC 8032; formats in ``docs/records.md``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from functools import lru_cache
from typing import Final

import msgspec
from nacl import bindings
from nacl.exceptions import CryptoError

from gateway import documents, record
from gateway.documents import Envelope, KeyCert, Signature
from gateway.errors import UNREADABLE, DocumentInvalid
from gateway.timestamp import time_micros

SIGNATURE_BYTES: Final = 64
PUBLIC_KEY_BYTES: Final = 32
SEED_BYTES: Final = 32
WRAP_KEY_BYTES: Final = 32
WRAP_NONCE_BYTES: Final = 24


def pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE pre-authentication encoding of ``payload``; lengths are counted in bytes."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


CENTRAL: Final = "central"
"""The topology of a central service's own chain."""
_RECORD_TYPE: Final = documents.RECORD.encode()
_RECORD_PAE_PREFIX: Final = b"DSSEv1 %d %b " % (len(_RECORD_TYPE), _RECORD_TYPE)


def record_pae(payload: bytes) -> bytes:
    """``pae(documents.RECORD, payload)``, with the constant part prepared: the hot path."""
    return b"%b%d %b" % (_RECORD_PAE_PREFIX, len(payload), payload)


def sha256_text(data: bytes) -> str:
    """``sha256:<hex>`` of ``data``."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def keyed_digest(key: bytes, data: bytes | memoryview) -> str:
    """``hmac-sha256:<hex>`` of ``data`` under ``key``: prompts are short enough to be guessed."""
    return "hmac-sha256:" + hmac.digest(key, data, "sha256").hex()


def key_id(public_key: bytes) -> str:
    """``ed25519:`` + hex SHA-256 of the 32 public-key bytes."""
    return "ed25519:" + hashlib.sha256(public_key).hexdigest()


def record_hash(framed: bytes, signature: bytes) -> str:
    """``sha256:<hex>`` of ``framed ‖ signature``: prev, dedupe, log leaf and receipts."""
    return sha256_text(framed + signature)


class Signer:
    """One Ed25519 key in memory. Python cannot wipe it: dropping the last reference is all.

    ``seed``: 32 bytes. Ed25519 is deterministic (RFC 8032), so golden files are stable.
    """

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise ValueError(f"an Ed25519 seed has {SEED_BYTES} bytes, not {len(seed)}")
        self.public, self._secret = bindings.crypto_sign_seed_keypair(seed)
        self.kid = key_id(self.public)

    def __repr__(self) -> str:
        return f"Signer({self.kid[:20]}…)"

    def sign(self, framed: bytes) -> bytes:
        """The 64-byte signature of already framed bytes (``pae``)."""
        return bindings.crypto_sign(framed, self._secret)[:SIGNATURE_BYTES]

    def envelope(self, payload_type: str, payload: bytes) -> Envelope:
        """``payload`` in a DSSE envelope with this key's one signature."""
        return envelope(payload_type, payload, [(self.kid, self.sign(pae(payload_type, payload)))])

    def sign_document(self, payload_type: str, document: msgspec.Struct) -> Envelope:
        """``document`` in its exact form, signed by this key alone."""
        return self.envelope(payload_type, documents.encode(document))


def public_key(text: str) -> bytes:
    """The 32 bytes of a base64 public key. Raises DocumentInvalid (``key``).

    Refuses points of small order: with such a key one fixed signature is valid for any
    message under verifiers that do not check.
    """
    key = unbase64(text, "key")
    if len(key) != PUBLIC_KEY_BYTES:
        raise DocumentInvalid("key", f"a public key has {PUBLIC_KEY_BYTES} bytes, not {len(key)}")
    if not _is_point(key):
        raise DocumentInvalid("key", "the public key is not a point of the prime-order group")
    return key


@lru_cache(maxsize=256)  # a handful of roles, and the instances that are heard at a time
def _is_point(key: bytes) -> bool:
    return bindings.crypto_core_ed25519_is_valid_point(key)


def verify(framed: bytes, signature: bytes, public: bytes) -> bool:
    """Whether ``signature`` is ``public``'s over ``framed``; wrong lengths are just False."""
    if len(signature) != SIGNATURE_BYTES or len(public) != PUBLIC_KEY_BYTES:
        return False
    try:
        bindings.crypto_sign_open(signature + framed, public)
    except CryptoError:
        return False
    return True


def wrap(secret: bytes, key: bytes, nonce: bytes) -> bytes:
    """``secret`` encrypted for keeping (NaCl secretbox); the nonce stands before the box.

    ``key``: 32 bytes; ``nonce``: 24 bytes that were never used with this key.
    """
    return nonce + bindings.crypto_secretbox(secret, nonce, key)


def unwrap(wrapped: bytes, key: bytes) -> bytes:
    """The inverse of ``wrap``. Raises DocumentInvalid (``wrapped``): other key or other bytes."""
    nonce, box = wrapped[:WRAP_NONCE_BYTES], wrapped[WRAP_NONCE_BYTES:]
    try:
        return bytes(bindings.crypto_secretbox_open(box, nonce, key))
    except (CryptoError, ValueError) as error:
        raise DocumentInvalid("wrapped", "the wrapped key does not open") from error


def unbase64(text: str, what: str) -> bytes:
    """Strict base64 (RFC 4648 section 4). Raises DocumentInvalid (``what``)."""
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise DocumentInvalid(what, f"not base64: {error}") from error


def envelope(payload_type: str, payload: bytes, signatures: list[tuple[str, bytes]]) -> Envelope:
    """A DSSE envelope from raw parts: (keyid, 64 signature bytes) each."""
    return Envelope(
        payload_type=payload_type,
        payload=base64.b64encode(payload).decode(),
        signatures=[
            Signature(keyid=keyid, sig=base64.b64encode(sig).decode()) for keyid, sig in signatures
        ],
    )


def open_envelope(
    data: bytes | Envelope, payload_type: str, keys: dict[str, bytes], threshold: int = 1
) -> bytes:
    """The payload of a DSSE envelope that ``threshold`` distinct ``keys`` signed.

    ``keys``: keyid → 32 public-key bytes; signatures by other keys are ignored, and a key
    counts once however often and under however many keyids it signed. Raises DocumentInvalid
    (``unreadable``, ``type``, ``signature``, ``threshold``). The payload is not parsed here.
    """
    sealed = parse_envelope(data) if isinstance(data, bytes) else data
    if sealed.payload_type != payload_type:
        raise DocumentInvalid("type", f"is {sealed.payload_type!r}, wanted {payload_type!r}")
    payload = unbase64(sealed.payload, "unreadable")
    framed = pae(payload_type, payload)
    good: set[bytes] = set()
    for entry in sealed.signatures:
        public = keys.get(entry.keyid)
        if public is None or public in good:
            continue
        if verify(framed, unbase64(entry.sig, "unreadable"), public):
            good.add(public)
    if threshold < 1 or len(good) < threshold:
        reason = "threshold" if good else "signature"
        raise DocumentInvalid(reason, f"{len(good)} of {threshold} needed signatures are valid")
    return payload


def parse_envelope(data: bytes) -> Envelope:
    """The DSSE envelope in ``data``. Raises DocumentInvalid (``unreadable``)."""
    try:
        return msgspec.json.decode(data, type=Envelope)
    except UNREADABLE as error:
        raise DocumentInvalid("unreadable", f"not a DSSE envelope: {error}") from error


class Sealed(msgspec.Struct, frozen=True):
    """A record with its place and signature; ``hash`` is its ``record_hash``."""

    id: str
    instance: str
    seq: int
    payload: bytes
    signature: bytes
    hash: str
    kid: str

    def envelope_line(self) -> bytes:
        """The DSSE JSON of this record, as shipped and exported; no newline."""
        return documents.encode(
            envelope(documents.RECORD, self.payload, [(self.kid, self.signature)])
        )


class Sealer:
    """The chain of one process instance: gives each draft seq, prev and signature, in order.

    Synchronous on purpose: seq, prev and signature are taken in one step, so two tasks can
    never interleave. One key, held in memory.
    """

    def __init__(self, signer: Signer, instance: str, after: tuple[int, str] | None = None) -> None:
        """``after``: seq and record_hash of the newest record, of a chain that is taken up."""
        self.instance = instance
        self._signer = signer
        last_seq, last_hash = (-1, sha256_text(signer.public)) if after is None else after
        self._next_seq = last_seq + 1
        self._prev = last_hash

    def __repr__(self) -> str:
        return f"Sealer(instance={self.instance!r}, next_seq={self._next_seq})"

    @property
    def signer(self) -> Signer:
        return self._signer

    @property
    def next_seq(self) -> int:
        return self._next_seq

    @property
    def head_hash(self) -> str:
        """record_hash of the newest sealed record; before the first, the hash of the key."""
        return self._prev

    def seal(self, draft: record.Record) -> Sealed:
        """Chain and sign ``draft``. Raises ValueError for words outside the vocabulary."""
        record.check_words(draft)
        signer = self._signer
        place = record.Chain(
            instance=self.instance, seq=self._next_seq, prev=self._prev, kid=signer.kid
        )
        payload = record.encode(msgspec.structs.replace(draft, chain=place))
        framed = record_pae(payload)
        signature = signer.sign(framed)
        digest = record_hash(framed, signature)
        self._next_seq += 1
        self._prev = digest
        return Sealed(
            id=draft.id,
            instance=self.instance,
            seq=place.seq,
            payload=payload,
            signature=signature,
            hash=digest,
            kid=signer.kid,
        )

    def rotate(self, signer: Signer) -> None:
        """Use ``signer`` from the next record on; the caller has sealed a ``rotate`` record."""
        self._signer = signer


def verify_record(payload: bytes, signature: bytes, public: bytes) -> str:
    """The ``record_hash`` of a record whose signature ``public`` made.

    Raises DocumentInvalid (``signature``). Says nothing about entitlement or chain.
    """
    framed = record_pae(payload)
    if not verify(framed, signature, public):
        raise DocumentInvalid("signature", "the record's signature is not valid")
    return record_hash(framed, signature)


def open_certificate(data: bytes | Envelope, issuer_keys: dict[str, bytes]) -> KeyCert:
    """The key certificate in ``data``, signed by one of ``issuer_keys``.

    Raises DocumentInvalid; also for a ``kid`` that is not the hash of ``pub``, a small-order
    key, a window that is empty or unreadable, and an envelope that is not what the issuer wrote:
    whoever passes one on could put signatures beside its own, or other base64 of the same bytes,
    and each would be another leaf of the log and a line that no verifier takes.
    """
    sealed = parse_envelope(data) if isinstance(data, bytes) else data
    payload = open_envelope(sealed, documents.KEY_CERT, issuer_keys)
    cert = documents.decode_exact(payload, documents.KeyCert)
    public = public_key(cert.pub)
    if key_id(public) != cert.kid:
        raise DocumentInvalid("kid", "the certificate's kid is not the hash of its key")
    if cert.issuer_kid not in issuer_keys:
        raise DocumentInvalid("issuer", "the certificate names another issuer key")
    signature = unbase64(sealed.signatures[0].sig, "unreadable")
    if sealed != envelope(documents.KEY_CERT, payload, [(cert.issuer_kid, signature)]):
        raise DocumentInvalid("inexact", "a certificate has its issuer's one signature, no more")
    try:
        if not time_micros(cert.not_before) < time_micros(cert.not_after):
            raise DocumentInvalid("window", "not_before is not earlier than not_after")
        time_micros(cert.issued)
    except ValueError as error:
        raise DocumentInvalid("unreadable", str(error)) from error
    return cert


def entitled(cert: KeyCert, leading: record.Leading) -> bool:
    """Whether ``cert`` lets its key sign for the (instance, tenant, region) of ``leading``."""
    return (
        cert.kid == leading.chain.kid
        and cert.instance == leading.chain.instance
        and cert.tenant == leading.tenant
        and cert.region == leading.region
    )


def may_write(topology: str, body: record.Record) -> bool:
    """Whether an instance that is certified for ``topology`` may write ``body``.

    A central service's own chain holds no calls, or whoever keeps the log could make them up under
    its own certificate; and only there stands what people did.
    """
    if isinstance(body, record.Admin):
        return topology == CENTRAL
    if isinstance(body, record.Completion):
        return topology != CENTRAL
    if isinstance(body, record.Decision):
        return body.topology == topology != CENTRAL
    return not isinstance(body, record.Start) or body.topology == topology
