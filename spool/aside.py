"""What an instance has set aside: damaged bytes, and records that the store refuses.

Owns: reading the names and files of a quarantine back. Refuses: writing it (``home.py``,
``source.py``), emptying it (only a start does, after its time), and judging damage anew.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Final

import msgspec

from gateway.documents import Envelope
from gateway.errors import UNREADABLE, DocumentInvalid
from gateway.ports import FileSystem
from gateway.seal import unbase64
from spool import home
from spool.segment import pread_all
from spool.source import SetAside

_DAMAGE: Final = re.compile(r"(\d{20})-(\d+)(?:-\d+)?\.bin")
_REFUSED: Final = re.compile(r"refused-\d{20}\.jsonl")
_STEP_BYTES: Final = 1024 * 1024
_LINES_BYTES_MAX: Final = 64 * 1024
"""Two lines: a reason, and an envelope of at most 16 KiB in base64."""


class Aside(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a quarantine. ``kind``: ``stretch`` (bytes of a segment), ``refused`` (a
    record that the store refuses) or ``unknown``. ``digest``: ``sha256:`` of the file."""

    instance: str
    name: str
    kind: str
    bytes_used: int
    digest: str
    base_seq: int | None = None
    offset: int | None = None
    seq: int | None = None
    status: int | None = None
    reason: str | None = None


def list_aside(files: FileSystem, directory: str, instance: str) -> Iterator[Aside]:
    """Every file in the quarantine of ``instance``, by name. Raises OSError."""
    for name in home.quarantined_names(files, directory):
        path = f"{directory}/{home.QUARANTINE_NAME}/{name}"
        try:
            size, digest = _digest(files, path)
        except FileNotFoundError:
            continue
        found = _DAMAGE.fullmatch(name)
        why = refusal(files, path) if _REFUSED.fullmatch(name) else None
        kind = "stretch" if found else "unknown"
        yield Aside(
            instance=instance,
            name=name,
            kind=kind if why is None else "refused",
            bytes_used=size,
            digest=digest,
            base_seq=int(found[1]) if found else None,
            offset=int(found[2]) if found else None,
            seq=None if why is None else why.seq,
            status=None if why is None else why.status,
            reason=None if why is None else why.reason,
        )


def refusal(files: FileSystem, path: str) -> SetAside | None:
    """Why a record was set aside; None where the file does not say. Raises OSError."""
    try:
        return msgspec.json.decode(_head(files, path).partition(b"\n")[0], type=SetAside)
    except UNREADABLE:
        return None


def refused_payload(files: FileSystem, path: str) -> bytes | None:
    """The payload of a refused record; None where it cannot be read. Raises OSError."""
    try:
        line = _head(files, path).split(b"\n")[1]
        return unbase64(msgspec.json.decode(line, type=Envelope).payload, "unreadable")
    except (IndexError, DocumentInvalid, *UNREADABLE):
        return None


def _head(files: FileSystem, path: str) -> bytes:
    return read_part(files, path, 0, _LINES_BYTES_MAX)


def read_part(files: FileSystem, path: str, offset: int, length: int) -> bytes:
    """Up to ``length`` bytes at ``offset`` of a file. Raises OSError."""
    file = files.open(path, writable=False)
    try:
        return pread_all(file, length, offset)
    finally:
        file.close()


def _digest(files: FileSystem, path: str) -> tuple[int, str]:
    """Size and ``sha256:`` of a file, read in steps."""
    file = files.open(path, writable=False)
    try:
        digest, at = hashlib.sha256(), 0
        while data := pread_all(file, _STEP_BYTES, at):
            digest.update(data)
            at += len(data)
        return at, f"sha256:{digest.hexdigest()}"
    finally:
        file.close()
