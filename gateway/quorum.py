"""Documents that several people sign: whose signatures one needs, whose it has, and one more.

A holder signs on their own machine, with nothing but the file, a root that they trust and their
key. The payload is never written again: what is signed is what the file says, byte for byte.

Owns: which roles a document needs under which root, judging the signatures that it carries, and
adding one. Refuses: documents that a service signs (certificates, heads, records), keys that the
root does not name, and files (the command reads and writes them).
"""

from __future__ import annotations

import base64
from typing import Final

import msgspec

from gateway import documents, roots, seal
from gateway.documents import Envelope, Root
from gateway.errors import DocumentInvalid
from gateway.roots import RoleKeys, RoleName

SIGNED_BY_PEOPLE: Final = frozenset(
    {documents.ROOT, documents.BUNDLE, documents.REVOCATION, documents.LOG_STATEMENT}
)
_ROLES: Final[dict[str, tuple[RoleName, ...]]] = {
    documents.BUNDLE: ("bundle",),
    documents.REVOCATION: ("revocation",),
    documents.LOG_STATEMENT: ("log", "revocation"),
    documents.KEY_CERT: ("issuer",),
    documents.POLICY_HEAD: ("policy_head",),
}
"""Payload type → the roles, each of which must sign to its threshold."""

_STRANGERS_ALLOWED: Final = frozenset({documents.BUNDLE})
"""A bundle may be signed for two roots at once; verifiers pass over the keys of the other. They
call any other document false that carries a signature which none of its roles made."""


class Need(msgspec.Struct, frozen=True):
    """The signatures of ``role`` as root ``root_version`` names it, to its threshold."""

    role: RoleName
    root_version: int
    keys: RoleKeys


class Standing(msgspec.Struct, frozen=True):
    """``signed``: key ids of the need whose signatures are valid, in the role's order."""

    need: Need
    signed: list[str]

    @property
    def met(self) -> bool:
        """Whether enough of the role have signed."""
        return len(self.signed) >= self.need.keys.threshold


def payload_of(envelope: Envelope) -> bytes:
    """The exact payload bytes. Raises DocumentInvalid (``unreadable``), also for base64 that
    is not in its one form: no verifier would take it."""
    payload = seal.unbase64(envelope.payload, "unreadable")
    if base64.b64encode(payload).decode() != envelope.payload:
        raise DocumentInvalid("unreadable", "the payload is not in the one form of base64")
    return payload


def needs_of(envelope: Envelope, root: Root | None) -> list[Need]:
    """What ``envelope`` needs under ``root``: the newest that is trusted, or None for root 1.

    A root N+1 needs root N, and the signatures of both. Raises DocumentInvalid (``type`` for a
    document that no role signs, ``root`` where the wrong one or none is given, and those of
    ``roots.decode_root``).
    """
    if envelope.payload_type == documents.ROOT:
        return _needs_of_root(roots.decode_root(payload_of(envelope)), root)
    wanted = _ROLES.get(envelope.payload_type)
    if wanted is None:
        raise DocumentInvalid("type", f"{envelope.payload_type!r} is signed by no role of a root")
    if root is None:
        raise DocumentInvalid("root", "only a root says whose signatures count here; give it")
    return [Need(role, root.version, roots.role_keys(root, role)) for role in wanted]


def _needs_of_root(document: Root, before: Root | None) -> list[Need]:
    own = Need("root", document.version, roots.role_keys(document, "root"))
    if document.version == 1:
        if before is not None:
            raise DocumentInvalid("root", "root 1 follows no other; give none")
        return [own]
    if before is None:
        raise DocumentInvalid(
            "root", f"root {document.version} is signed by root {document.version - 1} too; give it"
        )
    roots.check_follows(document, before)
    return [Need("root", before.version, roots.role_keys(before, "root")), own]


def standings(envelope: Envelope, needs: list[Need]) -> list[Standing]:
    """How far each of ``needs`` is met. A key counts once, however often it signed.

    Raises DocumentInvalid (``signature``) for a signature that is not valid, that stands there
    twice, or that is by a key which nothing here needs (but see ``strangers``).
    """
    framed = seal.pae(envelope.payload_type, payload_of(envelope))
    known = {kid: public for need in needs for kid, public in need.keys.keys.items()}
    good: list[str] = []
    for entry in envelope.signatures:
        public = known.get(entry.keyid)
        if public is None:
            if envelope.payload_type in _STRANGERS_ALLOWED:
                continue
            raise DocumentInvalid("signature", f"{entry.keyid} signed, and no role here has it")
        if entry.keyid in good:
            raise DocumentInvalid("signature", f"{entry.keyid} signed twice")
        if not seal.verify(framed, seal.unbase64(entry.sig, "unreadable"), public):
            raise DocumentInvalid("signature", f"the signature of {entry.keyid} is not valid")
        good.append(entry.keyid)
    return [Standing(need, [kid for kid in need.keys.keys if kid in good]) for need in needs]


def strangers(envelope: Envelope, needs: list[Need]) -> list[str]:
    """Key ids of signatures that no need asks for; whether they are valid nobody here can say."""
    known = {kid for need in needs for kid in need.keys.keys}
    return [entry.keyid for entry in envelope.signatures if entry.keyid not in known]


def add_signature(envelope: Envelope, signer: seal.Signer, needs: list[Need]) -> Envelope:
    """``envelope`` with the signature of ``signer`` too; the same one if it signed before.

    Raises DocumentInvalid: ``type`` where people do not sign such a document, ``entitled`` where
    none of ``needs`` asks for this key, and those of ``standings``.
    """
    if envelope.payload_type not in SIGNED_BY_PEOPLE:
        raise DocumentInvalid("type", f"{envelope.payload_type!r} is not signed by people")
    standings(envelope, needs)
    if not any(signer.kid in need.keys.keys for need in needs):
        asked = " and ".join(f"{need.role} of root {need.root_version}" for need in needs)
        raise DocumentInvalid("entitled", f"{signer.kid} is no key of the role {asked}")
    if any(entry.keyid == signer.kid for entry in envelope.signatures):
        return envelope
    framed = seal.pae(envelope.payload_type, payload_of(envelope))
    mine = seal.envelope("", b"", [(signer.kid, signer.sign(framed))]).signatures
    return msgspec.structs.replace(envelope, signatures=[*envelope.signatures, *mine])
