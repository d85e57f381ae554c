"""The log of one (tenant, region): which leaf comes next, and the checkpoint that signs for it.

Owns: leaf-index assignment, growing the tree with its leaves, and a signed checkpoint in the same
transaction: what was answered for is under a signature before the answer leaves. Refuses: what a
daemon is told about it (``answer.py``) and what people fetch of it (``publication.py``).

A leaf entry is ``type ‖ u64be received_us ‖ hash`` (docs/records.md, "Log").
"""

from __future__ import annotations

import hashlib
import sqlite3

import msgspec

from central.record_store import tree
from gateway import checkpoint, note, seal
from gateway.checkpoint import Checkpoint
from gateway.documents import Envelope
from gateway.logproof import Entry, LeafType
from gateway.merkle import Frontier
from gateway.note import Note


class Log(msgspec.Struct, frozen=True):
    """``log``: row number; ``size``: leaves, as of the transaction that read it."""

    log: int
    tenant: str
    region: str
    origin: str
    size: int


class Logbook:
    """The logs of one store. ``signers``: keys of the root's ``log`` role, to its threshold."""

    def __init__(self, host: str, signers: list[seal.Signer]) -> None:
        self._host = host
        self._signers = signers

    def open(self, connection: sqlite3.Connection, tenant: str, region: str) -> Log:
        """The log of (tenant, region), created if it is new. Inside a write transaction."""
        found = find_log(connection, tenant, region)
        if found is not None:
            return found
        origin = checkpoint.origin(self._host, tenant, region, 1)
        connection.execute(
            "INSERT INTO log (tenant, region, origin, size, peaks) VALUES (?,?,?,0,x'')",
            (tenant, region, origin),
        )
        opened = find_log(connection, tenant, region)
        assert opened is not None
        return opened

    def writer(self, connection: sqlite3.Connection, log: Log, received_us: int) -> LeafWriter:
        """A writer of leaves that arrived at ``received_us``. Inside a write transaction."""
        return LeafWriter(connection, log, received_us, self)

    def sign(self, connection: sqlite3.Connection, log: int, found: Checkpoint, now_us: int) -> str:
        """Sign ``found`` and keep it; returns the note."""
        text = checkpoint.write(found, self._signers).encode()
        connection.execute(
            "INSERT INTO checkpoint VALUES (?,?,?,?,?) ON CONFLICT (log, origin, size) DO NOTHING",
            (log, found.origin, found.size, now_us, text),
        )
        return text

    def sign_again(self, connection: sqlite3.Connection) -> None:
        """Put our signature under the newest checkpoint of each log, where it is not there yet.

        After a rotation of the log's key daemons take no other. The old signatures stay: they are
        all that a daemon understands which does not hold the next root yet. Inside a write
        transaction.
        """
        rows = connection.execute("SELECT log, tenant, region, origin, size FROM log").fetchall()
        for log in (Log(*row) for row in rows):
            text = newest_checkpoint(connection, log)
            if text is None:
                continue
            held = note.parse(text)
            mine = {note.NoteKey(log.origin, one.public).key_id: one for one in self._signers}
            present = {line.key_id for line in held.signatures if line.name == log.origin}
            added = [
                note.sign(held.text, log.origin, signer)
                for key_id, signer in mine.items()
                if key_id not in present
            ]
            if added:
                size = checkpoint.read(held.text).size
                signed = Note(held.text, [*held.signatures, *added]).encode()
                connection.execute(
                    "UPDATE checkpoint SET note = ? WHERE log = ? AND origin = ? AND size = ?",
                    (signed, log.log, log.origin, size),
                )


def find_log(connection: sqlite3.Connection, tenant: str, region: str) -> Log | None:
    """The log of (tenant, region), or None before its first leaf."""
    row = connection.execute(
        "SELECT log, tenant, region, origin, size FROM log WHERE tenant = ? AND region = ?",
        (tenant, region),
    ).fetchone()
    return None if row is None else Log(*row)


def newest_checkpoint(connection: sqlite3.Connection, log: Log) -> str | None:
    """The note of the newest checkpoint of ``log``, or None before its first leaf."""
    row = connection.execute(
        "SELECT note FROM checkpoint WHERE log = ? AND origin = ? ORDER BY size DESC LIMIT 1",
        (log.log, log.origin),
    ).fetchone()
    return None if row is None else str(row[0])


class LeafWriter:
    """Gives out contiguous leaf indexes of one log within one write transaction.

    ``finish`` must be called before the commit: it writes the leaves, grows the tree, and signs a
    checkpoint over it.
    """

    def __init__(
        self, connection: sqlite3.Connection, log: Log, received_us: int, logbook: Logbook
    ) -> None:
        self._connection = connection
        self._log = log
        self._received_us = received_us
        self._logbook = logbook
        self._rows: list[tuple[int, int, int, int, bytes]] = []

    def add(self, kind: LeafType, digest: bytes) -> int:
        """The index of a new leaf that commits to the 32 bytes ``digest``."""
        index = self._log.size + len(self._rows)
        self._rows.append((self._log.log, index, int(kind), self._received_us, digest))
        return index

    def finish(self) -> Checkpoint:
        """Write the leaves; returns the checkpoint, signed, that covers them."""
        connection, log = self._connection, self._log
        (peaks,) = connection.execute(
            "SELECT peaks FROM log WHERE log = ? AND size = ?", (log.log, log.size)
        ).fetchone()
        frontier = Frontier(log.size, tree.split_hashes(peaks))
        if self._rows:
            connection.executemany("INSERT INTO leaf VALUES (?,?,?,?,?)", self._rows)
            leaves = [Entry(kind, at, digest).leaf_hash() for _, _, kind, at, digest in self._rows]
            tree.append(connection, log.log, frontier, leaves)
            connection.execute(
                "UPDATE log SET size = ?, peaks = ? WHERE log = ?",
                (frontier.size, b"".join(frontier.peaks), log.log),
            )
        found = Checkpoint(log.origin, frontier.size, frontier.root())
        # A tree that was grown by an upgrade is not under a signature yet.
        if self._rows or newest_checkpoint(connection, log) is None:
            self._logbook.sign(connection, log.log, found, self._received_us)
        return found


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
