"""The record store's answer to a service's own records, read with suspicion."""

from __future__ import annotations

import pytest

from central.outbox.answer import Unsendable, resolved
from central.outbox.shelf import Unsent
from gateway.shipping import ShipAnswer, ShipException, encode_answer

BATCH = Unsent(chain=1, instance="i" * 26, first_seq=3, last_seq=6, lines=[b"{}"] * 4)


def answer(through_seq: int, *exceptions: tuple[int, str]) -> bytes:
    told = [ShipException(seq, code) for seq, code in exceptions]
    return encode_answer(ShipAnswer(through_seq, told, None, None, None, None))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (answer(6), (6, 0)),
        (answer(4), (4, 0)),
        (answer(6, (3, "duplicate"), (4, "duplicate")), (6, 0)),
        (answer(5, (6, "retry")), (5, 0)),
        (answer(6, (3, "fork"), (5, "rejected"), (6, "sealed")), (6, 3)),
    ],
)
def test_what_is_resolved_and_what_is_evidence_only(body: bytes, expected: tuple[int, int]) -> None:
    assert resolved(body, BATCH) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        answer(7),
        answer(2),
        answer(-1),
        answer(6, (2, "duplicate")),
        answer(6, (7, "fork")),
        answer(6, (4, "lost")),
    ],
)
def test_an_answer_about_something_else_resolves_nothing(body: bytes) -> None:
    with pytest.raises(Unsendable):
        resolved(body, BATCH)
