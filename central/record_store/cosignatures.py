"""What witnesses cosigned of a log, and which checkpoint is given out with it.

Owns: keeping cosignatures that were checked, and choosing a checkpoint: the newest that a quorum
cosigned, where one is asked for. Refuses: asking witnesses (``witnesses.py``), and believing them.

A policy that is new finds what older ones left: ``look_back`` says once what meets it.
"""

from __future__ import annotations

import hashlib
import itertools
import sqlite3
from collections.abc import Iterable
from typing import Final

import msgspec

from central.record_store.logs import Log
from gateway import note
from gateway.errors import ConfigInvalid, DocumentInvalid
from gateway.note import NoteKey, NoteSignature
from gateway.witness_policy import POLICY_BYTES_MAX, Policy
from gateway.witness_policy import parse as parse_policy

_LINES_MAX: Final = note.SIGNATURES_MAX - 8
"""Of witnesses, under one checkpoint: the log has signatures, too."""


class Quorum(msgspec.Struct, frozen=True):
    """``digest``: names this policy where it says what was enough."""

    policy: Policy
    digest: bytes

    def met(self, keys: Iterable[str]) -> bool:
        """Whether the witnesses with these keys (``key_name``) are a quorum."""
        found = set(keys)
        return self.policy.met(
            {one.name for one in self.policy.witnesses if key_name(one.key) in found}
        )


class Cosignature(msgspec.Struct, frozen=True):
    """A line that was checked. ``time``: seconds since 1970, by the clock of the witness."""

    key: NoteKey
    line: NoteSignature
    time: int


def read_quorum(path: str) -> Quorum:
    """The policy in the file ``path``. Raises ConfigInvalid."""
    try:
        with open(path, "rb") as file:
            data = file.read(POLICY_BYTES_MAX + 1)
        return Quorum(parse_policy(data), hashlib.sha256(data).digest())
    except OSError as error:
        raise ConfigInvalid(f"witnesses.policy {path}: {error.strerror}") from error
    except DocumentInvalid as error:
        raise ConfigInvalid(f"witnesses.policy {path}: {error.detail}") from error


def key_name(key: NoteKey) -> str:
    """What a row names a witness by: ``name+id``."""
    return f"{key.name}+{key.key_id.hex()}"


def keep(
    connection: sqlite3.Connection, log: Log, found: Cosignature, quorum: Quorum, now_us: int
) -> None:
    """Keep a cosignature of the checkpoint of ``log.size`` leaves. Inside a write transaction."""
    connection.execute(
        "INSERT INTO cosignature VALUES (?,?,?,?,?,?,?)"
        " ON CONFLICT (log, origin, size, witness) DO NOTHING",
        (
            log.log,
            log.origin,
            log.size,
            key_name(found.key),
            found.time,
            now_us,
            found.line.line(),
        ),
    )
    rows = connection.execute(
        "SELECT witness FROM cosignature WHERE log = ? AND origin = ? AND size = ?",
        (log.log, log.origin, log.size),
    )
    if quorum.met(name for (name,) in rows):
        _set_met(connection, log.log, log.origin, quorum, log.size)


def look_back(connection: sqlite3.Connection, quorum: Quorum) -> None:
    """Note which checkpoint of each log met ``quorum`` before it was the policy. Inside a write
    transaction."""
    for log, origin in connection.execute("SELECT log, origin FROM log").fetchall():
        if _met_size(connection, log, origin, quorum) is not None:
            continue
        rows = connection.execute(
            "SELECT size, witness FROM cosignature WHERE log = ? AND origin = ? ORDER BY size DESC",
            (log, origin),
        )
        for size, names in itertools.groupby(rows, key=lambda row: int(row[0])):
            if quorum.met(name for _, name in names):
                _set_met(connection, log, origin, quorum, size)
                break


def last(connection: sqlite3.Connection, log: Log, key: NoteKey) -> tuple[int, int | None]:
    """How many leaves of ``log`` the witness with ``key`` cosigned last, and when, in seconds since
    1970; (0, None) before the first."""
    row = connection.execute(
        "SELECT size, time FROM cosignature WHERE log = ? AND origin = ? AND witness = ?"
        " ORDER BY size DESC LIMIT 1",
        (log.log, log.origin, key_name(key)),
    ).fetchone()
    return (0, None) if row is None else (int(row[0]), int(row[1]))


def met_size(connection: sqlite3.Connection, log: Log, quorum: Quorum) -> int | None:
    """The newest size of ``log`` that a quorum cosigned, or None."""
    return _met_size(connection, log.log, log.origin, quorum)


def chosen(
    connection: sqlite3.Connection, log: Log, quorum: Quorum | None, *, newest: bool = False
) -> str | None:
    """The checkpoint to give out, with its cosignatures; None before the first leaf.

    The newest that met ``quorum``. Without a quorum, with ``newest``, and until one met it, the
    newest of all: whoever wants cosignatures sees that they are not there.
    """
    size = None if newest or quorum is None else met_size(connection, log, quorum)
    return _cosigned(connection, log, size)


def covering(
    connection: sqlite3.Connection, log: Log, quorum: Quorum | None, index: int
) -> str | None:
    """As ``chosen``, but a checkpoint that the leaf ``index`` is under."""
    size = None if quorum is None else met_size(connection, log, quorum)
    return _cosigned(connection, log, size if size is not None and index < size else None)


def _cosigned(connection: sqlite3.Connection, log: Log, size: int | None) -> str | None:
    """The checkpoint of ``size`` leaves, or the newest, with the cosignatures that it has."""
    row = connection.execute(
        "SELECT size, note FROM checkpoint WHERE log = ? AND origin = ? AND size <= ?"
        " ORDER BY size DESC LIMIT 1",
        (log.log, log.origin, log.size if size is None else size),
    ).fetchone()
    if row is None:
        return None
    rows = connection.execute(
        "SELECT line FROM cosignature WHERE log = ? AND origin = ? AND size = ?"
        " ORDER BY witness LIMIT ?",
        (log.log, log.origin, row[0], _LINES_MAX),
    )
    return str(row[1]) + "".join(line for (line,) in rows)


def _met_size(connection: sqlite3.Connection, log: int, origin: str, quorum: Quorum) -> int | None:
    row = connection.execute(
        "SELECT size FROM quorum_met WHERE log = ? AND origin = ? AND policy = ?",
        (log, origin, quorum.digest),
    ).fetchone()
    return None if row is None else int(row[0])


def _set_met(
    connection: sqlite3.Connection, log: int, origin: str, quorum: Quorum, size: int
) -> None:
    connection.execute(
        "INSERT INTO quorum_met VALUES (?,?,?,?) ON CONFLICT (log, origin, policy)"
        " DO UPDATE SET size = max(size, excluded.size)",
        (log, origin, quorum.digest, size),
    )
