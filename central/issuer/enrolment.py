"""Enrolment: a nonce, a proof of possession and an attestation become a certificate.

Owns: the order of the checks, the window of a certificate, which instance is superseded, and
keeping each instance's digest key wrapped. Refuses: HTTP (``api.py``), judging attestations
(``attestors.py``, ``workloads.py``), and certifying a key or an instance that belongs to somebody
else, or whose place a newer instance took.
"""

from __future__ import annotations

import base64
import sqlite3
from typing import Final

import msgspec

from central.config import CentralConfig
from central.errors import Refused
from central.issuer import attestors, revoked
from central.issuer.attestors import Proved
from gateway import attestation, documents, identifier, limits, seal, vocabulary
from gateway.attestation import EnrolAnswer, NonceAnswer
from gateway.documents import Attestation, Enrol, Envelope, KeyCert
from gateway.errors import DocumentInvalid
from gateway.ports import Entropy, WallClock
from gateway.timestamp import time_micros, time_text

_NONCE_BYTES: Final = 24
_SERIAL_BYTES: Final = 16
_DIGEST_KEY_BYTES: Final = 32
_WORKER_MAX: Final = 1_023
_SECOND_US: Final = 1_000_000


class Opened(msgspec.Struct, frozen=True):
    """A request whose signature by its own new key (``public``) was checked."""

    request: Enrol
    public: bytes


class Superseded(Refused):
    """``instance_conflict``: ``instance`` asks, though ``superseded_by`` took its place."""

    def __init__(self, instance: str, superseded_by: str) -> None:
        super().__init__("instance_conflict", f"superseded by {superseded_by}")
        self.instance = instance
        self.superseded_by = superseded_by


class Enrolments:
    """The issuer's work, each method inside a transaction of the caller."""

    def __init__(
        self,
        config: CentralConfig,
        signer: seal.Signer,
        wrap_key: bytes,
        clock: WallClock,
        entropy: Entropy,
    ) -> None:
        self._config = config
        self._signer = signer
        self._wrap_key = wrap_key
        self._clock = clock
        self._entropy = entropy

    def nonce(self, connection: sqlite3.Connection) -> NonceAnswer:
        """A fresh nonce. Raises Refused (``too_busy``): nonces are given to anybody who asks."""
        now_us = self._clock.wall_us()
        connection.execute("DELETE FROM nonce WHERE expires_us <= ?", (now_us,))
        (open_nonces,) = connection.execute("SELECT count(*) FROM nonce").fetchone()
        if open_nonces >= limits.ENROL_NONCES_MAX:
            raise Refused("too_busy", "too many enrolments are open")
        text = base64.urlsafe_b64encode(self._entropy.bytes(_NONCE_BYTES)).decode()
        expires_us = now_us + limits.ENROL_NONCE_SECONDS * _SECOND_US
        connection.execute("INSERT INTO nonce VALUES (?,?)", (text, expires_us))
        return NonceAnswer(nonce=text, now=time_text(now_us), seconds=limits.ENROL_NONCE_SECONDS)

    def open(self, data: bytes) -> Opened:
        """The request in ``data``, as far as it can be judged alone. Raises Refused."""
        opened = _open(data)
        request = opened.request
        self._check_shape(request)
        if not self._config.keeps(request.tenant, request.region):
            raise Refused("wrong_tenant", "check tenant and region in the daemon's configuration")
        return opened

    def enrol(
        self, connection: sqlite3.Connection, opened: Opened, proved: Proved | None
    ) -> EnrolAnswer:
        """The certificate for ``opened``; ``proved``: by a platform's token, None for other
        attestations. Raises Refused; then nothing changed."""
        now_us = self._clock.wall_us()
        request, public = opened.request, opened.public
        revoked.refuse(connection, seal.key_id(public), "the instance key", now_us)
        if proved is None:
            proved = attestors.attest(connection, request)
            subject = proved.attestation.subject
            revoked.refuse(connection, subject, "the host key that attests", now_us)
        self.spend_nonce(connection, request.nonce, now_us)
        superseded = self._take_instance(connection, request, proved, public, now_us)
        certificate = self._certify(connection, request, proved.attestation, public, now_us)
        return EnrolAnswer(certificate=certificate, supersedes=superseded)

    def _check_shape(self, request: Enrol) -> None:
        if request.audience != attestation.ENROL_AUDIENCE:
            raise Refused("document_invalid", f"audience is not {attestation.ENROL_AUDIENCE}")
        if request.topology not in vocabulary.TOPOLOGIES:
            raise Refused("document_invalid", "the topology is not in the vocabulary")
        if not 0 <= request.attestation.worker <= _WORKER_MAX:
            raise Refused("document_invalid", f"worker is not between 0 and {_WORKER_MAX}")
        try:
            identifier.instance_bytes(request.instance)
            time_micros(request.not_before)
        except ValueError as error:
            raise Refused("document_invalid", str(error)) from error

    def spend_nonce(self, connection: sqlite3.Connection, nonce: str, now_us: int) -> None:
        """End ``nonce``. Raises Refused (``nonce_unknown``)."""
        spent = connection.execute(
            "DELETE FROM nonce WHERE nonce = ? AND expires_us > ?", (nonce, now_us)
        )
        if spent.rowcount != 1:
            raise Refused("nonce_unknown")

    def _take_instance(
        self,
        connection: sqlite3.Connection,
        request: Enrol,
        proved: Proved,
        public: bytes,
        now_us: int,
    ) -> str | None:
        """Record the instance; the one it supersedes, or None for none and for a renewal."""
        attested, worker = _attested(proved.attestation), proved.attestation.worker
        held = connection.execute(
            "SELECT instance FROM certificate WHERE kid = ?", (seal.key_id(public),)
        ).fetchone()
        if held is not None and held[0] != request.instance:
            raise Refused("instance_taken", "this key was certified for another instance")
        known = connection.execute(
            "SELECT tenant, region, attested, worker, superseded_by FROM instance"
            " WHERE instance = ?",
            (request.instance,),
        ).fetchone()
        place = (request.tenant, request.region, attested, worker)
        if known is not None:
            if known[:4] != place:
                raise Refused("instance_taken", "this instance was enrolled by somebody else")
            if known[4] is not None:
                raise Superseded(request.instance, known[4])
            return None
        predecessor = None
        if proved.exclusive:
            predecessor = connection.execute(
                "SELECT instance FROM instance WHERE attested = ? AND worker = ?"
                " AND tenant = ? AND region = ? AND superseded_by IS NULL"
                " ORDER BY enrolled_us DESC LIMIT 1",
                (attested, worker, request.tenant, request.region),
            ).fetchone()
        connection.execute(
            "INSERT INTO instance (instance, tenant, region, attested, worker, enrolled_us,"
            " superseded_by, digest_key) VALUES (?,?,?,?,?,?,NULL,?)",
            (request.instance, *place, now_us, self._wrapped(request.digest_key)),
        )
        if predecessor is None:
            return None
        connection.execute(
            "UPDATE instance SET superseded_by = ? WHERE instance = ?",
            (request.instance, predecessor[0]),
        )
        return str(predecessor[0])

    def _wrapped(self, digest_key: str) -> bytes:
        try:
            key = seal.unbase64(digest_key, "digest_key")
        except DocumentInvalid as error:
            raise Refused("document_invalid", str(error)) from error
        if len(key) != _DIGEST_KEY_BYTES:
            raise Refused("document_invalid", f"digest_key has not {_DIGEST_KEY_BYTES} bytes")
        return seal.wrap(key, self._wrap_key, self._entropy.bytes(seal.WRAP_NONCE_BYTES))

    def _certify(
        self,
        connection: sqlite3.Connection,
        request: Enrol,
        proved: Attestation,
        public: bytes,
        now_us: int,
    ) -> Envelope:
        settings = self._config.issuer
        # Clamped, not refused: what was signed before the window stays uncertified, and the
        # instance can go on. A clock that runs ahead of ours asks for a time to come.
        earliest_us = now_us - settings.uncertified_seconds_max * _SECOND_US
        (until_us,) = connection.execute(
            "SELECT max(not_after_us) FROM certificate WHERE kid = ? AND instance = ?",
            (seal.key_id(public), request.instance),
        ).fetchone()
        if until_us is not None:
            # A key that was ours up to there goes on from there, however long we were away.
            earliest_us = min(earliest_us, until_us)
        not_before_us = min(max(time_micros(request.not_before), earliest_us), now_us)
        not_after_us = now_us + settings.certificate_seconds * _SECOND_US
        certificate = KeyCert(
            serial=self._entropy.bytes(_SERIAL_BYTES).hex(),
            kid=seal.key_id(public),
            pub=base64.b64encode(public).decode(),
            instance=request.instance,
            tenant=request.tenant,
            region=request.region,
            topology=request.topology,
            issued=time_text(now_us),
            not_before=time_text(not_before_us),
            not_after=time_text(not_after_us),
            attestation=proved,
            issuer_kid=self._signer.kid,
        )
        envelope = self._signer.sign_document(documents.KEY_CERT, certificate)
        connection.execute(
            "INSERT INTO certificate VALUES (?,?,?,?,?,?)",
            (
                certificate.serial,
                certificate.kid,
                certificate.instance,
                now_us,
                not_after_us,
                documents.encode(envelope),
            ),
        )
        return envelope


def _attested(attestation: Attestation) -> str:
    """Who proved a start, in one line of text. Pod uids are a cluster's own, so it is named."""
    parts = [attestation.type, attestation.subject, attestation.pod_uid or ""]
    if attestation.issuer is not None:
        parts.append(attestation.issuer)
    return "\n".join(parts)


def _open(data: bytes) -> Opened:
    try:
        sealed = seal.parse_envelope(data)
        # The key that must have signed stands in what it signed: that is what possession means.
        request = documents.decode_exact(seal.unbase64(sealed.payload, "unreadable"), Enrol)
    except DocumentInvalid as error:
        raise Refused("document_invalid", str(error)) from error
    try:
        public = seal.public_key(request.pub)
    except DocumentInvalid as error:
        raise Refused("key_refused", error.detail) from error
    try:
        seal.open_envelope(sealed, documents.ENROL, {seal.key_id(public): public})
    except DocumentInvalid as error:
        raise Refused("document_invalid", f"proof of possession: {error}") from error
    return Opened(request, public)
