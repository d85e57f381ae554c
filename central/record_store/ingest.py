"""Taking in a shipped batch: verify, judge, sequence and keep it in one transaction.

Owns: what is written for each judgement and the answer of ``POST /v1/records``. Refuses: HTTP,
and answering before the commit is durable. Everything that came is resolved: kept as a record,
recognised as kept before, or kept as evidence with the cause; so nothing can block a spool.
"""

from __future__ import annotations

import sqlite3

import msgspec

from central.record_store import answer, certificates, recovery
from central.record_store.answer import LeafPlace
from central.record_store.batch import Item
from central.record_store.chain import ChainState, Verdict, judge
from central.record_store.grade import Grade, grade
from central.record_store.index_row import COLUMNS
from central.record_store.keyring import Keyring
from central.record_store.logs import Log, Logbook, hash_bytes, hash_text
from gateway import record
from gateway.checkpoint import Checkpoint
from gateway.documents import LogSeen
from gateway.logproof import LeafType
from gateway.shipping import ShipAnswer, ShipException, ShipHead

RECORD_COLUMNS = (
    "log, leaf_index, received_us, instance, seq, kid, id, v, kind, record_hash, time_us, grade, "
    + ", ".join(COLUMNS)
    + ", payload, signature"
)
INSERT_RECORD = (
    f"INSERT INTO record ({RECORD_COLUMNS})"  # noqa: S608 - names of our own table
    f" VALUES ({','.join('?' * (len(COLUMNS) + 14))})"
)

RecordRow = tuple[str | int | bytes | None, ...]


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """One verified batch. ``sender``: the instance that delivered it; ``instance``: whose it is;
    ``log_seen``: the newest checkpoint that the sender checked."""

    tenant: str
    region: str
    sender: str
    instance: str
    items: list[Item]
    keyring: Keyring
    received_us: int
    log_seen: LogSeen | None


def ingest(connection: sqlite3.Connection, arrival: Arrival, logbook: Logbook) -> ShipAnswer:
    """Keep ``arrival`` and answer for it. Inside one write transaction."""
    log = logbook.open(connection, arrival.tenant, arrival.region)
    writer = _Writer(connection, log, arrival, logbook)
    writer.keep_brought()
    for item in arrival.items:
        writer.take(item)
    current = writer.finish()
    proof = answer.prove(connection, log, current, writer.places, arrival.log_seen)
    return ShipAnswer(
        through_seq=max(item.seq for item in arrival.items),
        exceptions=writer.exceptions,
        runs=proof.runs,
        head=_head(connection, log, arrival.instance),
        checkpoint=proof.checkpoint,
        consistency=proof.consistency,
        statements=proof.statements,
    )


class _Writer:
    """The rows of one batch, gathered and then written together."""

    def __init__(
        self, connection: sqlite3.Connection, log: Log, arrival: Arrival, logbook: Logbook
    ) -> None:
        self._connection = connection
        self._log = log
        self._arrival = arrival
        self._leaves = logbook.writer(connection, log, arrival.received_us)
        self._received_us = arrival.received_us
        self._kept = _load_places(connection, log, arrival)
        self._state = _load_state(connection, log, arrival)
        self._prevs: dict[int, bytes] = {}
        self._records: list[RecordRow] = []
        self._categories: list[tuple[int, str, int, int]] = []
        self._accepted: list[Item] = []
        self._forks = 0
        self.exceptions: list[ShipException] = []
        self.places: list[LeafPlace] = []

    def keep_brought(self) -> None:
        """Keep the certificates that came inside records, if they are this log's."""
        for certified in self._arrival.keyring.brought:
            place = (certified.certificate.tenant, certified.certificate.region)
            if place == (self._log.tenant, self._log.region):
                certificates.insert_certificate(
                    self._connection,
                    self._log,
                    self._leaves,
                    certified,
                    self._arrival.received_us,
                )

    def take(self, item: Item) -> None:
        verdict = judge(item, self._state, self._prev_of)
        if verdict.judgement == "accepted":
            self._accept(item)
            return
        self.exceptions.append(ShipException(seq=item.seq, code=verdict.judgement))
        if verdict.judgement == "duplicate":
            self.places.append(self._kept[item.seq])
        else:
            self._keep_evidence(item, verdict)

    def _accept(self, item: Item) -> None:
        assert item.leading is not None
        leading, row, received_us = item.leading, item.row, self._received_us
        time_us = received_us if row.time_us is None else row.time_us
        graded = self._grade(item)
        index = self._leaves.add(LeafType.RECORD, item.hash)
        place = self._kept[item.seq] = LeafPlace(item.seq, index, received_us)
        self.places.append(place)
        self._records.append(
            (
                self._log.log,
                index,
                received_us,
                leading.chain.instance,
                item.seq,
                leading.chain.kid,
                leading.id,
                leading.v,
                leading.kind,
                item.hash,
                time_us,
                None if graded == "on_time" else graded,
                *(getattr(row, column) for column in COLUMNS),
                item.payload,
                item.signature,
            )
        )
        self._categories.extend(
            (self._log.log, category, time_us, index) for category in set(row.categories)
        )
        self._prevs[item.seq] = hash_bytes(leading.chain.prev)
        self._accepted.append(item)

    def _grade(self, item: Item) -> Grade:
        assert item.leading is not None
        time_us = item.row.time_us
        covered = time_us is None or self._arrival.keyring.covers(item.leading.chain.kid, time_us)
        return grade(time_us, self._received_us, covered=covered)

    def _keep_evidence(self, item: Item, verdict: Verdict) -> None:
        """Keep the bytes once: a sender that repeats them adds no leaf."""
        known = self._connection.execute(
            "SELECT leaf_index, received_us FROM evidence WHERE log = ? AND hash = ?",
            (self._log.log, item.hash),
        ).fetchone()
        if known is not None:
            self.places.append(LeafPlace(item.seq, *known))
            return
        if verdict.judgement == "fork":
            self._forks += 1
        index, received_us = self._leaves.add(LeafType.EVIDENCE, item.hash), self._received_us
        self.places.append(LeafPlace(item.seq, index, received_us))
        self._connection.execute(
            "INSERT INTO evidence VALUES (?,?,?,?,?,?,?,?,?,?)",
            (
                self._log.log,
                index,
                received_us,
                item.hash,
                verdict.judgement,
                verdict.cause,
                self._arrival.sender,
                self._arrival.instance,
                item.seq,
                item.line,
            ),
        )

    def _prev_of(self, seq: int) -> bytes | None:
        if seq in self._prevs:
            return self._prevs[seq]
        row = self._connection.execute(
            "SELECT payload FROM record WHERE log = ? AND instance = ? AND seq = ?",
            (self._log.log, self._arrival.instance, seq),
        ).fetchone()
        return None if row is None else hash_bytes(record.decode_leading(row[0]).chain.prev)

    def finish(self) -> Checkpoint:
        connection = self._connection
        connection.executemany(INSERT_RECORD, self._records)
        connection.executemany("INSERT OR IGNORE INTO category VALUES (?,?,?,?)", self._categories)
        current = self._leaves.finish()
        self._note_keys()
        self._note_instance()
        return current

    def _note_keys(self) -> None:
        log, instance = self._log.log, self._arrival.instance
        for item in self._accepted:
            assert item.leading is not None
            kid = item.leading.chain.kid
            declared = self._arrival.keyring.declared.get(kid)
            if declared is not None:
                self._connection.execute(
                    "INSERT OR IGNORE INTO start_key VALUES (?,?,?,?)",
                    (log, instance, kid, declared),
                )
            if item.retires:
                self._connection.execute(
                    "INSERT OR IGNORE INTO retired_key VALUES (?,?,?,?)",
                    (log, instance, kid, item.seq),
                )
            if item.recovers is not None:
                claim = recovery.claim_of(item.recovers, instance)
                recovery.keep(self._connection, log, claim)

    def _note_instance(self) -> None:
        if not self._accepted and not self._forks:
            return
        now_us = self._arrival.received_us
        key = (self._log.log, self._arrival.instance)
        head = max(self._accepted, key=lambda item: item.seq, default=None)
        self._connection.execute(
            "INSERT OR IGNORE INTO instance (log, instance, head_seq, head_hash, records, forks,"
            " first_seen_us, last_seen_us) VALUES (?,?,-1,x'',0,0,?,?)",
            (*key, now_us, now_us),
        )
        if head is not None:
            self._connection.execute(
                "UPDATE instance SET head_seq = ?, head_hash = ?"
                " WHERE log = ? AND instance = ? AND head_seq < ?",
                (head.seq, head.hash, *key, head.seq),
            )
        self._connection.execute(
            "UPDATE instance SET records = records + ?, forks = forks + ?, last_seen_us = ?,"
            " sealed_seq = ? WHERE log = ? AND instance = ?",
            (len(self._accepted), self._forks, now_us, self._state.sealed_seq, *key),
        )


def _load_places(
    connection: sqlite3.Connection, log: Log, arrival: Arrival
) -> dict[int, LeafPlace]:
    """Where the records stand that are kept already, by seq."""
    rows = connection.execute(
        "SELECT seq, leaf_index, received_us FROM record WHERE log = ? AND instance = ?"
        " AND seq IN (SELECT value FROM json_each(?))",
        (log.log, arrival.instance, _json([item.seq for item in arrival.items])),
    )
    return {row[0]: LeafPlace(*row) for row in rows}


def _json(seqs: list[int]) -> str:
    return msgspec.json.encode(seqs).decode()


def _load_state(connection: sqlite3.Connection, log: Log, arrival: Arrival) -> ChainState:
    key = (log.log, arrival.instance)
    seqs = {item.seq + step for item in arrival.items for step in (-1, 0, 1)}
    row = connection.execute(
        "SELECT sealed_seq FROM instance WHERE log = ? AND instance = ?", key
    ).fetchone()
    return ChainState(
        hashes=dict(
            connection.execute(
                "SELECT seq, record_hash FROM record WHERE log = ? AND instance = ?"
                " AND seq IN (SELECT value FROM json_each(?))",
                (*key, _json(sorted(seqs))),
            ).fetchall()
        ),
        retired=dict(
            connection.execute(
                "SELECT kid, last_seq FROM retired_key WHERE log = ? AND instance = ?", key
            ).fetchall()
        ),
        sealed_seq=None if row is None else row[0],
    )


def _head(connection: sqlite3.Connection, log: Log, instance: str) -> ShipHead | None:
    row = connection.execute(
        "SELECT head_seq, head_hash FROM instance WHERE log = ? AND instance = ? AND head_seq >= 0",
        (log.log, instance),
    ).fetchone()
    return None if row is None else ShipHead(seq=row[0], record_hash=hash_text(row[1]))
