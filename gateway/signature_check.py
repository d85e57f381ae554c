"""The signatures of an export's records, verified a block of lines at a time.

A block is read, its signatures are verified in one go, and then its lines are judged in order. On
one core that is a fifth faster than line by line, because the processor keeps one code at hand at
a time; and somebody else can verify the next blocks meanwhile (``gatepost.signature_workers``).

Owns: how lines make blocks, and what a check is asked and says. Refuses: judging: whether a
signature is valid depends on nothing but the bytes that it is asked of, so where and when it was
verified changes no verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Protocol

import msgspec

from gateway import envelope_line, log_line, seal
from gateway.envelope_line import RecordLine

BLOCK_LINES: Final = 128
BLOCK_BYTES: Final = 1024 * 1024
"""A block ends with the line that brings it to either: as much as stays close to one core."""

Task = tuple[bytes, bytes, bytes]
"""What was signed (framed), the signature, and the public key."""
Answers = Callable[[], Sequence[bool]]
"""Waits for the answers: of each task, in their order, whether its signature is valid."""


class OpenedLine(msgspec.Struct, frozen=True, gc=False):
    """A record line taken apart. ``framed``: what was signed; ``public``: the certified key that
    must have signed it, None where no certificate before it says."""

    parts: RecordLine
    framed: bytes
    public: bytes | None


class Checked(msgspec.Struct, frozen=True, gc=False):
    """Whether the signature of a record line is ``public``'s (32 bytes), found out ahead."""

    public: bytes
    valid: bool


class SignatureCheck(Protocol):
    """Somebody who verifies signatures. ``blocks_ahead``: how many blocks should be begun before
    the answers of the first are asked for."""

    blocks_ahead: int

    def begin(self, tasks: Sequence[Task]) -> Answers:
        """Begin to verify ``tasks``."""


class SameThread:
    """Verifies at once, here."""

    blocks_ahead = 0

    def begin(self, tasks: Sequence[Task]) -> Answers:
        answers = verify(tasks)
        return lambda: answers


def verify(tasks: Sequence[Task]) -> list[bool]:
    """Of each task, whether its signature is valid."""
    return [seal.verify(framed, signature, public) for framed, signature, public in tasks]


def blocks(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    """``lines`` in blocks. Documents share no block with other lines: they say which keys are
    certified, and are judged before the lines behind them are opened."""
    block: list[bytes] = []
    size, of_documents = 0, False
    for line in lines:
        document = is_document(line)
        full = len(block) >= BLOCK_LINES or size >= BLOCK_BYTES
        if block and (full or document != of_documents):
            yield block
            block, size = [], 0
        block.append(line)
        size += len(line)
        of_documents = document
    if block:
        yield block


def is_document(line: bytes) -> bool:
    """Whether ``line`` begins as the envelope of a signed document does."""
    return not (envelope_line.is_record(line) or log_line.is_log_line(line))
