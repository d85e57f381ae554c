"""The signed documents of an export: who may issue, certify, sign a log and take keys back.

Owns: the chain of roots from the pinned fingerprint, the windows that certificates give to keys,
the revocations of keys, and the statements that closed a log. Refuses: records, and trust in
anything that does not chain from the fingerprint.
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from gateway import acknowledgement, documents, roots, seal
from gateway.acknowledgement import LogKeys
from gateway.documents import Envelope, KeyCert, LogStatement, Revocation, Root
from gateway.errors import DocumentInvalid
from gateway.logproof import LeafType
from gateway.roots import RoleKeys
from gateway.timestamp import time_micros
from gateway.verdicts import Tallies

_LEAF_TYPES: Final = {
    documents.KEY_CERT: LeafType.KEY_CERT,
    documents.REVOCATION: LeafType.REVOCATION,
    documents.LOG_STATEMENT: LeafType.LOG_STATEMENT,
}
"""Documents that stand in the log, too."""


class Window(msgspec.Struct, frozen=True):
    """One certificate as the hot path asks it."""

    instance: str
    tenant: str
    region: str
    topology: str
    serial: str
    public: bytes
    not_before_us: int
    not_after_us: int


class HeadAudit:
    """Takes the documents of one export in order."""

    def __init__(self, fingerprint: str, tallies: Tallies) -> None:
        self._fingerprint = fingerprint
        self._tallies = tallies
        self._issuer_keys: dict[str, bytes] = {}
        self.roots: list[Root] = []
        self.windows: dict[str, list[Window]] = {}
        """Key id → what it is certified for."""
        self.certified: dict[str, int] = {}
        """Instance → the line of its first certificate."""
        self.revoked: list[tuple[Revocation, int]] = []
        """Revocations, and the moment (µs) from which each distrusts."""
        self.statements: list[LogStatement] = []
        self.leaves: dict[tuple[int, bytes], int] = {}
        """(leaf type, hash) → line, of each document that should stand in the log."""

    def add(self, envelope: Envelope, payload: bytes, line: int) -> None:
        """Judge the next document."""
        kind = envelope.payload_type
        leaf_type = _LEAF_TYPES.get(kind)
        if leaf_type is not None and envelope.signatures:
            self.leaves.setdefault((leaf_type, _document_hash(envelope, payload)), line)
        if kind == documents.ROOT:
            self._add_root(envelope, payload, line)
        elif kind == documents.KEY_CERT:
            self._add_certificate(envelope, line)
        elif kind == documents.REVOCATION:
            self._add_revocation(envelope, payload, line)
        elif kind == documents.LOG_STATEMENT:
            self._add_statement(envelope, line)
        elif kind in documents.PAYLOAD_TYPES:
            self._tallies.incomplete("form", f"this version does not judge {kind}", line)
        else:
            self._tallies.false("form", "the payload type is not known", line)

    def log_keys(self) -> RoleKeys | None:
        """Who signs checkpoints now; None without a root."""
        return roots.role_keys(self.roots[-1], "log") if self.roots else None

    def log_keys_ever(self) -> list[RoleKeys]:
        """Who signs checkpoints now or did once, the newest first."""
        return [roots.role_keys(root, "log") for root in reversed(self.roots)]

    def finish(self) -> None:
        """What only shows when every document is in."""
        if not self.roots:
            self._tallies.false("roots", "no root in the export has the pinned fingerprint", None)

    def _add_root(self, envelope: Envelope, payload: bytes, line: int) -> None:
        self._tallies.count("roots")
        try:
            if self.roots:
                following = roots.open_next(envelope, self.roots[-1])
                signers = roots.role_keys(self.roots[-1], "root").keys
            else:
                following = roots.open_first(envelope, self._fingerprint)
                signers = {}
            signers = signers | roots.role_keys(following, "root").keys
            _check_every_signature(envelope, payload, signers)
        except DocumentInvalid as error:
            self._tallies.false("roots", str(error), line)
            return
        self.roots.append(following)
        # A certificate outlives the issuer key's place in the newest root.
        self._issuer_keys |= roots.role_keys(following, "issuer").keys

    def _add_certificate(self, envelope: Envelope, line: int) -> None:
        self._tallies.count("signatures")
        try:
            certificate = seal.open_certificate(envelope, self._issuer_keys)
        except DocumentInvalid as error:
            self._tallies.false("signatures", f"certificate: {error}", line)
            return
        self.windows.setdefault(certificate.kid, []).append(_window(certificate))
        self.certified.setdefault(certificate.instance, line)

    def _add_revocation(self, envelope: Envelope, payload: bytes, line: int) -> None:
        self._tallies.count("signatures")
        try:
            held = self._role_that_signed(envelope)
            _check_every_signature(envelope, payload, held.keys)
            found = documents.decode_exact(payload, Revocation)
            from_us = time_micros(found.untrusted_from)
        except (DocumentInvalid, ValueError) as error:
            self._tallies.false("signatures", f"revocation: {error}", line)
            return
        self.revoked.append((found, from_us))

    def _role_that_signed(self, envelope: Envelope) -> RoleKeys:
        """The revocation role, of any root so far, whose threshold is met: as certificates do,
        revocations outlive their key's place in the newest root. Raises DocumentInvalid."""
        refused = DocumentInvalid("signature", "there is no root that could have given the role")
        for root in reversed(self.roots):
            held = roots.role_keys(root, "revocation")
            try:
                seal.open_envelope(envelope, documents.REVOCATION, held.keys, held.threshold)
            except DocumentInvalid as error:
                refused = error
            else:
                return held
        raise refused

    def _add_statement(self, envelope: Envelope, line: int) -> None:
        self._tallies.count("signatures")
        refused = DocumentInvalid("signature", "there is no root that could have given the roles")
        for root in reversed(self.roots):
            log, revocation = (roots.role_keys(root, "log"), roots.role_keys(root, "revocation"))
            try:
                statement = acknowledgement.open_statement(envelope, LogKeys(log, revocation))
            except DocumentInvalid as error:
                refused = error
            else:
                self.statements.append(statement)
                return
        self._tallies.false("signatures", f"log statement: {refused}", line)


def _window(certificate: KeyCert) -> Window:
    return Window(
        instance=certificate.instance,
        tenant=certificate.tenant,
        region=certificate.region,
        topology=certificate.topology,
        serial=certificate.serial,
        public=seal.public_key(certificate.pub),
        not_before_us=time_micros(certificate.not_before),
        not_after_us=time_micros(certificate.not_after),
    )


def _document_hash(envelope: Envelope, payload: bytes) -> bytes:
    """SHA-256 of ``PAE ‖ first signature``: what its leaf commits to. Raises DocumentInvalid."""
    signature = seal.unbase64(envelope.signatures[0].sig, "unreadable")
    return hashlib.sha256(seal.pae(envelope.payload_type, payload) + signature).digest()


def _check_every_signature(envelope: Envelope, payload: bytes, keys: dict[str, bytes]) -> None:
    """Every signature must be by one of ``keys`` and valid: nothing rides along unchecked."""
    framed = seal.pae(envelope.payload_type, payload)
    for entry in envelope.signatures:
        public = keys.get(entry.keyid)
        if public is None:
            raise DocumentInvalid(
                "signature", f"a signature is by no key of the role: {entry.keyid}"
            )
        if not seal.verify(framed, seal.unbase64(entry.sig, "unreadable"), public):
            raise DocumentInvalid("signature", "a signature is not valid")
    if len({entry.keyid for entry in envelope.signatures}) != len(envelope.signatures):
        raise DocumentInvalid("signature", "a key signed twice")
