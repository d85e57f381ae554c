"""Canaries: a candidate that a part of the fleet takes before all of it does.

Owns: the tables of the one that runs in a scope and of the percentages that wait for approval, and
counting who took or refused it. Refuses: signing heads (``catalogue.py``), and choosing daemons:
each works out for itself whether it is among the percentage.
"""

from __future__ import annotations

import sqlite3

import msgspec

from central.config import PolicySettings
from central.errors import Refused
from gateway.documents import Candidate
from gateway.timestamp import time_text


class Percentage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much of the fleet takes the candidate."""

    percent: int

    def __post_init__(self) -> None:
        if not 0 <= self.percent <= 100:
            raise ValueError("percent is 0 to 100")


class CanaryView(msgspec.Struct, frozen=True, kw_only=True):
    """The canary that runs. ``have``, ``refusing``: of the instances that are not silent, those
    that report it in force and those that refused it."""

    version: int
    digest: str
    percent: int
    began: str
    have: int
    refusing: int


def running(connection: sqlite3.Connection, scope: str) -> Candidate | None:
    """The candidate of ``scope``, as its heads offer it."""
    row = connection.execute(
        "SELECT b.version, b.digest, b.length, c.percent FROM canary c"
        " JOIN bundle b ON b.digest = c.digest WHERE c.scope = ?",
        (scope,),
    ).fetchone()
    return None if row is None else Candidate(*row)


def one(connection: sqlite3.Connection, scope: str) -> Candidate:
    """As ``running``. Raises Refused (``no_canary``)."""
    found = running(connection, scope)
    if found is None:
        raise Refused("no_canary")
    return found


def begin(
    connection: sqlite3.Connection, scope: str, digest: str, percent: int, now_us: int
) -> None:
    """Offer the bundle of ``digest``, which is kept already."""
    connection.execute("INSERT INTO canary VALUES (?,?,?,?)", (scope, digest, percent, now_us))


def set_percent(connection: sqlite3.Connection, scope: str, percent: int) -> None:
    """Offer it to more or fewer."""
    connection.execute("UPDATE canary SET percent = ? WHERE scope = ?", (percent, scope))


def end(connection: sqlite3.Connection, scope: str) -> None:
    """Offer it no more."""
    connection.execute("DELETE FROM canary WHERE scope = ?", (scope,))


def check_newest(connection: sqlite3.Connection, scope: str, epoch: int, version: int) -> None:
    """Raise Refused (``version_not_newer``) for a version below one that any channel ever had:
    daemons remember the newest candidate, and refuse one below it."""
    (newest,) = connection.execute(
        "SELECT max(version) FROM bundle WHERE scope = ? AND epoch = ?", (scope, epoch)
    ).fetchone()
    if newest is not None and version < newest:
        raise Refused("version_not_newer", f"version {newest} was offered before")


def propose(connection: sqlite3.Connection, scope: str, digest: str, percent: int) -> None:
    """Remember for how many the proposal of ``digest`` is meant."""
    connection.execute("INSERT INTO canary_proposal VALUES (?,?,?)", (scope, digest, percent))


def take_proposed(connection: sqlite3.Connection, scope: str, digest: str) -> int | None:
    """The percentage of a proposal that is judged now; None where it is meant for all."""
    row = connection.execute(
        "DELETE FROM canary_proposal WHERE scope = ? AND digest = ? RETURNING percent",
        (scope, digest),
    ).fetchone()
    return None if row is None else int(row[0])


def view(
    connection: sqlite3.Connection, scope: str, settings: PolicySettings, now_us: int
) -> CanaryView | None:
    """What runs in ``scope``, and what daemons say of it."""
    found = running(connection, scope)
    if found is None:
        return None
    (began_us,) = connection.execute(
        "SELECT began_us FROM canary WHERE scope = ?", (scope,)
    ).fetchone()
    have, refusing = connection.execute(
        "SELECT coalesce(sum(digest = ?), 0), coalesce(sum(refused_digest = ?), 0)"
        " FROM instance_report WHERE scope = ? AND received_us > ?",
        (found.digest, found.digest, scope, now_us - settings.silent_seconds * 1_000_000),
    ).fetchone()
    return CanaryView(
        version=found.version,
        digest=found.digest,
        percent=found.percent,
        began=time_text(began_us),
        have=have,
        refusing=refusing,
    )


def refused_too_often(seen: CanaryView, settings: PolicySettings) -> bool:
    """Whether so many daemons refuse it that it is to be withdrawn.

    Both bounds count: one daemon that is broken ends no canary, nor do a few of very many.
    """
    of = seen.have + seen.refusing
    share = seen.refusing * 100 > settings.canary_refusals_percent_max * of
    return seen.refusing > settings.canary_refusals_max and share
