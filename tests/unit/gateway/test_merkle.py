"""Trees are those of RFC 6962, and a proof that proves anything else does not pass."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import merkle
from gateway.errors import DocumentInvalid
from gateway.merkle import Frontier

LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
"""The entries of the published vectors below."""

ROOTS = {
    1: "bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=",
    2: "+sVCA+fMaWzw38tCySodnbr3CtnmIfS9jZhmLwDjwSU=",
    3: "rra8/idLcKFPsGel5VeCZNsPqbUa9eC6FZFY8yngbnc=",
    5: "Tju7H3tHjc/nH7YxYxUZo7yhLJrvyhYSv85ME6hiZNQ=",
    6: "duZ9rbzfHhDht03cYIq9L5jfsW+851J3tSMqEn8gh+8=",
    7: "3bib5AOAnjJXUNPSY814kpwpQreUKjS3fhIslZSnTIw=",
    8: "XcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=",
}
_A = "Xwg/ChozygdqlSeYMlgNs+DvRYS9/x9UyKNg9Q3jAx4="
_B = "a0eq8p7jwq+a+Im8H7klTavTEXfxYjLdaqsDXKOb9uQ="
_C = "yoVOoSjtBQtBs1/8G4e46yveRh6eO1WW7Oa51ZdaCuA="
_D = "037kGJdt2VdTwcc4Yrk5j6Kiz5tP8P3+izDNlSCWFLc="
_E = "vBoGQ7EuTS18d5GPROD095qDi2z57FtcKD4fTYhZnms="
_F = "DrxdNDf74tsVi58Sah0RjjCBgQMdCpSfje3t68VY72o="
_G = "sIaT7C5yFZcTBkHoIR5+7cy0wmQTlj7ubB4u0W/7Gl8="
_LEAF_1 = "lqKW0iTyhcZ77pPDD4owkVfw2qNdxbh+QQt4YwoJz8c="

INCLUSION = [
    (0, 8, [_LEAF_1, _A, _B]),
    (5, 8, [_E, _C, _D]),
    (2, 3, [ROOTS[2]]),
    (1, 5, [ROOTS[1], _A, _E]),
]
CONSISTENCY = [
    (1, 1, []),
    (1, 8, [_LEAF_1, _A, _B]),
    (6, 8, [_F, _C, _D]),
    (2, 5, [_A, _E]),
    (6, 7, [_F, _G, _D]),
]
"""Source: testdata of github.com/transparency-dev/merkle (Apache-2.0), the cases "happy path"."""


class Tree:
    """Every node of a tree, and its root at each size."""

    def __init__(self, entries: list[bytes]) -> None:
        self.leaves = [merkle.leaf_hash(entry) for entry in entries]
        self.nodes: dict[tuple[int, int], bytes] = {}
        frontier = Frontier()
        self.roots = [frontier.root()]
        for leaf in self.leaves:
            for level, index, digest in frontier.append(leaf):
                self.nodes[level, index] = digest
            self.roots.append(frontier.root())

    def at(self, level: int, index: int) -> bytes:
        return self.nodes[level, index]


PUBLISHED = Tree(LEAVES)
LARGE = Tree([number.to_bytes(2, "big") for number in range(300)])


def _raw(texts: list[str]) -> list[bytes]:
    return [base64.b64decode(text) for text in texts]


def _defined_root(entries: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    if not entries:
        return hashlib.sha256(b"").digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    split = 1
    while split * 2 < len(entries):
        split *= 2
    left, right = _defined_root(entries[:split]), _defined_root(entries[split:])
    return hashlib.sha256(b"\x01" + left + right).digest()


def test_roots_are_the_published_ones() -> None:
    for size, text in ROOTS.items():
        assert base64.b64encode(PUBLISHED.roots[size]).decode() == text
    assert PUBLISHED.roots[0] == merkle.EMPTY_ROOT


@pytest.mark.parametrize(("index", "size", "proof"), INCLUSION)
def test_inclusion_proofs_are_the_published_ones(index: int, size: int, proof: list[str]) -> None:
    assert merkle.inclusion_proof(index, size, PUBLISHED.at) == _raw(proof)
    root = merkle.root_of_inclusion(PUBLISHED.leaves[index], index, size, _raw(proof))
    assert base64.b64encode(root).decode() == ROOTS[size]


@pytest.mark.parametrize(("old", "new", "proof"), CONSISTENCY)
def test_consistency_proofs_are_the_published_ones(old: int, new: int, proof: list[str]) -> None:
    assert merkle.consistency_proof(old, new, PUBLISHED.at) == _raw(proof)
    merkle.check_consistency(old, PUBLISHED.roots[old], new, PUBLISHED.roots[new], _raw(proof))


@given(st.lists(st.binary(max_size=3), max_size=70))
def test_any_root_is_the_one_that_the_rfc_defines(entries: list[bytes]) -> None:
    frontier = Frontier()
    for entry in entries:
        frontier.append(merkle.leaf_hash(entry))
    assert frontier.root() == _defined_root(entries)


@given(st.data())
def test_every_leaf_has_its_proof_and_no_other_place(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 300))
    index = data.draw(st.integers(0, size - 1))
    proof = merkle.inclusion_proof(index, size, LARGE.at)
    leaf = LARGE.leaves[index]
    assert merkle.root_of_inclusion(leaf, index, size, proof) == LARGE.roots[size]
    other = data.draw(st.integers(0, size - 1).filter(lambda one: one != index)) if size > 1 else 0
    if other != index and len(merkle.inclusion_spans(other, size)) == len(proof):
        assert merkle.root_of_inclusion(leaf, other, size, proof) != LARGE.roots[size]


@given(st.data())
def test_a_log_that_only_grew_can_show_it(data: st.DataObject) -> None:
    new = data.draw(st.integers(0, 300))
    old = data.draw(st.integers(0, new))
    proof = merkle.consistency_proof(old, new, LARGE.at)
    merkle.check_consistency(old, LARGE.roots[old], new, LARGE.roots[new], proof)


@given(st.data())
def test_a_log_that_changed_a_leaf_cannot(data: st.DataObject) -> None:
    new = data.draw(st.integers(1, 64))
    old = data.draw(st.integers(1, new))
    changed = data.draw(st.integers(0, old - 1))
    entries = [number.to_bytes(2, "big") for number in range(new)]
    entries[changed] = b"another"
    rewritten = Tree(entries)
    proof = merkle.consistency_proof(old, new, rewritten.at)
    with pytest.raises(DocumentInvalid, match="another root"):
        merkle.check_consistency(old, LARGE.roots[old], new, rewritten.roots[new], proof)


@given(st.data())
def test_a_run_of_own_records_rebuilds_the_root(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 300))
    first = data.draw(st.integers(0, size - 1))
    count = data.draw(st.integers(1, size - first))
    proof = merkle.range_proof(first, count, size, LARGE.at)
    run = LARGE.leaves[first : first + count]
    assert merkle.root_of_range(run, first, size, proof) == LARGE.roots[size]
    dropped = data.draw(st.integers(0, count - 1))
    run[dropped] = merkle.leaf_hash(b"somebody else's")
    assert merkle.root_of_range(run, first, size, proof) != LARGE.roots[size]


@pytest.mark.parametrize("change", ["shorter", "longer", "moved", "beyond"])
def test_a_range_proof_of_another_shape_is_refused(change: str) -> None:
    proof = merkle.range_proof(5, 4, 23, LARGE.at)
    run, first, size = LARGE.leaves[5:9], 5, 23
    if change == "shorter":
        proof.pop()
    elif change == "longer":
        proof.append(bytes(32))
    elif change == "moved":
        first = 6
    else:
        size = 8
    with pytest.raises(DocumentInvalid, match="proof"):
        merkle.root_of_range(run, first, size, proof)


@given(st.data())
def test_any_flipped_bit_of_a_consistency_proof_is_noticed(data: st.DataObject) -> None:
    new = data.draw(st.integers(2, 64))
    old = data.draw(st.integers(1, new - 1))
    proof = merkle.consistency_proof(old, new, LARGE.at)
    at = data.draw(st.integers(0, len(proof) - 1))
    bit = data.draw(st.integers(0, 255))
    number = int.from_bytes(proof[at], "big") ^ 1 << bit
    proof[at] = number.to_bytes(32, "big")
    with pytest.raises(DocumentInvalid, match="another root"):
        merkle.check_consistency(old, LARGE.roots[old], new, LARGE.roots[new], proof)


@pytest.mark.parametrize(("old", "new"), [(4, 3), (-1, 3), (0, 2**53)])
def test_sizes_that_do_not_follow_are_refused(old: int, new: int) -> None:
    with pytest.raises(DocumentInvalid, match="leaves after"):
        merkle.check_consistency(old, bytes(32), new, bytes(32), [])


def test_from_nothing_there_is_nothing_to_prove_but_the_empty_root_is_one() -> None:
    merkle.check_consistency(0, merkle.EMPTY_ROOT, 5, LARGE.roots[5], [])
    with pytest.raises(DocumentInvalid, match="another root"):
        merkle.check_consistency(0, bytes(32), 5, LARGE.roots[5], [])


def test_a_frontier_goes_on_from_its_peaks() -> None:
    for size in range(60):
        peaks = [LARGE.at(level, index) for level, index in merkle.cover(0, size)]
        again = Frontier(size, peaks)
        assert again.root() == LARGE.roots[size]
        again.append(LARGE.leaves[size])
        assert again.root() == LARGE.roots[size + 1]
    with pytest.raises(DocumentInvalid, match="do not make up"):
        Frontier(3, [bytes(32)])


def test_a_node_is_added_only_where_one_begins() -> None:
    frontier = Frontier(2, [LARGE.at(1, 0)])
    with pytest.raises(DocumentInvalid, match="no node of level 2"):
        frontier.append(LARGE.at(2, 1), 2)
    frontier.append(LARGE.at(1, 1), 1)
    assert frontier.root() == LARGE.roots[4]
