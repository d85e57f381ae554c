"""Lines of an export that are not envelopes: what a log says of the records beside them.

Each is one JSON object with one member, in its one exact form:

* ``evidence``: bytes that the store refused, as they came;
* ``range``: the record lines just before it are neighbouring leaves; the proof leads from them to
  a root. For exports of some records;
* ``leaves``: every entry of the log from ``first_index`` on, in complete exports, where they add up
  to the whole tree. The records among them stand before it;
* ``consistency``: from a smaller size to the one of the checkpoint;
* ``checkpoint``: the signed note that all of them lead to. It is the last line: an export
  without it was cut.

Owns: these forms, both ways. Refuses: judging (``log_audit.py``).
"""

from __future__ import annotations

from typing import Final

import msgspec

from gateway import documents
from gateway.documents import Integer
from gateway.errors import UNREADABLE, DocumentInvalid

LEAVES_MAX: Final = 256
"""Entries of one ``leaves`` line: a C2SP bundle."""


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing is omitted, nothing unknown."""


class Evidence(_Part, frozen=True):
    """``code``: why it was refused; ``line``: base64; ``index`` and ``received_us``: its leaf."""

    code: str
    index: Integer
    received_us: Integer
    line: str


class Arrived(_Part, frozen=True):
    """``count`` records in a row that arrived at ``received_us``."""

    count: Integer
    received_us: Integer


class Range(_Part, frozen=True):
    """``arrived``: its counts add up to the number of record lines that are meant.

    ``size``: of the tree that ``proof`` (base64 hashes) is about.
    """

    size: Integer
    first_index: Integer
    arrived: list[Arrived]
    proof: list[str]


class Leaves(_Part, frozen=True):
    """``entries``: base64 of entries of 41 bytes, one behind the other."""

    first_index: Integer
    entries: str


class Consistency(_Part, frozen=True):
    """``hashes``: base64, in the order of RFC 6962 section 2.1.2."""

    old_size: Integer
    new_size: Integer
    hashes: list[str]


class LogLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One line: exactly one member is not None."""

    evidence: Evidence | None = None
    range: Range | None = None
    leaves: Leaves | None = None
    consistency: Consistency | None = None
    checkpoint: str | None = None


def is_log_line(line: bytes) -> bool:
    """Whether ``line`` begins as one of these, and not as an envelope."""
    return not line.startswith(b'{"payloadType"')


def read(line: bytes) -> LogLine:
    """The line, newline included. Raises DocumentInvalid (``unreadable``, ``inexact``)."""
    try:
        found = msgspec.json.decode(line, type=LogLine)
    except UNREADABLE as error:
        raise DocumentInvalid("unreadable", f"not a line of an export: {error}") from error
    if write(found) != line:
        raise DocumentInvalid("inexact", "not the exact form of a line of an export")
    members = (found.evidence, found.range, found.leaves, found.consistency, found.checkpoint)
    if sum(one is not None for one in members) != 1:
        raise DocumentInvalid("unreadable", "a line of an export has one member")
    return found


def write(line: LogLine) -> bytes:
    """The inverse of ``read``."""
    return documents.encode(line) + b"\n"
