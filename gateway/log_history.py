"""A Merkle tree that only grows, and of which every earlier root can still be told.

Owns: the nodes of the tree, and when each of its leaves arrived. Refuses: what a leaf means
(``log_audit.py``). Memory is 72 bytes a leaf.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Final

from gateway import merkle
from gateway.merkle import HASH_BYTES

_RECEIVED_US_MAX: Final = 2**63 - 1
_PAIR_BYTES: Final = 2 * HASH_BYTES


class LogHistory:
    """Add the leaves in order; ask for the root at any size up to ``size``."""

    def __init__(self) -> None:
        self.size = 0
        self._levels: list[bytearray] = [bytearray()]
        self._received_us = array("q")

    def extend(self, leaves: Sequence[bytes], received_us: Iterable[int]) -> None:
        """Add the leaves with these hashes, and complete the nodes that they end. ``received_us``:
        when each arrived."""
        # The entry has room for more than any clock will ever say.
        self._received_us.extend(min(one, _RECEIVED_US_MAX) for one in received_us)
        self._levels[0] += b"".join(leaves)
        self.size += len(leaves)
        level, count = 0, self.size
        while count := count // 2:
            if level + 1 == len(self._levels):
                self._levels.append(bytearray())
            below, nodes = self._levels[level], self._levels[level + 1]
            for at in range(2 * len(nodes), count * _PAIR_BYTES, _PAIR_BYTES):
                nodes += merkle.pair_hash(below[at : at + _PAIR_BYTES])
            level += 1

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
