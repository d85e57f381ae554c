"""An export: everything an offline verifier needs, cut at one signed checkpoint.

Owns: the order of the lines (``gateway.log_line`` has their forms): roots, certificates,
revocations and log statements; records in leaf order, each stretch with what the log proves of
it; the consistency proof that was asked for; the checkpoint, last. A *complete* export holds every
leaf, so that its reader rebuilds the whole tree; another one holds range proofs. Refuses: judging
what it hands out; ``gatepost verify`` does.

Every page is read by itself: nodes below the pinned size never change, however the log grows
meanwhile, and no page holds more than ``EXPORT_PAGE_BYTES`` and one line.
"""

from __future__ import annotations

import base64
import itertools
import sqlite3
from collections.abc import Sequence
from typing import Final

import msgspec

from central.record_store import cosignatures
from central.record_store.condition import add_times, condition_of, source_of
from central.record_store.cosignatures import Quorum
from central.record_store.filters import Query
from central.record_store.logs import Log
from central.record_store.tree import Nodes
from gateway import checkpoint, envelope_line, limits, log_line, merkle, note
from gateway.log_line import Arrived, Consistency, Evidence, Leaves, LogLine, Range
from gateway.logproof import Entry, LeafType

_HEAD_TABLES: Final = ("certificate", "revocation", "log_statement")
_LEAVES: Final = """
SELECT l.leaf_index, l.type, l.received_us, l.hash, r.kid, r.payload, r.signature, e.code, e.line
FROM leaf AS l
LEFT JOIN record AS r ON r.log = l.log AND r.leaf_index = l.leaf_index
LEFT JOIN evidence AS e ON e.log = l.log AND e.leaf_index = l.leaf_index
WHERE l.log = ? AND l.leaf_index >= ? AND l.leaf_index < ?
ORDER BY l.leaf_index
"""


class Pinned(msgspec.Struct, frozen=True):
    """What one export is cut at. ``log.size`` is the size of the checkpoint in ``note``."""

    log: Log
    note: str


class ExportPage(msgspec.Struct, frozen=True):
    """``lines``: NDJSON text; ``after``: the last leaf index in it, None when nothing follows."""

    lines: bytes
    after: int | None


def pin(
    connection: sqlite3.Connection, log: Log | None, quorum: Quorum | None = None
) -> Pinned | None:
    """The newest checkpoint of ``log`` that a quorum cosigned, or the newest of all where none is
    asked for or met; None before its first leaf: nothing is signed yet."""
    text = None if log is None else cosignatures.chosen(connection, log, quorum)
    if log is None or text is None:
        return None
    size = checkpoint.read(note.parse(text).text).size
    return Pinned(msgspec.structs.replace(log, size=size), text)


def head_lines(connection: sqlite3.Connection, log: Log) -> bytes:
    """Every signed document of ``log`` below its size, kind by kind, in leaf order, as signed."""
    found: list[bytes] = []
    for table in _HEAD_TABLES:
        rows = connection.execute(
            f"SELECT envelope FROM {table}"  # noqa: S608 - names of our own tables
            " WHERE log = ? AND leaf_index < ? ORDER BY leaf_index",
            (log.log, log.size),
        )
        found += [envelope + b"\n" for (envelope,) in rows]
    return b"".join(found)


def record_page(connection: sqlite3.Connection, log: Log, query: Query, after: int) -> ExportPage:
    """The records of ``query`` that follow leaf ``after`` (-1 for the first page), each stretch of
    neighbouring leaves with its proof."""
    condition = condition_of(query, log)
    add_times(condition, query)
    condition.add("r.leaf_index > ? AND r.leaf_index < ?", after, log.size)
    rows = connection.execute(
        "SELECT r.leaf_index, r.received_us, r.kid, r.payload, r.signature"  # noqa: S608 - our own words
        f" FROM {source_of(query)} WHERE {condition.sql}"
        " ORDER BY r.leaf_index LIMIT ?",
        (*condition.values, limits.EXPORT_PAGE_RECORDS),
    ).fetchall()
    nodes = Nodes(connection, log.log)
    found: list[bytes] = []
    for stretch in _stretches([(index, received_us) for index, received_us, *_ in rows]):
        for _, _, kid, payload, signature in rows[stretch.start : stretch.stop]:
            found.append(envelope_line.write_record(payload, kid, signature))
        places = [(row[0], row[1]) for row in rows[stretch.start : stretch.stop]]
        found.append(_range_line(places, log.size, nodes))
    full = len(rows) == limits.EXPORT_PAGE_RECORDS
    return ExportPage(b"".join(found), rows[-1][0] if full else None)


def _stretches(places: Sequence[tuple[int, int]]) -> list[range]:
    """Where in ``places`` (leaf index, …) neighbouring leaves stand together."""
    cuts = [at for at in range(1, len(places)) if places[at][0] != places[at - 1][0] + 1]
    bounds = [0, *cuts, len(places)] if places else [0]
    return [range(first, end) for first, end in itertools.pairwise(bounds)]


def _range_line(places: Sequence[tuple[int, int]], size: int, nodes: Nodes) -> bytes:
    arrived: list[Arrived] = []
    for _, received_us in places:
        if arrived and arrived[-1].received_us == received_us:
            arrived[-1] = Arrived(arrived[-1].count + 1, received_us)
        else:
            arrived.append(Arrived(1, received_us))
    first_index = places[0][0]
    proof = merkle.range_proof(first_index, len(places), size, nodes)
    return log_line.write(LogLine(range=Range(size, first_index, arrived, _texts(proof))))


def leaf_page(connection: sqlite3.Connection, log: Log, after: int) -> ExportPage:
    """The leaves that follow ``after``, up to the end of their bundle, with all that is kept of
    them; a leaf whose bytes are not kept stands as its entry alone."""
    first = after + 1
    end = min(log.size, (first // log_line.LEAVES_MAX + 1) * log_line.LEAVES_MAX)
    if first >= end:
        return ExportPage(b"", None)
    found: list[bytes] = []
    entries: list[bytes] = []
    held_bytes = 0
    for row in connection.execute(_LEAVES, (log.log, first, end)):
        index, kind, received_us, digest, kid, payload, signature, code, line = row
        if kind == LeafType.RECORD and payload is not None:
            found.append(envelope_line.write_record(payload, kid, signature))
            held_bytes += len(found[-1])
        elif kind == LeafType.EVIDENCE and line is not None:
            text = base64.b64encode(line).decode()
            kept = Evidence(code=code, index=index, received_us=received_us, line=text)
            found.append(log_line.write(LogLine(evidence=kept)))
            held_bytes += len(found[-1])
        entries.append(Entry(kind, received_us, digest).encode())
        if held_bytes >= limits.EXPORT_PAGE_BYTES:
            break
    text = base64.b64encode(b"".join(entries)).decode()
    found.append(log_line.write(LogLine(leaves=Leaves(first_index=first, entries=text))))
    last = first + len(entries) - 1
    return ExportPage(b"".join(found), last if last + 1 < log.size else None)


def tail_lines(connection: sqlite3.Connection, pinned: Pinned, old_size: int | None) -> bytes:
    """The last lines: what leads from ``old_size`` leaves here, where asked, and the checkpoint."""
    found = b""
    if old_size is not None:
        size = pinned.log.size
        proof = merkle.consistency_proof(old_size, size, Nodes(connection, pinned.log.log))
        found = log_line.write(LogLine(consistency=Consistency(old_size, size, _texts(proof))))
    return found + log_line.write(LogLine(checkpoint=pinned.note))


def _texts(hashes: Sequence[bytes]) -> list[str]:
    return [base64.b64encode(one).decode() for one in hashes]
