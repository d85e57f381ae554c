"""The Merkle tree of a log: RFC 6962 hashes, and the proofs over them.

A *node* is a complete subtree, named by (level, index): it covers the leaves from
``index << level`` to just before ``(index + 1) << level``. Only nodes are ever kept; whatever a
proof needs of the ragged right edge is hashed together from them.

Three proofs: *inclusion* (RFC 6962 section 2.1.1, one leaf), *consistency* (section 2.1.2, two
sizes), and *range*, for a run of neighbouring leaves whose hashes the verifier has: the nodes left
of the run, largest first, then those right of it, in order of their leaves. A verifier rebuilds
the root from its own hashes; nothing about the shape of a proof is taken from the prover.

Owns: this arithmetic, both ways. Refuses: keeping nodes, what a leaf means, and signatures.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from gateway.errors import DocumentInvalid

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
"""The root of a tree without leaves (RFC 6962 section 2.1)."""
SIZE_MAX: Final = 2**53 - 1
"""Sizes are JSON integers in some documents."""

Span = tuple[int, int]
"""Leaves from the first up to, and without, the second."""
NodeAt = Callable[[int, int], bytes]
"""(level, index) → the hash of that node."""


def leaf_hash(entry: bytes) -> bytes:
    """The hash of a leaf that holds ``entry``."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of the node above two others."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def pair_hash(children: bytes | bytearray) -> bytes:
    """``node_hash`` of two that stand behind each other."""
    return hashlib.sha256(b"\x01" + children).digest()


class Frontier:
    """A tree that only grows, as the nodes that its size is made of, largest first.

    ``size``: leaves so far. Twenty hashes stand for a million leaves.
    """

    __slots__ = ("_peaks", "size")

    def __init__(self, size: int = 0, peaks: Sequence[bytes] = ()) -> None:
        """``peaks``: hashes of ``cover(0, size)``. Raises DocumentInvalid (``proof``) if they
        are not as many as that."""
        if not 0 <= size <= SIZE_MAX or len(peaks) != size.bit_count():
            raise DocumentInvalid("proof", f"{len(peaks)} nodes do not make up {size} leaves")
        self.size = size
        self._peaks = list(peaks)

    def __repr__(self) -> str:
        return f"Frontier(size={self.size})"

    @property
    def peaks(self) -> list[bytes]:
        """The hashes of ``cover(0, size)``."""
        return list(self._peaks)

    def append(self, digest: bytes, level: int = 0) -> list[tuple[int, int, bytes]]:
        """Add a leaf, or a node that begins where this tree ends.

        Returns (level, index, hash) of each node that became complete, the added one first.
        Raises DocumentInvalid (``proof``) where no node of that level begins.
        """
        if self.size & ((1 << level) - 1):
            raise DocumentInvalid("proof", f"no node of level {level} begins at leaf {self.size}")
        size = self.size
        made = [(level, size >> level, digest)]
        while size >> level & 1:
            digest = node_hash(self._peaks.pop(), digest)
            level += 1
            made.append((level, size >> level, digest))
        self._peaks.append(digest)
        self.size += 1 << made[0][0]
        return made

    def root(self) -> bytes:
        """The root of the tree."""
        if not self._peaks:
            return EMPTY_ROOT
        root = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            root = node_hash(peak, root)
        return root


def cover(first: int, end: int) -> Iterator[tuple[int, int]]:
    """(level, index) of the fewest nodes that hold the leaves ``first`` … ``end - 1``."""
    while first < end:
        level = (end - first).bit_length() - 1
        if first:
            level = min(level, (first & -first).bit_length() - 1)
        yield level, first >> level
        first += 1 << level


def span_hash(span: Span, node_at: NodeAt) -> bytes:
    """The RFC 6962 hash of the leaves of ``span``, which begins where a tree of its size can."""
    first, end = span
    nodes = [node_at(level, index) for level, index in cover(first, end)]
    digest = nodes[-1]
    for node in reversed(nodes[:-1]):
        digest = node_hash(node, digest)
    return digest


def _split(first: int, end: int) -> int:
    """Where RFC 6962 parts these leaves: after the largest power of two below their number."""
    return first + (1 << ((end - first - 1).bit_length() - 1))


# -- inclusion ------------------------------------------------------------------------------------


def inclusion_spans(index: int, size: int) -> list[Span]:
    """What each hash of an inclusion proof covers, from the leaf's sibling up."""
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size}")
    first, end = 0, size
    spans = []
    while end - first > 1:
        middle = _split(first, end)
        if index < middle:
            spans.append((middle, end))
            end = middle
        else:
            spans.append((first, middle))
            first = middle
    return spans[::-1]


def inclusion_proof(index: int, size: int, node_at: NodeAt) -> list[bytes]:
    """The RFC 6962 audit path of leaf ``index`` in the tree of ``size`` leaves."""
    return [span_hash(span, node_at) for span in inclusion_spans(index, size)]


def root_of_inclusion(digest: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """The root that an inclusion proof leads to. ``digest``: the leaf's hash.

    Raises DocumentInvalid (``proof``): a leaf beyond the tree, another number of hashes.
    """
    if not 0 <= index < size <= SIZE_MAX:
        raise DocumentInvalid("proof", f"leaf {index} is not in a tree of {size}")
    spans = inclusion_spans(index, size)
    if len(spans) != len(proof):
        raise DocumentInvalid("proof", f"{len(proof)} hashes in a proof that has {len(spans)}")
    for (first, _), sibling in zip(spans, proof, strict=True):
        digest = node_hash(digest, sibling) if first > index else node_hash(sibling, digest)
    return digest


# -- consistency ----------------------------------------------------------------------------------


def consistency_spans(old: int, new: int) -> list[Span]:
    """What each hash of a consistency proof covers, in the order of RFC 6962 section 2.1.2.

    Empty for equal sizes and for ``old`` 0: there is nothing to prove.
    """
    if not 0 <= old <= new:
        raise ValueError(f"a tree of {new} leaves never had {old}")
    if old in (0, new):
        return []
    first, end = 0, new
    spans: list[Span] = []
    while end != old:
        middle = _split(first, end)
        if old <= middle:
            spans.append((middle, end))
            end = middle
        else:
            spans.append((first, middle))
            first = middle
    if first:
        # The verifier has the old root itself only where the old tree is one node of the new.
        spans.append((first, end))
    return spans[::-1]


def consistency_proof(old: int, new: int, node_at: NodeAt) -> list[bytes]:
    """The RFC 6962 consistency proof between two sizes."""
    return [span_hash(span, node_at) for span in consistency_spans(old, new)]


def check_consistency(
    old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Return if the tree of ``new`` leaves begins with that of ``old``.

    Raises DocumentInvalid: ``proof`` for sizes that do not follow or another number of hashes,
    ``history`` where the hashes lead to other roots: the log was not only appended to.
    """
    if not 0 <= old <= new <= SIZE_MAX:
        raise DocumentInvalid("proof", f"{new} leaves after {old}")
    spans = consistency_spans(old, new)
    if len(spans) != len(proof):
        raise DocumentInvalid("proof", f"{len(proof)} hashes in a proof that has {len(spans)}")
    if old == 0:
        known = EMPTY_ROOT
        if old_root != known or (new == 0 and new_root != known):
            raise DocumentInvalid("history", "a tree without leaves has another root")
        return
    found_old, found_new = old_root, old_root
    hashes = list(zip(spans, proof, strict=True))
    if hashes and hashes[0][0][1] == old:
        found_old = found_new = hashes.pop(0)[1]
    for (_, end), digest in hashes:
        if end <= old:
            found_old = node_hash(digest, found_old)
            found_new = node_hash(digest, found_new)
        else:
            found_new = node_hash(found_new, digest)
    if found_old != old_root:
        raise DocumentInvalid("history", f"the proof leads to another root of {old} leaves")
    if found_new != new_root:
        raise DocumentInvalid("history", f"the proof leads to another root of {new} leaves")


# -- ranges ---------------------------------------------------------------------------------------


def range_proof(first: int, count: int, size: int, node_at: NodeAt) -> list[bytes]:
    """The nodes beside the leaves ``first`` … ``first + count - 1`` of a tree of ``size``."""
    end = first + count
    if not (0 <= first < end <= size):
        raise ValueError(f"leaves {first} to {end - 1} are not in a tree of {size}")
    beside = [*cover(0, first), *cover(end, size)]
    return [node_at(level, index) for level, index in beside]


def root_of_range(leaves: Sequence[bytes], first: int, size: int, proof: Sequence[bytes]) -> bytes:
    """The root of a tree of ``size`` that holds ``leaves`` (their hashes) from ``first`` on.

    Raises DocumentInvalid (``proof``): leaves beyond the tree, another number of hashes.
    """
    end = first + len(leaves)
    if not (leaves and 0 <= first < end <= size <= SIZE_MAX):
        raise DocumentInvalid("proof", f"leaves {first} to {end - 1} are not in a tree of {size}")
    left, right = first.bit_count(), [level for level, _ in cover(end, size)]
    if len(proof) != left + len(right):
        raise DocumentInvalid(
            "proof", f"{len(proof)} hashes in a proof that has {left + len(right)}"
        )
    tree = Frontier(first, proof[:left])
    for leaf in leaves:
        tree.append(leaf)
    for level, digest in zip(right, proof[left:], strict=True):
        tree.append(digest, level)
    return tree.root()
