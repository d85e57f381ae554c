"""A Merkle tree that only grows, and of which every earlier root can still be told.

Owns: the nodes of the tree, and when each of its leaves arrived. Refuses: what a leaf means
(``log_audit.py``). Memory is 72 bytes a leaf.
"""

from __future__ import annotations

from array import array
from typing import Final

from gateway import merkle
from gateway.merkle import HASH_BYTES, node_hash

_RECEIVED_US_MAX: Final = 2**63 - 1


class LogHistory:
    """Add the leaves in order; ask for the root at any size up to ``size``."""

    def __init__(self) -> None:
        self.size = 0
        self._levels: list[bytearray] = [bytearray()]
        self._received_us = array("q")

    def append(self, leaf: bytes, received_us: int) -> None:
        """Add the leaf whose hash is ``leaf``, and complete the nodes that it ends."""
        levels, index = self._levels, self.size
        # The entry has room for more than any clock will ever say.
        self._received_us.append(min(received_us, _RECEIVED_US_MAX))
        levels[0] += leaf
        level, digest = 0, leaf
        while index & 1:
            left = levels[level]
            digest = node_hash(bytes(left[-2 * HASH_BYTES : -HASH_BYTES]), digest)
            level += 1
            if level == len(levels):
                levels.append(bytearray())
            levels[level] += digest
            index >>= 1
        self.size += 1

    def root(self, size: int) -> bytes:
        """The root of the first ``size`` leaves."""
        if size == 0:
            return merkle.EMPTY_ROOT
        return merkle.span_hash((0, size), self._node)

    def received_us(self, index: int) -> int:
        """When the leaf ``index`` arrived, by the store's clock."""
        return self._received_us[index]

    def _node(self, level: int, index: int) -> bytes:
        at = index * HASH_BYTES
        return bytes(self._levels[level][at : at + HASH_BYTES])
