"""Drafts of root documents: the first from a plan, the next from the one before and changes.

A draft is a ``Root`` that nobody has signed yet. What it says is checked here as if it were in
force: every role has its keys, and the roles of services have a threshold that a service, which
holds one key, can meet.

Owns: the form of a plan, the kinds of change, and these checks. Refuses: signatures
(``quorum.py``), private keys, clocks and files.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec

from gateway import documents, roots, seal
from gateway.documents import Role, Roles, Root
from gateway.errors import UNREADABLE, DocumentInvalid
from gateway.roots import ROLE_NAMES, RoleName
from gateway.timestamp import time_micros, time_text

SERVICE_ROLES: Final[frozenset[RoleName]] = frozenset({"policy_head", "issuer", "log"})
"""Held by a running service, which signs with one key."""

DAYS_DEFAULT: Final = 365
_DAY_US: Final = 24 * 3600 * 1_000_000
Custody = Literal["development", "offline"]


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of a plan: unknown members are refused."""


class PlannedRole(_Table, frozen=True, kw_only=True):
    """``keys``: names of ``Plan.keys``."""

    keys: list[str]
    threshold: int


class PlannedRoles(_Table, frozen=True, kw_only=True):
    """Every role, or the plan is refused."""

    root: PlannedRole
    bundle: PlannedRole
    policy_head: PlannedRole
    issuer: PlannedRole
    log: PlannedRole
    revocation: PlannedRole


class Plan(_Table, frozen=True, kw_only=True):
    """What root 1 shall say. ``keys``: a name of your own → base64 of a public key, as
    ``gatepost keys init`` prints it; names do not enter the root. ``days``: until it expires."""

    scopes: list[str]
    custody: Custody
    days: int = DAYS_DEFAULT
    keys: dict[str, str]
    roles: PlannedRoles


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """From root N to N+1. ``added``, ``removed``: (role, base64 public key or key id).

    ``replaced``: key id → base64 public key that takes its place in every role. ``thresholds``:
    role → its new threshold. ``new_epoch``: daemons let policy versions begin again.
    """

    replaced: Mapping[str, str] = {}
    added: Sequence[tuple[RoleName, str]] = ()
    removed: Sequence[tuple[RoleName, str]] = ()
    thresholds: Mapping[RoleName, int] = {}
    scopes: Sequence[str] | None = None
    custody: Custody | None = None
    new_epoch: bool = False


def read_plan(text: bytes) -> Plan:
    """The plan in TOML ``text``. Raises DocumentInvalid (``plan``)."""
    try:
        return msgspec.toml.decode(text, type=Plan)
    except (*UNREADABLE, ValueError) as error:
        raise DocumentInvalid("plan", str(error)) from error


def first(plan: Plan, now_us: int) -> Root:
    """Root 1 as ``plan`` says. Raises DocumentInvalid (``plan``, ``key``, ``role``)."""
    kids: dict[str, str] = {}
    for name, text in plan.keys.items():
        kids[name] = _kid(text, f"keys.{name}")
    roles: dict[str, Role] = {}
    for role in ROLE_NAMES:
        planned: PlannedRole = getattr(plan.roles, role)
        unknown = [name for name in planned.keys if name not in kids]
        if unknown:
            raise DocumentInvalid("plan", f"roles.{role} names {unknown[0]!r}, not in [keys]")
        roles[role] = Role(sorted(kids[name] for name in planned.keys), planned.threshold)
    keys = {kids[name]: text for name, text in plan.keys.items()}
    return _checked(
        Root(
            spec=roots.SPEC,
            version=1,
            epoch=1,
            custody=plan.custody,
            issued=time_text(now_us),
            expires=_expiry(plan.days, now_us),
            scopes=list(plan.scopes),
            keys=keys,
            roles=Roles(**roles),
        )
    )


def development(holders: Mapping[RoleName, bytes], scopes: Sequence[str], now_us: int) -> Root:
    """Root 1 of a set whose keys all lie in one place: role → its one public key."""
    roles = {role: PlannedRole(keys=[role], threshold=1) for role in holders}
    return first(
        Plan(
            scopes=list(scopes),
            custody="development",
            keys={role: base64.b64encode(public).decode() for role, public in holders.items()},
            roles=PlannedRoles(**roles),
        ),
        now_us,
    )


def following(current: Root, changes: Changes, days: int, now_us: int) -> Root:
    """Root N+1 from ``current``. Raises DocumentInvalid (``change``, ``key``, ``role``)."""
    keys = dict(current.keys)
    kids = {role: list(getattr(current.roles, role).keyids) for role in ROLE_NAMES}
    for old, text in changes.replaced.items():
        new = _kid(text, "the key that replaces")
        keys[new] = text
        if not any(old in held for held in kids.values()):
            raise DocumentInvalid("change", f"root {current.version} gives no role to {old}")
        for role in ROLE_NAMES:
            kids[role] = [new if kid == old else kid for kid in kids[role]]
    for role, text in changes.added:
        new = _kid(text, f"the key added to {role}")
        keys[new] = text
        kids[role].append(new)
    for role, kid in changes.removed:
        if kid not in kids[role]:
            raise DocumentInvalid("change", f"{kid} is not in the role {role}")
        kids[role].remove(kid)
    roles = {
        role: Role(
            sorted(kids[role]),
            changes.thresholds.get(role, getattr(current.roles, role).threshold),
        )
        for role in ROLE_NAMES
    }
    return _checked(
        Root(
            spec=roots.SPEC,
            version=current.version + 1,
            epoch=current.epoch + (1 if changes.new_epoch else 0),
            custody=changes.custody or current.custody,
            issued=time_text(now_us),
            expires=_expiry(days, now_us),
            scopes=list(current.scopes if changes.scopes is None else changes.scopes),
            keys=keys,
            roles=Roles(**roles),
        )
    )


def differences(before: Root, after: Root) -> list[str]:
    """What ``after`` changes, in plain words; empty if it is only dated anew."""
    found: list[str] = []
    for role in ROLE_NAMES:
        old: Role = getattr(before.roles, role)
        new: Role = getattr(after.roles, role)
        found += [f"{role}: loses {kid}" for kid in old.keyids if kid not in new.keyids]
        found += [f"{role}: gains {kid}" for kid in new.keyids if kid not in old.keyids]
        if old.threshold != new.threshold:
            found.append(f"{role}: threshold {old.threshold} becomes {new.threshold}")
        elif len(old.keyids) != len(new.keyids):
            found.append(f"{role}: {new.threshold} of {len(new.keyids)} keys must sign")
    found += [f"scopes: no longer {one}" for one in before.scopes if one not in after.scopes]
    found += [f"scopes: also {one}" for one in after.scopes if one not in before.scopes]
    if before.custody != after.custody:
        found.append(f"custody: {before.custody} becomes {after.custody}")
    if before.epoch != after.epoch:
        found.append(
            f"epoch: {before.epoch} becomes {after.epoch}; policy versions may begin again"
        )
    if time_micros(after.expires) < time_micros(before.expires):
        found.append(f"expires earlier than before: {after.expires}")
    return found


def _checked(root: Root) -> Root:
    """``root`` without keys that no role has. Raises DocumentInvalid."""
    held = {kid for role in ROLE_NAMES for kid in getattr(root.roles, role).keyids}
    keys = {kid: text for kid, text in sorted(root.keys.items()) if kid in held}
    made = msgspec.structs.replace(root, keys=keys)
    if not made.scopes:
        raise DocumentInvalid("plan", "scopes is empty: the root would speak for nothing")
    for role in ROLE_NAMES:
        threshold = getattr(made.roles, role).threshold
        if role in SERVICE_ROLES and threshold != 1:
            raise DocumentInvalid(
                "role", f"role {role}: a service signs alone, its threshold is 1, not {threshold}"
            )
    return roots.decode_root(documents.encode(made))


def _kid(text: str, what: str) -> str:
    try:
        return seal.key_id(seal.public_key(text))
    except DocumentInvalid as error:
        raise DocumentInvalid("key", f"{what}: {error.detail}") from error


def _expiry(days: int, now_us: int) -> str:
    if not 1 <= days <= 10 * DAYS_DEFAULT:
        raise DocumentInvalid("plan", f"days: {days} is not between 1 and {10 * DAYS_DEFAULT}")
    return time_text(now_us + days * _DAY_US)
