"""The fleet as its reports show it: which instance runs which version, since when.

Owns: the last report of each instance, and what they say together. Refuses: proving reports
(``reports.py``), and believing the clocks of daemons: how long a version took to an instance is
the time from its publication to the first report that named it, by the service's own clock. That
is an upper bound.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from central.config import PolicySettings
from central.policy_service import canaries
from central.policy_service.canaries import CanaryView
from central.policy_service.reports import Proven
from gateway import limits
from gateway.documents import KeyCert
from gateway.timestamp import time_text

Standing = Literal["current", "behind", "silent"]
STANDINGS: Final[tuple[Standing, ...]] = ("current", "behind", "silent")
"""``current``: it reported the wanted bundle or a later one; ``behind``: an earlier one or none;
``silent``: it reported nothing for ``silent_seconds``, whatever was last."""


class FleetInstance(msgspec.Struct, frozen=True, kw_only=True):
    """One instance. ``subject``: who attested its start; ``since``: when it first reported this
    bundle, ``heard``: when anything; both by the service's clock, ``activated`` by its own."""

    instance: str
    subject: str
    region: str
    topology: str
    channel: str
    standing: Standing
    state: str
    head_version: int | None
    version: int | None
    digest: str | None
    activated: str | None
    refused_code: str | None
    refused_version: int | None
    since: str
    heard: str


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """From publication to the first report of it, in ms, over ``instances`` that were there
    before and run it now; null where there is none."""

    instances: int
    p50_ms: int | None
    p95_ms: int | None
    max_ms: int | None


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """``version``, ``digest``, ``published``: what is wanted of it. ``versions``: bundle version →
    instances, ``none`` for those without; silent ones are not in it. ``refusing``: those whose last
    word on a newer candidate was no. ``instances``: the first of those asked for, most behind
    first; ``left_out``: how many more there are. ``canary``: the one that runs."""

    scope: str
    version: int
    digest: str
    published: str
    current: int
    behind: int
    silent: int
    refusing: int
    versions: dict[str, int]
    reach: Reach
    instances: list[FleetInstance]
    left_out: int
    canary: CanaryView | None = None


class Convergence(msgspec.Struct, frozen=True, kw_only=True):
    """``of``: instances that are not silent; ``have``: those that report ``version`` or a later
    one; ``refusing``: those that refused it. ``reached``: whether ``have`` is the wanted part of
    ``of``; never where nobody reports. ``seconds``: since it was published."""

    scope: str
    version: int
    percent: int
    have: int
    of: int
    refusing: int
    reached: bool
    seconds: int


class Wanted(msgspec.Struct, frozen=True):
    """What was published. ``published_us``: by the service's clock."""

    version: int
    digest: str
    published_us: int


def keep(
    connection: sqlite3.Connection,
    scope: str,
    proven: Proven,
    settings: PolicySettings,
    now_us: int,
) -> bool:
    """Keep a report; False where a later one of the same instance came before it."""
    report, certificate = proven.report, proven.certificate
    before = connection.execute(
        "SELECT digest, signed_us, first_us, since_us FROM instance_report"
        " WHERE scope = ? AND instance = ?",
        (scope, certificate.instance),
    ).fetchone()
    if before is not None and proven.signed_us <= before[1]:
        return False
    workload = _workload(certificate)
    # A start takes the place of the one before it, which did not come to say goodbye.
    connection.execute(
        "DELETE FROM instance_report WHERE scope = ? AND workload = ?", (scope, workload)
    )
    if report.leaving:
        return True
    if before is None:
        _make_room(connection, scope, settings, now_us)
    since_us = before[3] if before is not None and before[0] == report.digest else now_us
    refused = report.refused
    connection.execute(
        "INSERT INTO instance_report VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        (
            scope,
            certificate.instance,
            workload,
            certificate.attestation.subject,
            certificate.region,
            certificate.topology,
            report.channel,
            report.state,
            report.head_version,
            report.version,
            report.digest,
            report.activated,
            None if refused is None else refused.code,
            None if refused is None else refused.version,
            None if refused is None else refused.digest,
            proven.signed_us,
            now_us if before is None else before[2],
            since_us,
            now_us,
        ),
    )
    return True


def _workload(certificate: KeyCert) -> str:
    """Who is one daemon at a time: a host's key or a pod, and the worker; else the instance."""
    one = certificate.attestation
    if one.type != "host_key" and one.pod_uid is None:
        return certificate.instance
    return "\n".join((one.type, one.issuer or "", one.subject, one.pod_uid or "", str(one.worker)))


def _make_room(
    connection: sqlite3.Connection, scope: str, settings: PolicySettings, now_us: int
) -> None:
    connection.execute(
        "DELETE FROM instance_report WHERE scope = ? AND received_us < ?",
        (scope, now_us - settings.forget_seconds * 1_000_000),
    )
    connection.execute(
        "DELETE FROM instance_report WHERE (scope, instance) IN (SELECT scope, instance"
        " FROM instance_report WHERE scope = ? ORDER BY received_us DESC LIMIT -1 OFFSET ?)",
        (scope, limits.FLEET_INSTANCES_MAX - 1),
    )


def view(
    connection: sqlite3.Connection,
    scope: str,
    wanted: Wanted,
    settings: PolicySettings,
    now_us: int,
    only: Standing | None,
    most: int,
) -> Fleet:
    """The fleet of ``scope``, of which at most ``most`` instances are listed."""
    reading = connection.cursor()
    reading.row_factory = sqlite3.Row
    rows = reading.execute(
        "SELECT * FROM instance_report WHERE scope = ? ORDER BY version, received_us", (scope,)
    ).fetchall()
    standing = {row["instance"]: _standing(row, wanted, settings, now_us) for row in rows}
    heard = [row for row in rows if standing[row["instance"]] != "silent"]
    versions: dict[str, int] = {}
    for row in heard:
        name = "none" if row["version"] is None else str(row["version"])
        versions[name] = versions.get(name, 0) + 1
    listed = [row for row in rows if only in (None, standing[row["instance"]])]
    counts = {one: sum(found == one for found in standing.values()) for one in STANDINGS}
    return Fleet(
        scope=scope,
        version=wanted.version,
        digest=wanted.digest,
        published=time_text(wanted.published_us),
        **counts,
        refusing=sum(row["refused_code"] is not None for row in heard),
        versions=versions,
        reach=_reach([row for row in rows if row["digest"] == wanted.digest], wanted),
        instances=[_instance(row, standing[row["instance"]]) for row in listed[:most]],
        left_out=max(0, len(listed) - most),
        canary=canaries.view(connection, scope, settings, now_us),
    )


def _standing(row: sqlite3.Row, wanted: Wanted, settings: PolicySettings, now_us: int) -> Standing:
    if now_us - row["received_us"] >= settings.silent_seconds * 1_000_000:
        return "silent"
    version = row["version"]
    has = row["digest"] == wanted.digest or (version is not None and version > wanted.version)
    return "current" if has else "behind"


def _reach(rows: Sequence[sqlite3.Row], wanted: Wanted) -> Reach:
    # Who came after the publication did not have to be reached by it.
    took = sorted(
        max(0, row["since_us"] - wanted.published_us) // 1_000
        for row in rows
        if row["first_us"] <= wanted.published_us
    )
    return Reach(
        instances=len(took),
        p50_ms=_quantile(took, 50),
        p95_ms=_quantile(took, 95),
        max_ms=took[-1] if took else None,
    )


def _quantile(ordered: Sequence[int], percent: int) -> int | None:
    """The smallest value that ``percent`` % of ``ordered`` do not exceed."""
    return ordered[-(-len(ordered) * percent // 100) - 1] if ordered else None


def _instance(row: sqlite3.Row, standing: Standing) -> FleetInstance:
    return FleetInstance(
        instance=row["instance"],
        subject=row["subject"],
        region=row["region"],
        topology=row["topology"],
        channel=row["channel"],
        standing=standing,
        state=row["state"],
        head_version=row["head_version"],
        version=row["version"],
        digest=row["digest"],
        activated=row["activated"],
        refused_code=row["refused_code"],
        refused_version=row["refused_version"],
        since=time_text(row["since_us"]),
        heard=time_text(row["received_us"]),
    )


def convergence(
    connection: sqlite3.Connection,
    scope: str,
    wanted: Wanted,
    percent: int,
    settings: PolicySettings,
    now_us: int,
) -> Convergence:
    """How many of those that report have what is ``wanted``."""
    heard_since_us = now_us - settings.silent_seconds * 1_000_000
    of, have, refusing = connection.execute(
        "SELECT count(*), coalesce(sum(digest = ? OR version > ?), 0),"
        " coalesce(sum(refused_digest = ?), 0)"
        " FROM instance_report WHERE scope = ? AND received_us > ?",
        (wanted.digest, wanted.version, wanted.digest, scope, heard_since_us),
    ).fetchone()
    return Convergence(
        scope=scope,
        version=wanted.version,
        percent=percent,
        have=have,
        of=of,
        refusing=refusing,
        reached=of > 0 and have * 100 >= percent * of,
        seconds=max(0, now_us - wanted.published_us) // 1_000_000,
    )
