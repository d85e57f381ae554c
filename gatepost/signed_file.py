"""Signed documents in files: one DSSE envelope each, and the roots that they are held against.

Owns: reading and writing them, and the messages for what is not one. Refuses: judging signatures,
but for those of the roots themselves: an unsigned root is nothing to hold a document against.
"""

from __future__ import annotations

import os
from pathlib import Path

from gatepost.faults import InputOutputError
from gateway import documents, limits, quorum, roots, seal
from gateway.documents import Envelope, Root
from gateway.errors import DocumentInvalid

_BYTES_MAX = 2 * limits.POLICY_BUNDLE_BYTES_MAX


def read_envelope(path: Path) -> Envelope:
    """The envelope in ``path``. Raises InputOutputError."""
    try:
        with path.open("rb") as file:
            data = file.read(_BYTES_MAX + 1)
    except OSError as error:
        raise InputOutputError(f"{path}: {error.strerror}") from error
    if len(data) > _BYTES_MAX:
        raise InputOutputError(f"{path}: over {_BYTES_MAX} bytes")
    try:
        return seal.parse_envelope(data)
    except DocumentInvalid as error:
        raise InputOutputError(f"{path}: {error.detail}") from error


def write_draft(path: Path, payload_type: str, payload: bytes) -> None:
    """A new file that holds ``payload`` without any signature. Raises InputOutputError."""
    write_envelope(path, seal.envelope(payload_type, payload, []))


def write_envelope(path: Path, envelope: Envelope) -> None:
    """A new file that holds ``envelope``. Raises InputOutputError."""
    data = documents.encode(envelope)
    try:
        with path.open("xb") as file:
            file.write(data + b"\n")
    except FileExistsError as error:
        raise InputOutputError(f"{path} exists; choose another name or remove it") from error
    except OSError as error:
        raise InputOutputError(f"{path}: {error.strerror}") from error


def replace_envelope(path: Path, envelope: Envelope) -> None:
    """Write ``envelope`` in the place of what is in ``path``, whole or not at all.

    Raises InputOutputError.
    """
    partial = path.with_name(f"{path.name}.new")
    try:
        with partial.open("wb") as file:
            file.write(documents.encode(envelope) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise InputOutputError(f"{path}: {error.strerror}") from error


def read_roots(place: Path | None) -> list[Root]:
    """The roots in ``place``, oldest first; none for None.

    A directory holds ``1.json`` … ``N.json``, which must follow from each other. A single file is
    taken as its reader trusts it; its own root role must have signed it. Raises InputOutputError.
    """
    if place is None:
        return []
    try:
        if place.is_dir():
            return _walk(place)
        envelope = read_envelope(place)
        root = roots.decode_root(quorum.payload_of(envelope))
        own = roots.role_keys(root, "root")
        seal.open_envelope(envelope, documents.ROOT, own.keys, own.threshold)
    except DocumentInvalid as error:
        raise InputOutputError(f"{place}: {error}") from error
    return [root]


def _walk(directory: Path) -> list[Root]:
    envelopes: list[Envelope] = []
    while (path := directory / f"{len(envelopes) + 1}.json").exists():
        envelopes.append(read_envelope(path))
    if not envelopes:
        raise InputOutputError(f"{directory}: there is no 1.json")
    return roots.walk(envelopes, roots.fingerprint(quorum.payload_of(envelopes[0])))
