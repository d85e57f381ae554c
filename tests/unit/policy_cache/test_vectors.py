"""Our verifier on the test vectors, as another implementation would run them: from the files."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec
import pytest

from gateway import roots, seal
from gateway.errors import DocumentInvalid
from gateway.timestamp import time_micros
from policy_cache import trusted
from tests import goldens
from tests.unit.policy_cache import canary_vectors, vectors
from tests.unit.policy_cache.vectors import Cases, Vector

FOLDER = "policy_vectors"
_PLACE = Path(goldens.__file__).parent / "golden" / FOLDER


@cache
def _read() -> dict[str, Vector]:
    data = (_PLACE / "vectors.json").read_bytes()
    return {one.name: one for one in msgspec.json.decode(data, type=list[Vector])}


def _verdict(vector: Vector) -> str:
    """``accepted``, or why not."""

    def document(name: str) -> bytes:
        return (_PLACE / "documents" / name).read_bytes()

    now_us = time_micros(vector.now)
    try:
        chain = [seal.parse_envelope(document(name)) for name in vector.roots]
        root = roots.walk(chain, vector.pin)[-1]
        trusted.check_root(root, now_us)
        head = trusted.open_head(
            document(vector.head),
            root,
            vector.scope,
            vector.floors,
            now_us,
            vector.own_version,
            placement=vector.placement,
            expired_ok=vector.stored,
        )
        bundle = document(vector.bundle)
        content = trusted.open_bundle(bundle, root, head, now_us, expired_ok=vector.stored)
    except DocumentInvalid as error:
        return error.reason
    floors = trusted.raised(vector.floors, root, head)
    # What was accepted is accepted again above the floors that it raised.
    trusted.open_head(
        document(vector.head),
        root,
        vector.scope,
        floors,
        now_us,
        vector.own_version,
        placement=vector.placement,
        expired_ok=vector.stored,
    )
    assert trusted.snapshot_of(root, head, content, 0).digest == head.pin.digest
    return "accepted"


def all_cases() -> Cases:
    """Those of one channel, and those of two."""
    cases = vectors.all_cases()
    canary_vectors.add_to(cases)
    return cases


NAMES = [one.name for one in all_cases().vectors]


@pytest.mark.parametrize("name", NAMES)
def test_the_verifier_gives_the_verdict_of_the_vector(name: str) -> None:
    vector = _read()[name]
    assert _verdict(vector) == vector.verdict


def test_the_vector_files_are_the_generated_ones() -> None:
    """golden: they are written from ``vectors.py``."""
    cases = all_cases()
    assert len(set(NAMES)) == len(NAMES), "two vectors of one name"
    pretty = msgspec.json.format(msgspec.json.encode(cases.vectors), indent=1)
    goldens.hold(f"{FOLDER}/vectors.json", pretty + b"\n")
    for name, data in cases.files.items():
        goldens.hold(f"{FOLDER}/documents/{name}", data)
    assert goldens.names(f"{FOLDER}/documents") == set(cases.files)


def test_the_vectors_cover_every_rule_of_the_verifier_that_has_a_number() -> None:
    """28 is the comparison with python-tuf, ``test_against_tuf.py``."""
    numbers = {number for one in _read().values() for number in one.study}
    assert numbers == set(range(1, 28))
