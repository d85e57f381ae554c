"""Publications that wait for another person: what they would change, and who may let them pass.

Owns: the table of proposals, and the comparison of a bundle with the one in force. Refuses:
publishing (``catalogue.py``), and knowing people: two names are two persons, which the operator
who hands out tokens sees to.
"""

from __future__ import annotations

import sqlite3
from typing import Final, Literal

import msgspec

from central.errors import Refused
from gateway import policy, policy_diff, seal
from gateway.policy import Bundle, Policy
from gateway.policy_diff import Change
from gateway.timestamp import time_text

_MAY_WIDEN: Final = frozenset({"widening", "unclear"})


class Verdict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person's word on a proposal. ``base``: the digest of the bundle in force that they compared
    it with, null where none was."""

    digest: str
    base: str | None
    verdict: Literal["approve", "reject"]


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """``who`` published it; ``base``: the bundle in force, null where there is none; ``changes``:
    what it would change there; ``percent``: of the fleet, where it is to be a canary."""

    scope: str
    version: int
    digest: str
    who: str
    time: str
    base: str | None
    base_version: int | None
    changes: list[Change]
    percent: int | None = None


class Kept(msgspec.Struct, frozen=True):
    """A proposal with its bytes."""

    who: str
    envelope: bytes


def changes(before: Bundle | None, after: Bundle) -> list[Change]:
    """From ``before``, None for nothing published: then nothing was allowed."""
    return policy_diff.diff(Policy(grants=[]) if before is None else before.policy, after.policy)


def may_widen(found: list[Change]) -> bool:
    """Whether a call could be allowed that was not."""
    return any(change.verdict in _MAY_WIDEN for change in found)


def bundle_in(envelope: bytes) -> Bundle:
    """The bundle in an envelope that was verified before it was kept."""
    return policy.decode_bundle(seal.unbase64(seal.parse_envelope(envelope).payload, "unreadable"))


def keep(
    connection: sqlite3.Connection,
    scope: str,
    digest: str,
    version: int,
    who: str,
    envelope: bytes,
    now_us: int,
) -> bool:
    """Keep a proposal; False where it waits already: whoever came first stays its author."""
    return (
        connection.execute(
            "INSERT OR IGNORE INTO proposal VALUES (?,?,?,?,?,?)",
            (scope, digest, version, who, now_us, envelope),
        ).rowcount
        > 0
    )


def find(connection: sqlite3.Connection, scope: str, digest: str) -> Kept:
    """The proposal of that digest. Raises Refused (``not_found``)."""
    row = connection.execute(
        "SELECT who, envelope FROM proposal WHERE scope = ? AND digest = ?", (scope, digest)
    ).fetchone()
    if row is None:
        raise Refused("not_found", "nothing of this digest waits for approval")
    return Kept(*row)


def drop(connection: sqlite3.Connection, scope: str, digest: str) -> None:
    """Forget the proposal of that digest."""
    connection.execute("DELETE FROM proposal WHERE scope = ? AND digest = ?", (scope, digest))


def waiting(
    connection: sqlite3.Connection, scope: str, base: str | None, base_envelope: bytes | None
) -> list[Proposal]:
    """All proposals of ``scope``, each compared with the bundle in force."""
    before = None if base_envelope is None else bundle_in(base_envelope)
    return [
        Proposal(
            scope=scope,
            version=version,
            digest=digest,
            who=who,
            time=time_text(time_us),
            base=base,
            base_version=None if before is None else before.version,
            changes=changes(before, bundle_in(envelope)),
            percent=percent,
        )
        for digest, version, who, time_us, envelope, percent in connection.execute(
            "SELECT p.digest, p.version, p.who, p.time_us, p.envelope, c.percent FROM proposal p"
            " LEFT JOIN canary_proposal c ON c.scope = p.scope AND c.digest = p.digest"
            " WHERE p.scope = ? ORDER BY p.version, p.digest",
            (scope,),
        ).fetchall()
    ]
