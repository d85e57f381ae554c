"""Checkpoints (C2SP tlog-checkpoint): what a log says that it holds, signed.

    <origin>
    <size, decimal>
    <root, base64>

A checkpoint counts only with the signatures of the root document's ``log`` role, to its
threshold, each under the log's origin as the key name.

Owns: this text both ways, and opening one with the keys of a role. Refuses: witnesses' quorums
(``witness_policy.py``) and whether two checkpoints agree (``merkle.py``).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import Final

import msgspec

from gateway import merkle, note, seal
from gateway.documents import LogSeen
from gateway.errors import DocumentInvalid
from gateway.note import Note, NoteKey
from gateway.roots import RoleKeys

_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,15}")
_ORIGIN: Final = re.compile(
    r"([^\s+/]+)/log/(_operator|[a-z0-9][a-z0-9._-]{0,62})"
    r"/([a-z0-9][a-z0-9._-]{0,62})/([1-9][0-9]{0,8})"
)


class Checkpoint(msgspec.Struct, frozen=True):
    """``root``: 32 bytes."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The exact text that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    def seen(self) -> LogSeen:
        """The form in which daemons sign it into their own documents."""
        return LogSeen(
            origin=self.origin, size=self.size, root=base64.b64encode(self.root).decode()
        )


class Opened(msgspec.Struct, frozen=True):
    """A checkpoint whose signatures were checked, and the note that it stood in."""

    checkpoint: Checkpoint
    note: Note


class Place(msgspec.Struct, frozen=True):
    """What an origin names. ``number``: 1, and one more with each log that lost leaves."""

    host: str
    tenant: str
    region: str
    number: int


def origin(host: str, tenant: str, region: str, number: int) -> str:
    """The origin of a log: formats, section 6."""
    return f"{host}/log/{tenant}/{region}/{number}"


def place_of(text: str) -> Place:
    """The inverse of ``origin``. Raises DocumentInvalid (``origin``)."""
    found = _ORIGIN.fullmatch(text)
    if found is None:
        raise DocumentInvalid("origin", "an origin is host/log/tenant/region/number")
    return Place(found[1], found[2], found[3], int(found[4]))


def read(text: str) -> Checkpoint:
    """The checkpoint in a note's text. Raises DocumentInvalid (``checkpoint``).

    Extension lines are refused: our logs write none, and others' are none of ours.
    """
    lines = text.split("\n")
    if len(lines) != 4 or lines[3] or not lines[0] or _SIZE.fullmatch(lines[1]) is None:
        raise DocumentInvalid("checkpoint", "not three lines: origin, size, root")
    size, root = int(lines[1]), seal.unbase64(lines[2], "checkpoint")
    if size > merkle.SIZE_MAX or len(root) != merkle.HASH_BYTES:
        raise DocumentInvalid("checkpoint", "size or root are out of bounds")
    found = Checkpoint(lines[0], size, root)
    if found.text() != text:
        raise DocumentInvalid("checkpoint", "the text is not in its exact form")
    return found


def write(checkpoint: Checkpoint, signers: Sequence[seal.Signer]) -> Note:
    """The note of ``checkpoint``, signed by keys of the log."""
    text = checkpoint.text()
    return Note(text, [note.sign(text, checkpoint.origin, signer) for signer in signers])


def open_note(data: bytes | str | Note, origin: str | None, keys: RoleKeys) -> Opened:
    """The checkpoint in a note that the ``log`` role signed.

    ``origin``: of the log that is asked about; None takes any. Raises DocumentInvalid (``note``,
    ``checkpoint``, ``origin``, ``signature``, ``threshold``).
    """
    parsed = data if isinstance(data, Note) else note.parse(data)
    found = read(parsed.text)
    if origin is not None and found.origin != origin:
        raise DocumentInvalid("origin", f"the checkpoint is of {found.origin}, not of {origin}")
    known = [NoteKey(found.origin, public) for public in keys.keys.values()]
    good = note.signers(parsed, known)
    if len(good) < keys.threshold:
        reason = "threshold" if good else "signature"
        raise DocumentInvalid(
            reason, f"{len(good)} of {keys.threshold} needed signatures of the log are there"
        )
    return Opened(found, parsed)
