"""A signed policy head as it is served, with the tag that a conditional request names.

Owns: that pair. Refuses: signing, verifying and HTTP.
"""

from __future__ import annotations

import hashlib

import msgspec


class ServedHead(msgspec.Struct, frozen=True):
    """``envelope``: the signed head; ``etag``: changes with every byte of it."""

    envelope: bytes
    etag: str


def served(envelope: bytes) -> ServedHead:
    """``envelope`` with its tag."""
    return ServedHead(envelope, f'"{hashlib.sha256(envelope).hexdigest()[:32]}"')
