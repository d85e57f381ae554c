"""What a successor says of an instance that was killed: where its chain ended.

Any daemon of a tenant can say so of any other. So its word counts only where it fits: the record
that it found last is the one that is kept here at that place. Where there is none to hold it
against, because it is still to come or nothing was left, the successor must have proved its start
as the instance did: the same host or pod, and worker.

Owns: keeping such a word and judging it. Refuses: taking the record away of one that does not fit;
it stays in its chain, signed.
"""

from __future__ import annotations

import sqlite3

import msgspec

from central.record_store.logs import hash_bytes
from gateway import record


class Claim(msgspec.Struct, frozen=True):
    """``by`` says of ``instance`` that its last record was ``last_seq`` with ``last_hash`` (32
    bytes); None where nothing was found."""

    instance: str
    by: str
    last_seq: int | None
    last_hash: bytes | None


def claim_of(told: record.Recovered, by: str) -> Claim:
    """What ``told``, a record of the instance ``by``, says. A hash that is none is not kept."""
    try:
        last_hash = None if told.last_hash is None else hash_bytes(told.last_hash)
    except ValueError:
        last_hash = b""
    return Claim(told.instance, by, told.last_seq, last_hash)


def keep(connection: sqlite3.Connection, log: int, claim: Claim) -> None:
    """Keep ``claim`` with its instance, unless what is kept here contradicts it, or another one
    stands there that fits better. Inside a write transaction."""
    agrees = _agreement(connection, log, claim)
    if agrees is False:
        return
    if agrees is None:
        standing = kept(connection, log, claim.instance)
        if standing is not None and fits(connection, log, standing):
            return
    connection.execute(
        "UPDATE instance SET recovered_by = ?, recovered_seq = ?, recovered_hash = ?"
        " WHERE log = ? AND instance = ?",
        (claim.by, claim.last_seq, claim.last_hash, log, claim.instance),
    )


def kept(connection: sqlite3.Connection, log: int, instance: str) -> Claim | None:
    """The claim that stands for ``instance``."""
    row = connection.execute(
        "SELECT instance, recovered_by, recovered_seq, recovered_hash FROM instance"
        " WHERE log = ? AND instance = ? AND recovered_by IS NOT NULL",
        (log, instance),
    ).fetchone()
    return None if row is None else Claim(*row)


def fits(connection: sqlite3.Connection, log: int, claim: Claim) -> bool:
    """Whether ``claim`` counts, by what is kept now."""
    agrees = _agreement(connection, log, claim)
    if agrees is not None:
        return agrees
    same = connection.execute(
        "SELECT 1 FROM certificate mine JOIN certificate theirs"
        " ON theirs.log = mine.log AND theirs.attested = mine.attested"
        " WHERE mine.log = ? AND mine.instance = ? AND theirs.instance = ? LIMIT 1",
        (log, claim.instance, claim.by),
    ).fetchone()
    return same is not None


def _agreement(connection: sqlite3.Connection, log: int, claim: Claim) -> bool | None:
    """Whether the record that was found last is the one that is here; None: there is none here."""
    if claim.last_seq is None:
        return None
    row = connection.execute(
        "SELECT record_hash FROM record WHERE log = ? AND instance = ? AND seq = ?",
        (log, claim.instance, claim.last_seq),
    ).fetchone()
    return None if row is None else bool(row[0] == claim.last_hash)
