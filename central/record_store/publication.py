"""What anybody may fetch of a log: checkpoint, tiles, entries (C2SP tlog-tiles), and proofs.

Tiles and entries hold hashes and times of arrival only, so they may be handed to witnesses and
mirrors that see no record.

Owns: reading them, and the path of a tile. Refuses: who may ask (``service.py``) and HTTP.
"""

from __future__ import annotations

import base64
import re
import sqlite3
from typing import Final

import msgspec

from central.errors import Refused
from central.record_store import cosignatures, tree
from central.record_store.cosignatures import Quorum
from central.record_store.logs import Log, hash_bytes
from central.record_store.tree import TILE_WIDTH, Nodes
from gateway import checkpoint, merkle, note
from gateway.logproof import Entry, LogProof

_LEVEL_MAX: Final = 63
_LEVEL: Final = re.compile(r"0|[1-9][0-9]?")
_INDEX: Final = re.compile(r"(?:x[0-9]{3}/){0,5}[0-9]{3}")
_WIDTH: Final = re.compile(r"[1-9][0-9]{0,2}")


class TilePath(msgspec.Struct, frozen=True):
    """``level``: None for a bundle of entries; ``width``: 256 for a full one."""

    level: int | None
    tile_index: int
    width: int


def tile_path(text: str) -> TilePath:
    """What ``<L>/<N>[.p/<W>]`` or ``entries/<N>[.p/<W>]`` names. Raises Refused (``not_found``)."""
    first, _, rest = text.partition("/")
    index, partial, width = rest.partition(".p/")
    known = first == "entries" or (_LEVEL.fullmatch(first) and int(first) <= _LEVEL_MAX)
    if not known or _INDEX.fullmatch(index) is None:
        raise Refused("not_found", "a tile is named level/index or entries/index")
    if partial and (_WIDTH.fullmatch(width) is None or int(width) >= TILE_WIDTH):
        raise Refused("not_found", "a partial tile has 1 to 255 hashes")
    return TilePath(
        level=None if first == "entries" else int(first),
        tile_index=int(index.replace("x", "").replace("/", "")),
        width=int(width) if partial else TILE_WIDTH,
    )


def checkpoint_text(
    connection: sqlite3.Connection,
    log: Log | None,
    quorum: Quorum | None = None,
    *,
    newest: bool = False,
) -> str:
    """The checkpoint that ``cosignatures.chosen`` gives. Raises Refused (``not_found``) before the
    first leaf."""
    text = None if log is None else cosignatures.chosen(connection, log, quorum, newest=newest)
    if text is None:
        raise Refused("not_found")
    return text


def tile(connection: sqlite3.Connection, log: Log | None, path: TilePath) -> bytes:
    """The bytes of a tile or a bundle of entries. Raises Refused (``not_found``)."""
    if log is None:
        raise Refused("not_found")
    if path.level is None:
        return _entries(connection, log, path)
    found = tree.partial_tile(connection, log.log, path.level, path.tile_index, path.width)
    if found is None:
        raise Refused("not_found", "the log has no such tile yet")
    return found


def _entries(connection: sqlite3.Connection, log: Log, path: TilePath) -> bytes:
    first = path.tile_index * TILE_WIDTH
    rows = connection.execute(
        "SELECT type, received_us, hash FROM leaf"
        " WHERE log = ? AND leaf_index >= ? AND leaf_index < ? ORDER BY leaf_index",
        (log.log, first, first + path.width),
    ).fetchall()
    if len(rows) != path.width:
        raise Refused("not_found", "the log has no such entries yet")
    entries = [Entry(*row).encode() for row in rows]
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def record_proof(
    connection: sqlite3.Connection, log: Log | None, name: str, quorum: Quorum | None = None
) -> str:
    """The ``tlog-proof`` of one record, by id or record hash. Raises Refused (``not_found``)."""
    if log is None:
        raise Refused("not_found")
    row = connection.execute(
        "SELECT leaf_index FROM record WHERE log = ? AND (id = ? OR record_hash = ?)"
        " ORDER BY leaf_index LIMIT 1",
        (log.log, name, _digest(name)),
    ).fetchone()
    if row is None:
        raise Refused("not_found")
    return leaf_proof(connection, log, row[0], quorum)


def leaf_proof(
    connection: sqlite3.Connection, log: Log, index: int, quorum: Quorum | None = None
) -> str:
    """The ``tlog-proof`` of the leaf ``index``: under a checkpoint that a quorum cosigned, where it
    covers the leaf, else under the newest. Raises Refused (``not_found``)."""
    text = cosignatures.covering(connection, log, quorum, index)
    if text is None:
        raise Refused("not_found")
    signed = note.parse(text)
    size = checkpoint.read(signed.text).size
    if index >= size:
        raise Refused("not_found", "no checkpoint covers this record yet")
    hashes = merkle.inclusion_proof(index, size, Nodes(connection, log.log))
    return LogProof(index, hashes, signed).encode()


def consistency(connection: sqlite3.Connection, log: Log | None, old: int, new: int) -> list[str]:
    """The hashes, base64, that lead from ``old`` leaves to ``new``. Raises Refused."""
    if log is None:
        raise Refused("not_found")
    if not 0 <= old <= new <= log.size:
        raise Refused("bad_filter", f"from and to must be in order, up to {log.size}")
    proof = merkle.consistency_proof(old, new, Nodes(connection, log.log))
    return [base64.b64encode(one).decode() for one in proof]


def _digest(name: str) -> bytes:
    try:
        return hash_bytes(name)
    except ValueError:
        return b""
