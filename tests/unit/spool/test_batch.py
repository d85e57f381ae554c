"""Finding the one bad record, and sizes that adapt."""

from __future__ import annotations

import gzip
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import limits, record
from gateway.documents import RECORD
from gateway.seal import open_envelope
from spool.batch import BodyBuilder, Window
from spool.scan import StoredRecord
from tests.sim.records import sealed_records, sealer


def stored(count: int, payload_bytes: int = 300) -> list[StoredRecord]:
    return [
        StoredRecord(
            instance=one.instance,
            seq=one.seq,
            batch_first=one.seq,
            payload=one.payload,
            signature=one.signature,
            leading=record.decode_leading(one.payload),
            base_seq=0,
            offset=0,
            end=0,
        )
        for one in sealed_records(count, payload_bytes=payload_bytes)
    ]


def requests_to_isolate(count: int, bad: int) -> int:
    """Play the store that refuses any batch with record ``bad``; how many requests it takes."""
    window, at, requests = Window(), 0, 0
    while True:
        sent = min(window.size, count - at)
        requests += 1
        if not at <= bad < at + sent:
            window.resolved(sent, sent)
            at += sent
        elif window.refused(sent):
            return requests


@given(st.integers(1, 500), st.data())
def test_one_bad_record_is_isolated_in_logarithmic_requests(
    count: int, data: st.DataObject
) -> None:
    bad = data.draw(st.integers(0, count - 1))
    repeats = limits.SHIP_REFUSALS_MAX - 1
    assert requests_to_isolate(count, bad) <= 2 * math.ceil(math.log2(count)) + 1 + repeats


def test_a_single_record_is_given_up_only_at_its_last_refusal() -> None:
    window = Window()
    assert [window.refused(1) for _ in range(limits.SHIP_REFUSALS_MAX)] == [False, False, True]
    window.set_aside()
    assert window.size == limits.SHIP_RECORDS_MAX
    assert not window.refused(1)


def test_too_large_halves_and_success_grows_back_slowly() -> None:
    window = Window()
    assert not window.too_large(500)
    assert window.size == 250
    for _ in range(20):
        window.resolved(250, 250)
    assert window.size == 275
    for _ in range(1_000):
        window.resolved(1, 1)
    assert window.size == limits.SHIP_RECORDS_MAX


def test_a_single_record_that_is_too_large_is_given_up_too() -> None:
    window = Window()
    assert [window.too_large(1) for _ in range(3)] == [False, False, True]


def test_the_body_is_envelopes_that_verify_one_per_line() -> None:
    records = stored(3)
    builder = BodyBuilder()
    assert builder.add(records)
    body = builder.finish()
    lines = gzip.decompress(body.data).splitlines()
    keys = {sealer().signer.kid: sealer().signer.public}
    assert [open_envelope(line, RECORD, keys) for line in lines] == [r.payload for r in records]
    assert lines == [one.envelope_line() for one in sealed_records(3)]


def test_equal_batches_have_equal_bodies() -> None:
    bodies = []
    for step in (1, 3):
        builder = BodyBuilder()
        for first in range(0, 3, step):
            builder.add(stored(3)[first : first + step])
        bodies.append(gzip.decompress(builder.finish().data))
    assert bodies[0] == bodies[1]


def test_a_body_stays_below_the_bound_and_holds_at_least_one_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "SHIP_BYTES_MAX", 5_000)
    builder = BodyBuilder()
    assert not builder.add(stored(9, 1_500))
    body = builder.finish()
    assert len(body.records) == 2
    assert len(gzip.decompress(body.data)) <= 5_000
    monkeypatch.setattr(limits, "SHIP_BYTES_MAX", 10)
    builder = BodyBuilder()
    builder.add(stored(2))
    assert len(builder.finish().records) == 1


def test_envelope_lines_are_json() -> None:
    line = stored(1)[0].envelope_line()
    assert set(msgspec.json.decode(line)) == {"payloadType", "payload", "signatures"}
