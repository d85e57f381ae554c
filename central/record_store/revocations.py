"""Revocations in the store: each becomes a leaf of the logs that its key concerns.

Records by a revoked key are taken in as before: they are evidence, of the daemon or of the thief.
What ends is the key's word as a sender.

Owns: keeping a revocation once in each log, and whether a key may still send. Refuses: judging
records (the export carries the revocation, and its reader judges) and keys that roots name
(``gateway.revoking``).
"""

from __future__ import annotations

import sqlite3
from typing import Final

import msgspec

from central.errors import Refused
from central.record_store.logs import Log, Logbook, document_hash
from gateway import documents, seal
from gateway.documents import Envelope
from gateway.logproof import LeafType
from gateway.revoking import Opened

UNTRUSTED: Final = """EXISTS (
    SELECT 1 FROM revocation v WHERE v.log = r.log AND v.kid = r.kid
    AND max(r.received_us, r.time_us) >= v.untrusted_from_us
    AND (v.serial IS NULL OR NOT EXISTS (
        SELECT 1 FROM certificate o WHERE o.log = r.log AND o.kid = r.kid
        AND r.time_us BETWEEN o.not_before_us AND o.not_after_us
        AND NOT EXISTS (
            SELECT 1 FROM revocation w
            WHERE w.log = o.log AND w.kid = o.kid AND w.serial = o.serial))))"""
"""SQL over a row ``r`` of ``record``: its key was taken back, and the record is not from before.

By this store's own word for when it arrived; a verifier wants a witness's. Where one certificate
was taken back, another one that covers the record's time still speaks for it."""

_CONCERNED: Final = """
SELECT log FROM certificate WHERE kid = ?
UNION SELECT log FROM start_key WHERE kid = ?
UNION SELECT log FROM revocation WHERE kid = ?
"""


class RevokedLeaf(msgspec.Struct, frozen=True):
    """Where a revocation stands in one log; the same for every repetition."""

    tenant: str
    region: str
    leaf_index: int


def keep_revocation(
    connection: sqlite3.Connection,
    logbook: Logbook,
    opened: Opened,
    place: tuple[str, str] | None,
    now_us: int,
) -> list[RevokedLeaf]:
    """Keep ``opened`` in every log that knows its key, once. Inside a write transaction.

    ``place``: tenant and region of a log that shall have it as well. Raises Refused
    (``key_unknown``) where no log knows the key and none is named.
    """
    kid = opened.document.kid
    rows = connection.execute(_CONCERNED, (kid, kid, kid)).fetchall()
    logs = [_numbered(connection, number) for (number,) in rows]
    if place is not None and place not in {(log.tenant, log.region) for log in logs}:
        logs.append(logbook.open(connection, *place))
    if not logs:
        raise Refused("key_unknown", "name the tenant and region whose log shall hold it")
    return [
        RevokedLeaf(log.tenant, log.region, _keep(connection, logbook, log, opened, now_us))
        for log in logs
    ]


def _keep(
    connection: sqlite3.Connection, logbook: Logbook, log: Log, opened: Opened, now_us: int
) -> int:
    document = opened.document
    for index, data in connection.execute(
        "SELECT leaf_index, envelope FROM revocation WHERE log = ? AND kid = ?",
        (log.log, document.kid),
    ):
        # The same document signed in another order, or by more people, is the same revocation.
        if seal.parse_envelope(data).payload == opened.envelope.payload:
            return int(index)
    leaves = logbook.writer(connection, log, now_us)
    digest = document_hash(opened.envelope)
    index = leaves.add(LeafType.REVOCATION, digest)
    connection.execute(
        "INSERT INTO revocation VALUES (?,?,?,?,?,?,?,?)",
        (
            log.log,
            index,
            digest,
            document.kid,
            document.serial,
            opened.untrusted_from_us,
            now_us,
            documents.encode(opened.envelope),
        ),
    )
    leaves.finish()
    return index


def _numbered(connection: sqlite3.Connection, number: int) -> Log:
    row = connection.execute(
        "SELECT log, tenant, region, origin, size FROM log WHERE log = ?", (number,)
    ).fetchone()
    return Log(*row)


def is_revoked(connection: sqlite3.Connection, kid: str, now_us: int) -> bool:
    """Whether the key ``kid`` was taken back as a whole, for times up to ``now_us``."""
    row = connection.execute(
        "SELECT 1 FROM revocation WHERE kid = ? AND serial IS NULL AND untrusted_from_us <= ?",
        (kid, now_us),
    ).fetchone()
    return row is not None


def revocations_of(connection: sqlite3.Connection, log: int, kid: str) -> list[Envelope]:
    """The revocations of ``kid`` and of its certificates, in leaf order."""
    rows = connection.execute(
        "SELECT envelope FROM revocation WHERE log = ? AND kid = ? ORDER BY leaf_index", (log, kid)
    )
    return [seal.parse_envelope(data) for (data,) in rows]
