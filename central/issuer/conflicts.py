"""Instances that go on though a newer one took their place: ``instance_conflict``.

Owns: what is kept of them. Refuses: deciding that there is one (``enrolment.py``).
"""

from __future__ import annotations

import sqlite3

import msgspec

from central.issuer.enrolment import Superseded
from gateway import limits
from gateway.timestamp import time_text


class Conflict(msgspec.Struct, frozen=True):
    """``instance`` asked ``count`` times for a certificate after ``superseded_by`` had come.

    ``first`` and ``last``: when, by the issuer's clock.
    """

    instance: str
    superseded_by: str
    tenant: str
    region: str
    first: str
    last: str
    count: int


def note(connection: sqlite3.Connection, conflict: Superseded, now_us: int) -> None:
    """Keep that a superseded instance asked."""
    connection.execute(
        "INSERT INTO conflict (instance, superseded_by, first_us, last_us, count)"
        " VALUES (?,?,?,?,1) ON CONFLICT (instance) DO UPDATE SET last_us = excluded.last_us,"
        " superseded_by = excluded.superseded_by, count = count + 1",
        (conflict.instance, conflict.superseded_by, now_us, now_us),
    )


def newest(connection: sqlite3.Connection, tenant: str | None) -> list[Conflict]:
    """The latest ones, of ``tenant`` or (None) of all."""
    rows = connection.execute(
        "SELECT instance, conflict.superseded_by, tenant, region, first_us, last_us, count"
        " FROM conflict JOIN instance USING (instance) WHERE ? IS NULL OR tenant = ?"
        " ORDER BY last_us DESC LIMIT ?",
        (tenant, tenant, limits.ISSUER_STATUS_ROWS_MAX),
    ).fetchall()
    return [
        Conflict(
            instance=row[0],
            superseded_by=row[1],
            tenant=row[2],
            region=row[3],
            first=time_text(row[4]),
            last=time_text(row[5]),
            count=row[6],
        )
        for row in rows
    ]
