"""The witness: judges one checkpoint, keeps it, and only then cosigns it.

Owns: the one transaction that compares, replaces and keeps what contradicts. Refuses: HTTP, and the
judgement itself (``gateway.witness``).
"""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import sqlite3
from typing import Final

import msgspec

from central.database import Database, OpenDatabase
from central.keys import read_signer
from central.witness import schema
from central.witness.config import WitnessConfig
from gateway import note, witness
from gateway.checkpoint import Checkpoint
from gateway.errors import DocumentInvalid
from gateway.note import NoteKey
from gateway.ports import WallClock
from gateway.timestamp import time_text
from gateway.witness import AddCheckpoint, Known, NotCosigned

CONTRADICTIONS_MAX: Final = 1_000
"""Of each log. The first ones tell; a log that is beside itself must not fill the disk."""

_SECOND_US: Final = 1_000_000
_log: Final = logging.getLogger("gatepost.witness")


class Contradiction(msgspec.Struct, frozen=True):
    """Two notes that one log signed. ``proof``: the hashes, base64, that were said to lead from the
    first to the second. Same size and other roots: the log showed two histories, whoever looks."""

    origin: str
    received: str
    cause: str
    cosigned_note: str
    refused_note: str
    proof: list[str]


class Witness:
    """Over its own database. Raises ConfigInvalid: a key file that cannot be used."""

    def __init__(
        self, config: WitnessConfig, clock: WallClock, open_database: OpenDatabase = Database
    ) -> None:
        self._clock = clock
        self._signer = read_signer(config.key, "witness")
        self._logs = config.watched()
        self.key = NoteKey(config.name, self._signer.public, cosigns=True)
        path = os.path.join(config.data_directory, "witness.db")
        self.database = open_database(path, schema.SCHEMA, schema.VERSION, {})

    async def cosign(self, body: bytes) -> str:
        """The cosignature line for the checkpoint in a request. It is durable before this returns.

        Raises NotCosigned, and Refused (``storage_failed``).
        """
        try:
            request = witness.decode(body)
        except DocumentInvalid as error:
            raise NotCosigned(400, error.detail) from error
        found = witness.opened(request, self._logs)
        now_us = self._clock.wall_us()
        refused = await self.database.write(lambda c: _replace(c, request, found, now_us))
        if refused is not None:
            extra = {"origin": found.origin, "detail": refused.detail}
            if refused.contradicts and refused.status == 409:
                _log.error("log_contradicts", extra=extra)
            elif refused.contradicts:
                # The checkpoint is the log's; the proof is whoever's sent it.
                _log.warning("log_not_proved", extra=extra)
            raise refused
        line = note.cosign(request.note.text, self.key.name, self._signer, now_us // _SECOND_US)
        return line.line()

    async def contradictions(self) -> list[Contradiction]:
        """What logs signed that does not follow from what was cosigned, oldest first.

        With ``proof``, which anybody may have sent, it is a question to the log and no more.
        """
        return await self.database.read(_contradictions)


def _replace(
    connection: sqlite3.Connection, request: AddCheckpoint, found: Checkpoint, now_us: int
) -> NotCosigned | None:
    """Put ``found`` in the place of what was cosigned last, or say why not."""
    row = connection.execute(
        "SELECT size, root, note FROM cosigned WHERE origin = ?", (found.origin,)
    ).fetchone()
    known = witness.NOTHING if row is None else Known(row[0], row[1])
    try:
        witness.check(request, found, known)
    except NotCosigned as refused:
        # Raised, it would roll back what is kept of it.
        if refused.contradicts and row is not None:
            _keep_contradiction(connection, request, found, refused, row[2], now_us)
        return refused
    connection.execute(
        "INSERT INTO cosigned VALUES (?,?,?,?,?) ON CONFLICT (origin) DO UPDATE SET"
        " size = excluded.size, root = excluded.root, cosigned_us = excluded.cosigned_us,"
        " note = excluded.note",
        (found.origin, found.size, found.root, now_us, request.note.encode()),
    )
    return None


def _keep_contradiction(
    connection: sqlite3.Connection,
    request: AddCheckpoint,
    found: Checkpoint,
    refused: NotCosigned,
    cosigned_note: str,
    now_us: int,
) -> None:
    # One size with two roots proves itself. Anybody can send a larger checkpoint with a false
    # proof: such pairs have room of their own, or they would take that of the others.
    proven = refused.status == 409
    (kept,) = connection.execute(
        "SELECT count(*) FROM contradiction WHERE origin = ? AND (proof = '') = ?",
        (found.origin, proven),
    ).fetchone()
    if kept >= CONTRADICTIONS_MAX:
        return
    hashes = [] if proven else request.proof
    proof = " ".join(base64.b64encode(one).decode() for one in hashes)
    digest = hashlib.sha256(f"{cosigned_note}\x00{request.note.text}".encode()).digest()
    connection.execute(
        "INSERT INTO contradiction VALUES (?,?,?,?,?,?,?) ON CONFLICT (origin, hash) DO NOTHING",
        (found.origin, digest, now_us, refused.detail, cosigned_note, request.note.encode(), proof),
    )


def _contradictions(connection: sqlite3.Connection) -> list[Contradiction]:
    rows = connection.execute(
        "SELECT origin, received_us, cause, cosigned_note, refused_note, proof"
        " FROM contradiction ORDER BY received_us, origin, hash"
    )
    return [
        Contradiction(origin, time_text(at), cause, cosigned, refused, proof.split())
        for origin, at, cause, cosigned, refused, proof in rows
    ]
