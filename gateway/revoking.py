"""Revocations: taking back an instance key, a certificate of one, or a host key.

Owns: drafting one, and the checks of whoever acts on it: enough signatures of the role, none that
rides along, and a key that can be taken back this way at all. Refuses: keys that a root names (the
next root drops those), keeping revocations (issuer and store do), and judging records by them
(``revocation_audit.py``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from gateway import documents, quorum, seal
from gateway.documents import Envelope, Revocation, Root
from gateway.errors import DocumentInvalid
from gateway.quorum import Need
from gateway.roots import ROLE_NAMES, RoleKeys
from gateway.timestamp import time_micros, time_text

REASON_CHARS_MAX: Final = 500
_KID: Final = re.compile(r"ed25519:[0-9a-f]{64}")
_SERIAL: Final = re.compile(r"[0-9a-f]{1,64}")


class Opened(msgspec.Struct, frozen=True):
    """A revocation whose signatures were checked. ``envelope`` is in its one exact form."""

    document: Revocation
    untrusted_from_us: int
    envelope: Envelope


def draft(
    *,
    kid: str,
    serial: str | None,
    reason: str,
    untrusted_from_us: int,
    now_us: int,
    chain: Sequence[Root],
) -> Revocation:
    """The revocation of ``kid``, or of its one certificate ``serial``. ``chain``: known roots.

    Raises DocumentInvalid (``kid``, ``serial``, ``reason``, ``role_key``).
    """
    made = Revocation(
        kid=kid,
        serial=serial,
        reason=reason,
        untrusted_from=time_text(untrusted_from_us),
        issued=time_text(now_us),
    )
    _check(made, chain)
    return made


def open_revocation(data: bytes, chain: Sequence[Root], keys: RoleKeys) -> Opened:
    """The revocation in ``data``, signed by the role ``keys`` of the newest root in ``chain``.

    Raises DocumentInvalid: those of ``quorum.standings``, ``threshold`` where signatures are
    missing, ``type``, and those of ``draft``.
    """
    envelope = seal.parse_envelope(data)
    if envelope.payload_type != documents.REVOCATION:
        raise DocumentInvalid("type", f"is {envelope.payload_type!r}, wanted a revocation")
    (standing,) = quorum.standings(envelope, [Need("revocation", chain[-1].version, keys)])
    if not standing.met:
        raise DocumentInvalid(
            "threshold",
            f"{len(standing.signed)} of {keys.threshold} needed signatures of the role revocation",
        )
    payload = quorum.payload_of(envelope)
    found = documents.decode_exact(payload, Revocation)
    _check(found, chain)
    try:
        from_us = time_micros(found.untrusted_from)
        time_micros(found.issued)
    except ValueError as error:
        raise DocumentInvalid("unreadable", str(error)) from error
    signatures = [
        (entry.keyid, seal.unbase64(entry.sig, "unreadable")) for entry in envelope.signatures
    ]
    # Whoever passes it on may have written its base64 another way; a verifier reads one form.
    exact = seal.envelope(documents.REVOCATION, payload, signatures)
    return Opened(found, from_us, exact)


def _check(found: Revocation, chain: Sequence[Root]) -> None:
    if _KID.fullmatch(found.kid) is None:
        raise DocumentInvalid("kid", "a key id is ed25519: and 64 hex digits")
    if found.serial is not None and _SERIAL.fullmatch(found.serial) is None:
        raise DocumentInvalid("serial", "a serial is up to 64 hex digits")
    if not 1 <= len(found.reason) <= REASON_CHARS_MAX:
        raise DocumentInvalid("reason", f"give a reason of up to {REASON_CHARS_MAX} characters")
    for root in chain:
        held = [role for role in ROLE_NAMES if found.kid in getattr(root.roles, role).keyids]
        if held:
            raise DocumentInvalid(
                "role_key",
                f"root {root.version} gives this key the role {' and '.join(held)}: a role is taken"
                " back by the next root, not by a revocation; see gatepost keys rotate-root",
            )
