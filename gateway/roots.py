"""The chain of root documents: from one pinned fingerprint to the keys of each role.

Owns: walking root 1 … N (each N+1 signed by the thresholds of N and of N+1) and looking up a
role's keys. Refuses: judging expiry (the caller knows what time it trusts), fetching, and any
root that does not chain from the pin, wherever it came from.

Source: the root workflow of the TUF specification, section 5.3, with an explicit ``epoch``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from gateway import documents, seal
from gateway.documents import Envelope, Role, Root
from gateway.errors import DocumentInvalid
from gateway.timestamp import time_micros

SPEC: Final = 1
CUSTODIES: Final = frozenset({"development", "offline"})

RoleName = Literal["root", "bundle", "policy_head", "issuer", "log", "revocation"]
ROLE_NAMES: Final[tuple[RoleName, ...]] = (
    "root",
    "bundle",
    "policy_head",
    "issuer",
    "log",
    "revocation",
)


class RoleKeys(msgspec.Struct, frozen=True):
    """``keys``: keyid → 32 public-key bytes; ``threshold``: distinct signatures wanted."""

    keys: dict[str, bytes]
    threshold: int


def fingerprint(payload: bytes) -> str:
    """``sha256:<hex>`` of root 1's payload: the one thing that is pinned anywhere."""
    return seal.sha256_text(payload)


def role_keys(root: Root, role: RoleName) -> RoleKeys:
    """The keys and threshold of ``role``. Raises DocumentInvalid (``key``, ``role``)."""
    entry: Role = getattr(root.roles, role)
    keys = {}
    for keyid in entry.keyids:
        text = root.keys.get(keyid)
        if text is None:
            raise DocumentInvalid("role", f"role {role} names the key {keyid}, which is not there")
        public = seal.public_key(text)
        if seal.key_id(public) != keyid:
            raise DocumentInvalid("key", f"{keyid} is not the hash of its key")
        keys[keyid] = public
    if len(keys) != len(entry.keyids) or not 1 <= entry.threshold <= len(keys):
        raise DocumentInvalid(
            "role", f"role {role} wants {entry.threshold} of {len(keys)} distinct keys"
        )
    return RoleKeys(keys, entry.threshold)


def open_first(data: Envelope, pinned: str) -> Root:
    """Root 1 in ``data``, whose payload must have the fingerprint ``pinned``.

    Raises DocumentInvalid (``pin``, ``version``, and those of ``seal.open_envelope``). Its own
    signatures are checked too: the pin says which bytes, the signatures that the keys in them
    are held by somebody.
    """
    payload = seal.unbase64(data.payload, "unreadable")
    if fingerprint(payload) != pinned:
        raise DocumentInvalid("pin", f"root 1 is {fingerprint(payload)}, pinned is {pinned}")
    root = decode_root(payload)
    if root.version != 1:
        raise DocumentInvalid("version", f"the pinned root is version {root.version}, not 1")
    own = role_keys(root, "root")
    seal.open_envelope(data, documents.ROOT, own.keys, own.threshold)
    return root


def open_next(data: Envelope, current: Root) -> Root:
    """The root that follows ``current``: version N+1, signed by the thresholds of both.

    Raises DocumentInvalid (``version``, ``rollback``, ``signature``, ``threshold``, …).
    """
    held = role_keys(current, "root")
    root = decode_root(seal.open_envelope(data, documents.ROOT, held.keys, held.threshold))
    check_follows(root, current)
    own = role_keys(root, "root")
    seal.open_envelope(data, documents.ROOT, own.keys, own.threshold)
    return root


def check_follows(root: Root, current: Root) -> None:
    """Raise DocumentInvalid (``version``, ``rollback``) unless ``root`` may follow ``current``."""
    if root.version != current.version + 1:
        raise DocumentInvalid(
            "version", f"root {root.version} cannot follow root {current.version}"
        )
    if root.epoch < current.epoch:
        raise DocumentInvalid("rollback", f"epoch {root.epoch} is below {current.epoch}")


def walk(chain: Iterable[Envelope], pinned: str) -> list[Root]:
    """Roots 1 … N in order, from envelopes in order. Raises DocumentInvalid.

    An empty chain raises ``pin``: nothing was there to match it.
    """
    roots: list[Root] = []
    for data in chain:
        roots.append(open_next(data, roots[-1]) if roots else open_first(data, pinned))
    if not roots:
        raise DocumentInvalid("pin", "there is no root document")
    return roots


def decode_root(payload: bytes) -> Root:
    """The root in ``payload``, whoever signed it. Raises DocumentInvalid (``inexact``,
    ``unreadable``, ``incompatible``, ``key``, ``role``)."""
    root = documents.decode_exact(payload, Root)
    if root.spec != SPEC:
        raise DocumentInvalid("incompatible", f"root spec {root.spec}, this version reads {SPEC}")
    if root.custody not in CUSTODIES:
        raise DocumentInvalid("unreadable", f"custody {root.custody!r} is not known")
    try:
        time_micros(root.issued)
        time_micros(root.expires)
    except ValueError as error:
        raise DocumentInvalid("unreadable", f"root {root.version}: {error}") from error
    for role in ROLE_NAMES:
        role_keys(root, role)
    return root
