"""The shelf of a service that runs apart: its records lie in a database of its own.

Owns: keeping them, where each chain stands, and what of them the store still lacks. Refuses: what
stands in a chain (``own_chain.py``) and sending (``sender.py``).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

import msgspec

from central.own_chain import Chain, Head
from gateway import record, seal

BATCH_RECORDS_MAX: Final = 256


class Unsent(msgspec.Struct, frozen=True):
    """Records of one chain that the store has not resolved, contiguous, the oldest first."""

    chain: int
    instance: str
    first_seq: int
    last_seq: int
    lines: list[bytes]


class OwnRecords:
    """Implements ``own_chain.Shelf``."""

    def head(self, connection: sqlite3.Connection, chain: Chain) -> Head | None:
        return _head(connection, chain.instance)

    def predecessor(self, connection: sqlite3.Connection, chain: Chain) -> tuple[str, Head] | None:
        row = connection.execute(
            "SELECT instance FROM chain WHERE tenant = ? AND region = ? AND instance != ?"
            " ORDER BY number DESC LIMIT 1",
            (chain.tenant, chain.region, chain.instance),
        ).fetchone()
        head = None if row is None else _head(connection, row[0])
        return None if head is None else (row[0], head)

    def begun(self, connection: sqlite3.Connection, chain: Chain) -> None:
        """Nothing: ``keep`` made its row with the first record."""

    def keep(
        self, connection: sqlite3.Connection, chain: Chain, records: Sequence[seal.Sealed]
    ) -> None:
        connection.execute(
            "INSERT INTO chain (tenant, region, instance) VALUES (?,?,?)"
            " ON CONFLICT (instance) DO NOTHING",
            (chain.tenant, chain.region, chain.instance),
        )
        (number,) = connection.execute(
            "SELECT number FROM chain WHERE instance = ?", (chain.instance,)
        ).fetchone()
        connection.executemany(
            "INSERT INTO record (chain, seq, kind, hash, line) VALUES (?,?,?,?,?)",
            [
                (
                    number,
                    one.seq,
                    record.decode_leading(one.payload).kind,
                    one.hash,
                    one.envelope_line(),
                )
                for one in records
            ],
        )


def _head(connection: sqlite3.Connection, instance: str) -> Head | None:
    row = connection.execute(
        "SELECT r.seq, r.hash, r.kind FROM record r JOIN chain c ON c.number = r.chain"
        " WHERE c.instance = ? ORDER BY r.seq DESC LIMIT 1",
        (instance,),
    ).fetchone()
    return None if row is None else Head(row[0], row[1], row[2] == "seal")


def places(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    """(tenant, region) of which the store still lacks something."""
    return connection.execute(
        "SELECT DISTINCT c.tenant, c.region FROM chain c WHERE EXISTS"
        " (SELECT 1 FROM record r WHERE r.chain = c.number AND r.seq > c.sent_seq)"
        " ORDER BY c.tenant, c.region"
    ).fetchall()


def unsent(connection: sqlite3.Connection, tenant: str, region: str) -> Unsent | None:
    """What to send next of that log: of the oldest chain first. None: nothing is left."""
    found = connection.execute(
        "SELECT c.number, c.instance, c.sent_seq FROM chain c WHERE c.tenant = ? AND c.region = ?"
        " AND EXISTS (SELECT 1 FROM record r WHERE r.chain = c.number AND r.seq > c.sent_seq)"
        " ORDER BY c.number LIMIT 1",
        (tenant, region),
    ).fetchone()
    if found is None:
        return None
    number, instance, sent_seq = found
    rows = connection.execute(
        "SELECT seq, line FROM record WHERE chain = ? AND seq > ? ORDER BY seq LIMIT ?",
        (number, sent_seq, BATCH_RECORDS_MAX),
    ).fetchall()
    return Unsent(number, instance, rows[0][0], rows[-1][0], [line for _, line in rows])


def note_sent(connection: sqlite3.Connection, batch: Unsent, through_seq: int, lost: int) -> None:
    """The store resolved the records of ``batch`` up to ``through_seq``; ``lost`` of them it kept
    as evidence only."""
    connection.execute(
        "UPDATE chain SET sent_seq = max(sent_seq, ?), refused = refused + ? WHERE number = ?",
        (through_seq, lost, batch.chain),
    )


def backlog(connection: sqlite3.Connection) -> tuple[int, int]:
    """(records that the store lacks, records that it did not take into their chain)."""
    (waiting,) = connection.execute(
        "SELECT count(*) FROM record r JOIN chain c ON c.number = r.chain WHERE r.seq > c.sent_seq"
    ).fetchone()
    (refused,) = connection.execute("SELECT coalesce(sum(refused), 0) FROM chain").fetchone()
    return waiting, refused
