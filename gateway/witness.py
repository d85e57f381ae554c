"""What a log asks of a witness, and how a witness judges it (C2SP tlog-witness).

    old <size, decimal>
    <base64 hash>            (one a line: the consistency proof from that size)
    (empty line)
    <checkpoint note>

A witness keeps one thing of each log: the checkpoint that it cosigned last. It cosigns another one
only if that is proved to follow.

Owns: this text both ways, and the judgement with its HTTP statuses. Refuses: HTTP, keeping what was
cosigned, signing, and how many witnesses are enough (``witness_policy.py``).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Final

import msgspec

from gateway import checkpoint, merkle, note, seal
from gateway.checkpoint import Checkpoint
from gateway.errors import DocumentInvalid
from gateway.note import Note, NoteKey

PATH: Final = "/add-checkpoint"
"""Behind the submission prefix of the witness."""
SIZE_TYPE: Final = "text/x.tlog.size"
"""Content type of a 409 that says what the witness cosigned last."""
PROOF_LINES_MAX: Final = 63
REQUEST_BYTES_MAX: Final = note.NOTE_BYTES_MAX + 4 * 1024

_OLD: Final = re.compile(r"old (0|[1-9][0-9]{0,15})")
_SIZE: Final = re.compile(rb"(0|[1-9][0-9]{0,15})\n")


class AddCheckpoint(msgspec.Struct, frozen=True):
    """``proof``: 32 bytes each. Nothing is checked yet."""

    old_size: int
    proof: list[bytes]
    note: Note

    def encode(self) -> bytes:
        """The body of the request."""
        hashes = "".join(base64.b64encode(one).decode() + "\n" for one in self.proof)
        return f"old {self.old_size}\n{hashes}\n{self.note.encode()}".encode()


class LogKeys(msgspec.Struct, frozen=True):
    """Keys that sign for one origin, all under its name; ``threshold`` of them are wanted."""

    keys: tuple[NoteKey, ...]
    threshold: int = 1


class Known(msgspec.Struct, frozen=True):
    """What was cosigned last of a log."""

    size: int
    root: bytes


NOTHING: Final = Known(0, merkle.EMPTY_ROOT)
"""Before the first cosignature."""


class NotCosigned(Exception):
    """Why a witness does not cosign. ``status``: of the answer; ``size``: what was cosigned last,
    where that is the answer; ``contradicts``: a log signed what does not follow from ``Known``."""

    def __init__(
        self, status: int, detail: str, *, size: int | None = None, contradicts: bool = False
    ) -> None:
        super().__init__(f"{status}: {detail}")
        self.status = status
        self.detail = detail
        self.size = size
        self.contradicts = contradicts


def decode(body: bytes) -> AddCheckpoint:
    """The request in ``body``. Raises DocumentInvalid (``request``, ``note``, ``checkpoint``)."""
    if len(body) > REQUEST_BYTES_MAX:
        raise DocumentInvalid("request", f"over {REQUEST_BYTES_MAX} bytes")
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise DocumentInvalid("request", f"not UTF-8: {error.reason}") from error
    head, separator, signed = text.partition("\n\n")
    first, *hashes = head.split("\n")
    found = _OLD.fullmatch(first)
    if not separator or found is None:
        raise DocumentInvalid("request", "not an old size, a proof, an empty line, a checkpoint")
    if len(hashes) > PROOF_LINES_MAX:
        raise DocumentInvalid("request", f"more than {PROOF_LINES_MAX} hashes")
    return AddCheckpoint(int(found[1]), [_hash(line) for line in hashes], note.parse(signed))


def _hash(line: str) -> bytes:
    digest = seal.unbase64(line, "request")
    if len(digest) != merkle.HASH_BYTES or base64.b64encode(digest).decode() != line:
        raise DocumentInvalid("request", "a line of the proof is no hash in base64")
    return digest


def read(text: str) -> Checkpoint:
    """The checkpoint in the text of any log's note. Raises DocumentInvalid (``checkpoint``).

    Extension lines are cosigned like everything else, and mean nothing here.
    """
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1] or not all(lines[3:-1]):
        raise DocumentInvalid("checkpoint", "not origin, size, root, and extension lines")
    return checkpoint.read("\n".join(lines[:3]) + "\n")


def opened(request: AddCheckpoint, logs: Mapping[str, LogKeys]) -> Checkpoint:
    """The checkpoint of ``request``, signed by its log. ``logs``: by origin.

    Raises NotCosigned: 400 (no checkpoint, or smaller than the old one), 403, 404.
    """
    try:
        found = read(request.note.text)
    except DocumentInvalid as error:
        raise NotCosigned(400, error.detail) from error
    log = logs.get(found.origin)
    if log is None:
        raise NotCosigned(404, "this log is not watched here")
    try:
        good = note.signers(request.note, log.keys)
    except DocumentInvalid as error:
        raise NotCosigned(403, error.detail) from error
    if len(good) < log.threshold:
        raise NotCosigned(403, f"{len(good)} of {log.threshold} wanted signatures of the log")
    if request.old_size > found.size:
        raise NotCosigned(400, f"{found.size} leaves after {request.old_size}")
    return found


def check(request: AddCheckpoint, found: Checkpoint, known: Known) -> None:
    """Return if ``found``, which ``opened`` gave, follows from ``known``.

    To be called under the lock that ``known`` is read and replaced in. Raises NotCosigned: 409 (of
    another size, or another root of the same), 422.
    """
    if request.old_size != known.size:
        raise NotCosigned(409, f"{known.size} leaves were cosigned last", size=known.size)
    if found.size == known.size and found.root != known.root:
        raise NotCosigned(
            409, f"another root of {known.size} leaves", size=known.size, contradicts=True
        )
    try:
        merkle.check_consistency(known.size, known.root, found.size, found.root, request.proof)
    except DocumentInvalid as error:
        # A proof of another form proves nothing, not even that the log is wrong.
        raise NotCosigned(422, error.detail, contradicts=error.reason == "history") from error


def size_of(body: bytes) -> int:
    """The size in the body of a 409. Raises DocumentInvalid (``size``)."""
    found = _SIZE.fullmatch(body)
    if found is None:
        raise DocumentInvalid("size", "not a number of leaves")
    return int(found[1])


def cosignature(text: str, answer: bytes, key: NoteKey) -> tuple[note.NoteSignature, int]:
    """The line in ``answer`` that is ``key``'s cosignature of the checkpoint ``text``, and when.

    Raises DocumentInvalid (``note``, ``signature``); lines of other keys are passed over.
    """
    try:
        lines = note.parse_signatures(answer.decode())
    except UnicodeDecodeError as error:
        raise DocumentInvalid("note", f"not UTF-8: {error.reason}") from error
    for line in lines:
        valid = note.cosigned(Note(text, [line]), [key])
        if valid:
            return line, valid[0].time
    raise DocumentInvalid("signature", f"there is no cosignature of {key.name}")
