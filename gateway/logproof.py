"""Proofs that somebody can keep: an entry is in a log (C2SP tlog-proof), as one text file.

    c2sp.org/tlog-proof@v1
    index <decimal>
    <base64 hash>            (one a line, from the leaf's sibling up)
    (empty line)
    <checkpoint note>

Owns: what a leaf holds (formats, section 6), this text both ways, and checking it. Refuses: files.
"""

from __future__ import annotations

import base64
import re
from enum import IntEnum
from typing import Final

import msgspec

from gateway import checkpoint, merkle, note, seal
from gateway.checkpoint import Opened
from gateway.errors import DocumentInvalid
from gateway.note import Note
from gateway.roots import RoleKeys

FIRST_LINE: Final = "c2sp.org/tlog-proof@v1"
_INDEX: Final = re.compile(r"index (0|[1-9][0-9]{0,15})")
_EXTRA: Final = "extra "
_PROOF_LINES_MAX: Final = 64
ENTRY_BYTES: Final = 1 + 8 + merkle.HASH_BYTES


class LeafType(IntEnum):
    """First byte of a leaf entry."""

    RECORD = 1
    KEY_CERT = 2
    REVOCATION = 3
    LOG_STATEMENT = 4
    EVIDENCE = 5


_TYPES: Final = frozenset(int(one) for one in LeafType)


class Entry(msgspec.Struct, frozen=True):
    """``digest``: 32 bytes, a ``record_hash`` or the same over another signed document."""

    type: int
    received_us: int
    digest: bytes

    def encode(self) -> bytes:
        """The bytes of a leaf: ``type ‖ u64be received_us ‖ hash``."""
        return bytes([self.type]) + self.received_us.to_bytes(8, "big") + self.digest

    def leaf_hash(self) -> bytes:
        """The hash of the leaf that holds it."""
        return merkle.leaf_hash(self.encode())


def decode_entry(data: bytes) -> Entry:
    """The inverse of ``Entry.encode``. Raises DocumentInvalid (``entry``)."""
    if len(data) != ENTRY_BYTES or data[0] not in _TYPES:
        raise DocumentInvalid("entry", "not type, time and hash of a leaf")
    return Entry(data[0], int.from_bytes(data[1:9], "big"), data[9:])


class LogProof(msgspec.Struct, frozen=True):
    """``hashes``: 32 bytes each. Nothing is checked yet."""

    index: int
    hashes: list[bytes]
    note: Note

    def encode(self) -> str:
        """The text of the file."""
        hashes = "".join(base64.b64encode(one).decode() + "\n" for one in self.hashes)
        return f"{FIRST_LINE}\nindex {self.index}\n{hashes}\n{self.note.encode()}"


def decode(data: bytes | str) -> LogProof:
    """The proof in a file. Raises DocumentInvalid (``proof``, ``note``)."""
    try:
        text = data if isinstance(data, str) else data.decode()
    except UnicodeDecodeError as error:
        raise DocumentInvalid("proof", f"not UTF-8: {error}") from error
    head, separator, signed = text.partition("\n\n")
    lines = head.split("\n")
    if not separator or lines[0] != FIRST_LINE or len(lines) > _PROOF_LINES_MAX + 3:
        raise DocumentInvalid("proof", f"not a {FIRST_LINE}")
    lines = lines[2:] if len(lines) > 1 and lines[1].startswith(_EXTRA) else lines[1:]
    found = _INDEX.fullmatch(lines[0]) if lines else None
    if found is None:
        raise DocumentInvalid("proof", "no index")
    hashes = [seal.unbase64(line, "proof") for line in lines[1:]]
    if any(len(one) != merkle.HASH_BYTES for one in hashes):
        raise DocumentInvalid("proof", f"a hash has not {merkle.HASH_BYTES} bytes")
    return LogProof(int(found[1]), hashes, note.parse(signed))


def check(proof: LogProof, entry: Entry, origin: str | None, keys: RoleKeys) -> Opened:
    """The checkpoint that ``entry`` is proved to be under.

    Raises DocumentInvalid: those of ``checkpoint.open_note``, and ``proof`` where the hashes do
    not lead to its root.
    """
    opened = checkpoint.open_note(proof.note, origin, keys)
    found = opened.checkpoint
    root = merkle.root_of_inclusion(entry.leaf_hash(), proof.index, found.size, proof.hashes)
    if root != found.root:
        raise DocumentInvalid("proof", f"leaf {proof.index} is another one in this log")
    return opened
