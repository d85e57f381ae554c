"""What a signed document says, in plain words: shown to a person before they sign it.

Owns: the lines for each kind of document that people sign or look at, and refusing to show one
that it does not understand to the last byte: nobody signs what this version cannot read.
Refuses: judging signatures (``quorum.py``) and expiry against a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from gateway import checkpoint, documents, issuing, note, policy, root_draft, roots, seal
from gateway.documents import KeyCert, LogStatement, PolicyHead, Revocation, Root
from gateway.errors import DocumentInvalid
from gateway.roots import ROLE_NAMES
from gateway.selftest import run_self_tests
from gateway.table import compile_policy
from gateway.timestamp import time_micros

_RULES_SHOWN: Final = 20
NAMES: Final[Mapping[str, str]] = {
    documents.ROOT: "root",
    documents.BUNDLE: "policy bundle",
    documents.REVOCATION: "revocation",
    documents.LOG_STATEMENT: "log statement",
    documents.KEY_CERT: "key certificate",
    documents.POLICY_HEAD: "policy head",
}
"""Payload type → what people call it; the types that can be told."""


def told(payload_type: str, payload: bytes, before: Root | None) -> list[str]:
    """What the document says, a line each. ``before``: the root that a root follows.

    Raises DocumentInvalid: ``type`` for a kind that is not told, and whatever makes the payload
    unfit for use: nothing is shown of what would be refused.
    """
    teller = _TELLERS.get(payload_type)
    if teller is None:
        raise DocumentInvalid("type", f"this version does not understand {payload_type!r}")
    if payload_type == documents.ROOT:
        return _root(payload, before)
    try:
        return teller(payload)
    except ValueError as error:
        raise DocumentInvalid("unreadable", str(error)) from error


def expiry_us(payload_type: str, payload: bytes) -> int | None:
    """When the document ends, in µs since 1970; None for one that does not end.

    Raises DocumentInvalid as ``told`` does.
    """
    try:
        return _ends_us(payload_type, payload)
    except ValueError as error:
        raise DocumentInvalid("unreadable", str(error)) from error


def _ends_us(payload_type: str, payload: bytes) -> int | None:
    if payload_type == documents.ROOT:
        return time_micros(roots.decode_root(payload).expires)
    if payload_type == documents.BUNDLE:
        return time_micros(policy.decode_bundle(payload).expires)
    if payload_type == documents.KEY_CERT:
        return time_micros(documents.decode_exact(payload, KeyCert).not_after)
    if payload_type == documents.POLICY_HEAD:
        return time_micros(documents.decode_exact(payload, PolicyHead).expires)
    return None


def _root(payload: bytes, before: Root | None) -> list[str]:
    root = roots.decode_root(payload)
    lines = [
        f"root {root.version}, epoch {root.epoch}, custody {root.custody}",
        f"issued {root.issued}, expires {root.expires}",
        f"speaks for the scopes {', '.join(root.scopes)}",
    ]
    for role in ROLE_NAMES:
        held = getattr(root.roles, role)
        lines.append(f"{role}: {held.threshold} of {len(held.keyids)} must sign")
        lines += [f"  {kid}" for kid in held.keyids]
    both = set(root.roles.issuer.keyids) & set(root.roles.log.keyids)
    if both:
        lines.append("note: issuer and log share a key: one operator could make up both")
    if before is not None:
        changes = root_draft.differences(before, root)
        lines.append(f"against root {before.version}: {'; '.join(changes) or 'only new dates'}")
    return lines


def _bundle(payload: bytes) -> list[str]:
    bundle = policy.decode_bundle(payload)
    if bundle.spec != issuing.SPEC or bundle.engine != policy.ENGINE:
        raise DocumentInvalid("incompatible", f"bundle spec {bundle.spec}, engine {bundle.engine}")
    run_self_tests(compile_policy(bundle.policy))
    for moment in (bundle.issued, bundle.not_before, bundle.expires):
        time_micros(moment)
    rules = [
        *(f"grant {one.id}: {_listed(one.actions)}" for one in bundle.policy.grants),
        *(
            f"restriction {one.id}: {one.effect} {_listed(one.actions)}"
            for one in bundle.policy.restrictions
        ),
    ]
    left = len(rules) - _RULES_SHOWN
    return [
        f"policy bundle of {bundle.scope}, version {bundle.version}, epoch {bundle.epoch}",
        f"issued {bundle.issued}, holds from {bundle.not_before} until {bundle.expires}",
        f"digest {seal.sha256_text(payload)}",
        *rules[:_RULES_SHOWN],
        *([f"and {left} more rules"] if left > 0 else []),
    ]


def _revocation(payload: bytes) -> list[str]:
    found = documents.decode_exact(payload, Revocation)
    time_micros(found.untrusted_from)
    time_micros(found.issued)
    what = "the key" if found.serial is None else f"the certificate {found.serial} of the key"
    return [
        f"revocation of {what} {found.kid}",
        f"what it signed is not trusted from {found.untrusted_from} on",
        f"reason: {found.reason}",
        f"issued {found.issued}",
    ]


def _statement(payload: bytes) -> list[str]:
    found = documents.decode_exact(payload, LogStatement)
    time_micros(found.issued)
    checkpoint.place_of(found.closed_origin)
    checkpoint.place_of(found.opened_origin)
    size = "no checkpoint of it is known"
    if found.last_checkpoint:
        last = checkpoint.read(note.parse(found.last_checkpoint).text)
        size = f"its last known checkpoint has {last.size} leaves"
    return [
        f"log statement: closes {found.closed_origin}; {size}",
        f"opens {found.opened_origin}",
        f"reason: {found.reason}",
        f"issued {found.issued}",
    ]


def _certificate(payload: bytes) -> list[str]:
    found = documents.decode_exact(payload, KeyCert)
    for moment in (found.issued, found.not_before, found.not_after):
        time_micros(moment)
    proof = found.attestation
    return [
        f"key certificate {found.serial} of {found.kid}",
        f"for instance {found.instance}, tenant {found.tenant}, region {found.region}",
        f"holds from {found.not_before} until {found.not_after}, issued {found.issued}",
        f"attested by {proof.type}: {proof.subject}",
    ]


def _head(payload: bytes) -> list[str]:
    found = documents.decode_exact(payload, PolicyHead)
    for moment in (found.issued, found.expires):
        time_micros(moment)
    lock = [] if found.lock is None else [f"LOCKED: {found.lock.reason}"]
    new = found.next
    canary = (
        []
        if new is None
        else [f"offers bundle {new.version}, {new.digest} to {new.percent} % of the daemons"]
    )
    return [
        f"policy head of {found.scope}, version {found.version}, epoch {found.epoch}",
        f"pins bundle {found.bundle.version}, {found.bundle.digest}",
        *canary,
        f"issued {found.issued}, expires {found.expires}, under root {found.root_version}",
        *lock,
    ]


def _listed(words: list[str]) -> str:
    return ", ".join(words)


_TELLERS: Final[Mapping[str, Callable[[bytes], list[str]]]] = {
    documents.ROOT: lambda payload: _root(payload, None),
    documents.BUNDLE: _bundle,
    documents.REVOCATION: _revocation,
    documents.LOG_STATEMENT: _statement,
    documents.KEY_CERT: _certificate,
    documents.POLICY_HEAD: _head,
}
