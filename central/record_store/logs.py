"""The log of one (tenant, region): which leaf comes next, and what a leaf commits to.

Owns: the leaf types, leaf-index assignment, and the hash of what is not a record. Refuses:
trees, proofs and checkpoints, which are computed from the ``leaf`` table.

A leaf entry is ``type ‖ u64be received_us ‖ hash`` (docs/records.md, "Log").
"""

from __future__ import annotations

import hashlib
import sqlite3
from enum import IntEnum

import msgspec

from gateway import seal
from gateway.documents import Envelope


class LeafType(IntEnum):
    """First byte of a leaf entry."""

    RECORD = 1
    KEY_CERT = 2
    REVOCATION = 3
    LOG_STATEMENT = 4
    EVIDENCE = 5


class Log(msgspec.Struct, frozen=True):
    """``log``: row number; ``size``: leaves, as of the transaction that read it."""

    log: int
    tenant: str
    region: str
    origin: str
    size: int


def find_log(connection: sqlite3.Connection, tenant: str, region: str) -> Log | None:
    """The log of (tenant, region), or None before its first leaf."""
    row = connection.execute(
        "SELECT log, tenant, region, origin, size FROM log WHERE tenant = ? AND region = ?",
        (tenant, region),
    ).fetchone()
    return None if row is None else Log(*row)


def open_log(connection: sqlite3.Connection, host: str, tenant: str, region: str) -> Log:
    """The log of (tenant, region), created if it is new. Inside a write transaction."""
    found = find_log(connection, tenant, region)
    if found is not None:
        return found
    origin = f"{host}/log/{tenant}/{region}/1"
    connection.execute(
        "INSERT INTO log (tenant, region, origin, size) VALUES (?,?,?,0)", (tenant, region, origin)
    )
    opened = find_log(connection, tenant, region)
    assert opened is not None
    return opened


class LeafWriter:
    """Gives out contiguous leaf indexes of one log within one write transaction.

    ``finish`` must be called before the commit: it writes the leaves and the new size.
    """

    def __init__(self, connection: sqlite3.Connection, log: Log, received_us: int) -> None:
        self._connection = connection
        self._log = log
        self._received_us = received_us
        self._rows: list[tuple[int, int, int, int, bytes]] = []

    def add(self, kind: LeafType, digest: bytes) -> int:
        """The index of a new leaf that commits to the 32 bytes ``digest``."""
        index = self._log.size + len(self._rows)
        self._rows.append((self._log.log, index, int(kind), self._received_us, digest))
        return index

    def finish(self) -> None:
        if not self._rows:
            return
        self._connection.executemany("INSERT INTO leaf VALUES (?,?,?,?,?)", self._rows)
        self._connection.execute(
            "UPDATE log SET size = ? WHERE log = ?",
            (self._log.size + len(self._rows), self._log.log),
        )


def document_hash(envelope: Envelope) -> bytes:
    """SHA-256 of ``PAE ‖ first signature``: what a leaf of a signed document commits to."""
    payload = seal.unbase64(envelope.payload, "unreadable")
    signature = seal.unbase64(envelope.signatures[0].sig, "unreadable")
    return hashlib.sha256(seal.pae(envelope.payload_type, payload) + signature).digest()


def hash_bytes(text: str) -> bytes:
    """The 32 bytes of ``sha256:<hex>``. Raises ValueError."""
    scheme, _, digits = text.partition(":")
    digest = bytes.fromhex(digits)
    if scheme != "sha256" or len(digest) != 32 or digits != digest.hex():
        raise ValueError("a hash is sha256: and 64 lower-case hex digits")
    return digest


def hash_text(digest: bytes) -> str:
    """``sha256:<hex>`` of 32 raw bytes."""
    return "sha256:" + digest.hex()
