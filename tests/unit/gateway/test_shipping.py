"""What a store says to a chain-head is read strictly, and members that are new are passed over."""

from __future__ import annotations

import msgspec
import pytest

from gateway import limits
from gateway.errors import DocumentInvalid
from gateway.shipping import ChainHeadAnswer, SeqRange, decode_head_answer

RANGE = {"first_seq": 3, "last_seq": 9}


def test_a_store_that_knows_no_answer_says_nothing() -> None:
    assert decode_head_answer(b"") == decode_head_answer(b"{}") == ChainHeadAnswer([])


def test_members_that_a_later_store_adds_are_passed_over() -> None:
    body = msgspec.json.encode({"missing": [{**RANGE, "why": "?"}], "checkpoint": None})
    assert decode_head_answer(body) == ChainHeadAnswer([SeqRange(3, 9)])


@pytest.mark.parametrize(
    "body",
    [
        b"OK",
        b"[]",
        b'{"missing": 3}',
        b'{"missing": [{"first_seq": -1, "last_seq": 3}]}',
        b'{"missing": [{"first_seq": 4, "last_seq": 3}]}',
        b'{"missing": [{"first_seq": 4}]}',
        msgspec.json.encode({"missing": [RANGE] * (limits.MISSING_RANGES_MAX + 1)}),
    ],
)
def test_what_is_no_answer_is_refused(body: bytes) -> None:
    with pytest.raises(DocumentInvalid):
        decode_head_answer(body)
