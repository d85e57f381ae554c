"""Only answers about what we sent are believed."""

from __future__ import annotations

import msgspec
import pytest

from gateway.errors import DocumentInvalid
from gateway.shipping import (
    ShipAnswer,
    ShipException,
    ShipHead,
    decode_answer,
    encode_answer,
    refusal_code,
)
from spool.answer import check_answer
from spool.frame import encode_batch
from spool.scan import StoredRecord, scan
from tests.sim.records import instance_id, sealed_records

SALT = 9
_PIECES = scan(
    encode_batch(sealed_records(6), SALT), instance=instance_id(1), salt=SALT, base_seq=0, start=0
).pieces
SENT = [piece for piece in _PIECES if isinstance(piece, StoredRecord)][2:]
"""Seqs 2 to 5."""


def answer(
    through_seq: int, *exceptions: tuple[int, str], head: ShipHead | None = None
) -> ShipAnswer:
    return ShipAnswer(
        through_seq=through_seq,
        exceptions=[ShipException(seq=seq, code=code) for seq, code in exceptions],
        runs=None,
        head=head,
        checkpoint=None,
        consistency=None,
    )


@pytest.mark.parametrize(
    ("given", "resolved"),
    [
        (answer(5), 4),
        (answer(3), 2),
        (answer(-1), 0),
        (answer(1), 0),
        (answer(5, (2, "duplicate"), (3, "rejected"), (4, "fork"), (5, "sealed")), 4),
        (answer(3, (4, "retry"), (5, "retry")), 2),
        (answer(5, head=ShipHead(seq=5, record_hash=SENT[-1].record_hash())), 4),
        (answer(5, head=ShipHead(seq=9, record_hash="sha256:00")), 4),
        (answer(5, (5, "fork"), head=ShipHead(seq=5, record_hash="sha256:00")), 4),
    ],
)
def test_an_answer_about_the_batch_resolves_its_records(given: ShipAnswer, resolved: int) -> None:
    assert check_answer(given, SENT) == resolved


@pytest.mark.parametrize(
    "given",
    [
        answer(6),
        answer(-2),
        answer(5, (1, "duplicate")),
        answer(5, (9, "rejected")),
        answer(5, (3, "lost")),
        answer(5, (3, "retry")),
        answer(3, (5, "duplicate")),
        answer(5, head=ShipHead(seq=5, record_hash="sha256:00")),
    ],
)
def test_an_answer_about_anything_else_is_not_believed(given: ShipAnswer) -> None:
    with pytest.raises(DocumentInvalid, match="answer"):
        check_answer(given, SENT)


def test_an_answer_reads_back_and_unknown_members_are_passed_over() -> None:
    given = answer(5, (2, "duplicate"), head=ShipHead(seq=5, record_hash="sha256:00"))
    body = encode_answer(given)
    assert decode_answer(body) == given
    assert decode_answer(body[:-1] + b',"new":{"a":[1]}}') == given


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"[" * 100_000, b"<html>"])
def test_what_is_not_an_answer_is_refused(body: bytes) -> None:
    with pytest.raises(DocumentInvalid):
        decode_answer(body)
    assert refusal_code(body) is None


def test_an_answer_cut_at_any_byte_is_refused() -> None:
    body = encode_answer(answer(5))
    for end in range(len(body)):
        with pytest.raises(DocumentInvalid):
            decode_answer(body[:end])


def test_a_refusal_has_its_code() -> None:
    body = msgspec.json.encode({"error": {"type": "gatepost", "code": "certificate_unknown"}})
    assert refusal_code(body) == "certificate_unknown"
