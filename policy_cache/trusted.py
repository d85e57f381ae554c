"""The verifier of policy documents: bytes and a time in, a verified value or DocumentInvalid out.

What it keeps of the TUF specification (section 5, client workflow) with one target: versions
never fall, an equal version means the same bytes, length and digest are checked before anything
is parsed, an expired intermediate root is fine and an expired final one is not. Changed on
purpose: the floors fall only when a new root raises ``epoch``, and a head pins its bundle itself.

Owns: acceptance. Refuses: fetching, storing, keeping state (floors are arguments and results) and
reading a clock. Root documents are ``gateway.roots``' matter.

Reasons of DocumentInvalid besides those of ``seal`` and ``roots``: ``scope``, ``epoch``,
``rollback``, ``equivocation``, ``jump``, ``expired``, ``future``, ``not_yet_valid``, ``window``,
``root_behind``, ``update_required``, ``incompatible``, ``length``, ``digest``, ``mismatch``,
and of a bundle's content ``policy``, ``unsupported``, ``selftest``.
"""

from __future__ import annotations

import base64
import re
from typing import Final

import msgspec

from gateway import canary, documents, policy, roots, seal
from gateway.documents import BundlePin, Candidate, PolicyHead, Root
from gateway.errors import DocumentInvalid
from gateway.limits import (
    CLOCK_SUSPECT_SECONDS,
    JSON_INTEGER_MAX,
    POLICY_BUNDLE_BYTES_MAX,
    POLICY_ENVELOPE_SPARE_BYTES,
    POLICY_VERSION_JUMP_MAX,
    REFRESH_SECONDS_MAX,
    REFRESH_SECONDS_MIN,
)
from gateway.policy import Bundle
from gateway.selftest import run_self_tests
from gateway.snapshot import Snapshot
from gateway.table import Table, compile_policy
from gateway.timestamp import time_micros

_RELEASE: Final = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6}){0,3}")
_SECOND_US: Final = 1_000_000
_FRESH_INTERVALS: Final = 2
"""A copy is fresh for two refresh intervals: one may be missed without an alert."""


class Floors(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The newest of everything accepted so far, below which nothing is accepted again.

    ``time_us``: newest signed time; no clock before it is believed. ``candidate_…``: the newest
    that a head offered to a part of the fleet; it has a floor of its own, so that taking it back is
    no rollback.
    """

    epoch: int = 0
    root_version: int = 0
    head_version: int = 0
    head_digest: str | None = None
    bundle_version: int = 0
    bundle_digest: str | None = None
    time_us: int = 0
    candidate_version: int = 0
    candidate_digest: str | None = None


class Head(msgspec.Struct, frozen=True):
    """A verified policy head. ``digest``: SHA-256 of its payload; ``candidate``: the one that this
    daemon is to take, None where it takes the pinned bundle."""

    document: PolicyHead
    digest: str
    issued_us: int
    expires_us: int
    candidate: Candidate | None = None

    @property
    def pin(self) -> BundlePin | Candidate:
        """The bundle that it means for this daemon."""
        return self.candidate or self.document.bundle


class Content(msgspec.Struct, frozen=True):
    """A verified, compiled and self-tested bundle."""

    document: Bundle
    digest: str
    issued_us: int
    expires_us: int
    table: Table


def check_root(root: Root, now_us: int) -> None:
    """Refuse an expired final root. Raises DocumentInvalid (``expired``)."""
    if now_us >= time_micros(root.expires):
        raise DocumentInvalid("expired", f"root {root.version} expired at {root.expires}")


def open_head(
    data: bytes,
    root: Root,
    scope: str,
    floors: Floors,
    now_us: int,
    own_version: str,
    *,
    placement: str | None = None,
    expired_ok: bool = False,
) -> Head:
    """The head in ``data`` for exactly ``scope``, at or above ``floors``.

    ``now_us``: trusted time, fixed by the caller before it fetched. ``own_version``: this
    program's, held against ``min_gatepost``. ``placement``: the daemon's name, which decides
    whether it takes a candidate; None never does. ``expired_ok``: for one accepted earlier and read
    back from disk, which may have expired since and whose time no clock can put in doubt.
    Raises DocumentInvalid.
    """
    keys = roots.role_keys(root, "policy_head")
    payload = seal.open_envelope(data, documents.POLICY_HEAD, keys.keys, keys.threshold)
    document = documents.decode_exact(payload, PolicyHead)
    if document.spec != policy.SPEC:
        raise DocumentInvalid("incompatible", f"head spec {document.spec}")
    _check_scope(document.scope, scope, root)
    if document.root_version > root.version:
        raise DocumentInvalid(
            "root_behind", f"the head names root {document.root_version}, held is {root.version}"
        )
    head = Head(
        document=document,
        digest=seal.sha256_text(payload),
        issued_us=_time("head", document.issued),
        expires_us=_time("head", document.expires),
        candidate=_chosen(document, placement),
    )
    _check_head_version(head, root, floors)
    _check_pin(document, floors)
    _check_candidate(document, floors)
    _check_refresh(document)
    if head.issued_us >= head.expires_us:
        raise DocumentInvalid("window", "the head expires before it was issued")
    if not expired_ok:
        _check_issued("head", head.issued_us, now_us)
        if now_us >= head.expires_us:
            raise DocumentInvalid("expired", f"the head expired at {document.expires}")
    _check_own_version(document.min_gatepost, own_version)
    return head


def _check_scope(stated: str, wanted: str, root: Root) -> None:
    if stated != wanted:
        raise DocumentInvalid("scope", f"is for {stated!r}, wanted {wanted!r}")
    if not any(_covers(pattern, wanted) for pattern in root.scopes):
        raise DocumentInvalid("scope", f"root {root.version} does not speak for {wanted!r}")


def _covers(pattern: str, scope: str) -> bool:
    # `acme/prod/*` covers what lies below acme/prod, never acme/prod2.
    if pattern.endswith("/*"):
        return scope.startswith(pattern[:-1]) and len(scope) > len(pattern) - 1
    return pattern in ("*", scope)


def _check_head_version(head: Head, root: Root, floors: Floors) -> None:
    document = head.document
    if document.epoch != root.epoch:
        raise DocumentInvalid("epoch", f"head epoch {document.epoch}, root epoch {root.epoch}")
    if document.epoch < floors.epoch:
        raise DocumentInvalid("rollback", f"epoch {document.epoch} is below {floors.epoch}")
    if document.epoch > floors.epoch:
        # A new epoch, which only a new root can begin, is the way back from a version that was
        # driven up by a stolen head key.
        _check_version("head", document.version, 0)
        return
    _check_version("head", document.version, floors.head_version)
    if document.version == floors.head_version and head.digest != floors.head_digest:
        raise DocumentInvalid("equivocation", f"two different heads of version {document.version}")


def _check_pin(document: PolicyHead, floors: Floors) -> None:
    pin = document.bundle
    _check_length(pin)
    if document.epoch > floors.epoch:
        _check_version("bundle", pin.version, 0)
        return
    _check_version("bundle", pin.version, floors.bundle_version)
    known = (
        (floors.bundle_version, floors.bundle_digest),
        (floors.candidate_version, floors.candidate_digest),
    )
    _check_digest(pin, *known)


def _check_candidate(document: PolicyHead, floors: Floors) -> None:
    candidate, pin = document.next, document.bundle
    if candidate is None:
        return
    _check_length(candidate)
    _check_digest(candidate, (pin.version, pin.digest))
    _check_version("candidate", candidate.version, pin.version + 1)
    if document.epoch == floors.epoch:
        _check_version("candidate", candidate.version, floors.candidate_version)
        _check_digest(candidate, (floors.candidate_version, floors.candidate_digest))


def _check_length(pin: BundlePin | Candidate) -> None:
    if not 0 < pin.length <= POLICY_BUNDLE_BYTES_MAX:
        raise DocumentInvalid("length", f"the head pins a bundle of {pin.length} bytes")


def _check_digest(pin: BundlePin | Candidate, *known: tuple[int, str | None]) -> None:
    # One version is one bundle, also where one channel brings what another brought before.
    if any(pin.version == version and pin.digest != digest for version, digest in known):
        raise DocumentInvalid("equivocation", f"two different bundles of version {pin.version}")


def _check_version(what: str, version: int, floor: int) -> None:
    if version < floor:
        raise DocumentInvalid("rollback", f"{what} version {version} is below {floor}")
    if not 1 <= version <= JSON_INTEGER_MAX:
        raise DocumentInvalid("jump", f"{what} version {version} is out of range")
    if floor and version - floor > POLICY_VERSION_JUMP_MAX:
        raise DocumentInvalid("jump", f"{what} version {version} is too far above {floor}")


def _chosen(document: PolicyHead, placement: str | None) -> Candidate | None:
    candidate = document.next
    if candidate is None or not canary.takes(document.scope, placement, candidate.percent):
        return None
    return candidate


def _check_refresh(document: PolicyHead) -> None:
    refresh = document.refresh
    if refresh is not None and not 1 <= refresh.min_seconds <= refresh.max_seconds:
        raise DocumentInvalid("window", "the head's refresh interval is empty")


def _check_issued(what: str, issued_us: int, now_us: int) -> None:
    if issued_us > now_us + CLOCK_SUSPECT_SECONDS * _SECOND_US:
        raise DocumentInvalid(
            "future", f"the {what} was issued over {CLOCK_SUSPECT_SECONDS} s from now by our clock"
        )


def _check_own_version(wanted: str | None, own: str) -> None:
    if wanted is None:
        return
    if _RELEASE.fullmatch(wanted) is None:
        raise DocumentInvalid("incompatible", f"min_gatepost {wanted!r} is no version")
    if _release(own) < _release(wanted):
        raise DocumentInvalid("update_required", f"the head wants gatepost {wanted} or later")


def _release(version: str) -> tuple[int, ...]:
    # A development version counts as the release it leads to.
    match = _RELEASE.match(version)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def _time(what: str, text: str) -> int:
    try:
        return time_micros(text)
    except ValueError as error:
        raise DocumentInvalid("unreadable", f"{what}: {error}") from error


def envelope_bytes_max(length: int) -> int:
    """The most bytes that the envelope of a payload of ``length`` bytes may have."""
    return (length + 2) // 3 * 4 + POLICY_ENVELOPE_SPARE_BYTES


def open_bundle(
    data: bytes, root: Root, head: Head, now_us: int, *, expired_ok: bool = False
) -> Content:
    """The bundle that ``head`` means for this daemon, verified, compiled and self-tested.

    Length and digest of the payload are checked before any signature, and that before the
    payload is parsed. ``expired_ok`` as for ``open_head``. Raises DocumentInvalid.
    """
    pin = head.pin
    payload = open_pinned(data, pin, root)
    document = policy.decode_bundle(payload)
    if document.spec != policy.SPEC or document.engine != policy.ENGINE:
        raise DocumentInvalid(
            "incompatible", f"bundle spec {document.spec}, engine {document.engine!r}"
        )
    stated = (document.scope, document.epoch, document.version)
    pinned = (head.document.scope, head.document.epoch, pin.version)
    if stated != pinned:
        raise DocumentInvalid("mismatch", f"bundle says {stated}, its head says {pinned}")
    issued_us, expires_us = _bundle_window(document, now_us, expired_ok=expired_ok)
    table = compile_policy(document.policy)
    run_self_tests(table)
    return Content(document, pin.digest, issued_us, expires_us, table)


def open_pinned(data: bytes, pin: BundlePin | Candidate, root: Root) -> bytes:
    """The payload of the bundle that ``pin`` names, signed by the bundle role of ``root``.

    Its policy is not read. Raises DocumentInvalid (``length``, ``digest``, ``unreadable``, and
    those of ``seal``).
    """
    if len(data) > envelope_bytes_max(pin.length):
        raise DocumentInvalid("length", f"{len(data)} bytes around a bundle of {pin.length}")
    envelope = seal.parse_envelope(data)
    payload = seal.unbase64(envelope.payload, "unreadable")
    # One base64 text per payload, or an equal digest could stand for two different files.
    if base64.b64encode(payload).decode() != envelope.payload:
        raise DocumentInvalid("unreadable", "the payload is not in the one form of base64")
    if len(payload) != pin.length:
        raise DocumentInvalid("length", f"{len(payload)} bytes, pinned are {pin.length}")
    if seal.sha256_text(payload) != pin.digest:
        raise DocumentInvalid("digest", f"the bundle is not {pin.digest}")
    keys = roots.role_keys(root, "bundle")
    return seal.open_envelope(envelope, documents.BUNDLE, keys.keys, keys.threshold)


def _bundle_window(document: Bundle, now_us: int, *, expired_ok: bool) -> tuple[int, int]:
    issued_us = _time("bundle", document.issued)
    begins_us = _time("bundle", document.not_before)
    expires_us = _time("bundle", document.expires)
    if begins_us >= expires_us:
        raise DocumentInvalid("window", "the bundle expires before it begins")
    if not expired_ok:
        _check_issued("bundle", issued_us, now_us)
        if now_us < begins_us:
            raise DocumentInvalid("not_yet_valid", f"the bundle holds from {document.not_before}")
        if now_us >= expires_us:
            raise DocumentInvalid("expired", f"the bundle expired at {document.expires}")
    return issued_us, expires_us


def raised(floors: Floors, root: Root, head: Head) -> Floors:
    """``floors`` after ``head`` (and the bundle it pins) was accepted under ``root``.

    The floor of bundles rises with the pinned one alone, whichever this daemon takes.
    """
    document = head.document
    offered = (floors.candidate_version, floors.candidate_digest)
    if document.epoch > floors.epoch:
        offered = (0, None)
    if document.next is not None:
        offered = (document.next.version, document.next.digest)
    return Floors(
        epoch=document.epoch,
        root_version=max(floors.root_version, root.version),
        head_version=document.version,
        head_digest=head.digest,
        bundle_version=document.bundle.version,
        bundle_digest=document.bundle.digest,
        time_us=max(floors.time_us, head.issued_us),
        candidate_version=offered[0],
        candidate_digest=offered[1],
    )


def snapshot_of(root: Root, head: Head, content: Content, floor_us: int) -> Snapshot:
    """The policy in force under ``head``.

    ``content`` is the bundle it pins or, under a lock alone, the one in force before: a lock
    waits for no download.
    """
    document = head.document
    low, high = refresh_seconds(head)
    fresh_us = round(_FRESH_INTERVALS * high * _SECOND_US)
    return Snapshot(
        scope=document.scope,
        version=content.document.version,
        digest=content.digest,
        engine=content.document.engine,
        root_version=root.version,
        epoch=document.epoch,
        head_version=document.version,
        issued_us=head.issued_us,
        fresh_until_us=head.issued_us + fresh_us,
        head_expires_us=head.expires_us,
        rest_expires_us=min(content.expires_us, time_micros(root.expires)),
        floor_us=max(floor_us, head.issued_us),
        lock_reason=None if document.lock is None else document.lock.reason,
        refresh_seconds_min=low,
        refresh_seconds_max=high,
        table=content.table,
    )


def refresh_seconds(head: Head) -> tuple[float, float]:
    """The refresh interval that ``head`` asks for, or the default."""
    refresh = head.document.refresh
    if refresh is None:
        return REFRESH_SECONDS_MIN, REFRESH_SECONDS_MAX
    return float(refresh.min_seconds), float(refresh.max_seconds)
