"""What a daemon is told of its batch: where each record stands in the log, and the proof of it.

Owns: the runs with their range proofs, the checkpoint, and what leads to it from the checkpoint
that the daemon saw last. Refuses: judging records (``chain.py``) and keeping them (``ingest.py``).
"""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Sequence

import msgspec

from central.record_store.logs import Log, newest_checkpoint
from central.record_store.tree import Nodes
from gateway import merkle, seal
from gateway.checkpoint import Checkpoint
from gateway.documents import Envelope, LogSeen
from gateway.shipping import ShipRun


class LeafPlace(msgspec.Struct, frozen=True):
    """Where the leaf of the record ``seq`` stands, and when it arrived."""

    seq: int
    index: int
    received_us: int


class Proof(msgspec.Struct, frozen=True):
    """The members of an answer that prove it; see ``gateway.shipping.ShipAnswer``."""

    runs: list[ShipRun]
    checkpoint: str | None
    consistency: list[str]
    statements: list[Envelope] | None


def prove(
    connection: sqlite3.Connection,
    log: Log,
    current: Checkpoint,
    places: Sequence[LeafPlace],
    seen: LogSeen | None,
) -> Proof:
    """The proof that ``places`` are under ``current``, whose checkpoint is signed and kept."""
    nodes = Nodes(connection, log.log)
    return Proof(
        runs=[_run(run, current.size, nodes) for run in _runs(places)],
        checkpoint=newest_checkpoint(connection, log),
        consistency=_consistency(current, seen, nodes),
        statements=_statements(connection, log, seen),
    )


def _runs(places: Sequence[LeafPlace]) -> list[list[LeafPlace]]:
    """``places`` parted where seq, index or time of arrival do not go on."""
    runs: list[list[LeafPlace]] = []
    for place in sorted(set(places), key=lambda one: one.seq):
        last = runs[-1][-1] if runs else None
        if last is not None and (place.seq, place.index, place.received_us) == (
            last.seq + 1,
            last.index + 1,
            last.received_us,
        ):
            runs[-1].append(place)
        else:
            runs.append([place])
    return runs


def _run(places: list[LeafPlace], size: int, nodes: Nodes) -> ShipRun:
    first = places[0]
    proof = merkle.range_proof(first.index, len(places), size, nodes)
    return ShipRun(
        first_seq=first.seq,
        last_seq=places[-1].seq,
        first_index=first.index,
        received_us=first.received_us,
        proof=[base64.b64encode(one).decode() for one in proof],
    )


def _consistency(current: Checkpoint, seen: LogSeen | None, nodes: Nodes) -> list[str]:
    """From what was seen; empty where there is nothing to prove, or nothing that could be."""
    if seen is None or seen.origin != current.origin or not 0 < seen.size <= current.size:
        return []
    proof = merkle.consistency_proof(seen.size, current.size, nodes)
    return [base64.b64encode(one).decode() for one in proof]


def _statements(
    connection: sqlite3.Connection, log: Log, seen: LogSeen | None
) -> list[Envelope] | None:
    if seen is None or seen.origin == log.origin:
        return None
    rows = connection.execute(
        "SELECT envelope FROM log_statement WHERE log = ? ORDER BY leaf_index", (log.log,)
    )
    return [seal.parse_envelope(envelope) for (envelope,) in rows]
