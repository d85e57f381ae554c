"""The bytes of a segment, both ways, and that no other bytes pass for them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.seal import SIGNATURE_BYTES
from spool import frame
from spool.frame import SegmentHeader
from tests.sim.records import sealed_records

INSTANCE = bytes(range(16))
SALT = 0x01020304


def test_the_header_page_is_these_bytes() -> None:
    page = frame.encode_header(SegmentHeader(INSTANCE, 7, SALT, 4 * 1024 * 1024))
    assert len(page) == frame.PAGE_BYTES
    assert page[:8] == b"GPSPOOL1"
    assert page[8:16].hex() == "0100000000004000"
    assert page[16:32] == INSTANCE
    assert page[32:44].hex() == "0700000000000000" + "04030201"
    assert page[44:124] == bytes(80)
    assert page[124:128].hex() == "19c72cf8"
    assert page[128:] == bytes(frame.PAGE_BYTES - 128)


def test_a_segment_end_is_these_bytes() -> None:
    assert frame.encode_segment_end(5, SALT).hex() == (
        "1a0fc05e0200000000000000040302010500000000000000050000000000000000000000db5eed98"
    )


@given(st.binary(min_size=16, max_size=16), st.integers(0, 2**53 - 1), st.integers(0, 2**32 - 1))
def test_a_header_reads_back(instance: bytes, base_seq: int, salt: int) -> None:
    header = SegmentHeader(instance, base_seq, salt, 256 * 1024)
    assert frame.decode_header(frame.encode_header(header)) == header


def test_a_header_with_any_bit_flipped_is_none() -> None:
    page = bytearray(frame.encode_header(SegmentHeader(INSTANCE, 7, SALT, 256 * 1024))[:128])
    for bit in range(len(page) * 8):
        page[bit // 8] ^= 1 << bit % 8
        assert frame.decode_header(bytes(page)) is None
        page[bit // 8] ^= 1 << bit % 8


def test_a_header_cut_at_any_byte_is_none() -> None:
    page = frame.encode_header(SegmentHeader(INSTANCE, 7, SALT, 256 * 1024))
    assert all(frame.decode_header(page[:end]) is None for end in range(128))
    assert frame.decode_header(page[:128] + b"junk") is not None


def test_a_batch_reads_back_frame_by_frame() -> None:
    records = sealed_records(3)
    data = frame.encode_batch(records, SALT)
    at = 0
    for record in records:
        header = frame.decode_frame_header(data, at, SALT)
        assert header is not None
        assert (header.seq, header.batch_first, header.type) == (record.seq, 0, frame.TYPE_RECORD)
        assert frame.decode_body(data, header, SALT) == (record.payload, record.signature)
        assert header.end - at == frame.record_frame_bytes(len(record.payload))
        at = header.end
    assert at == len(data)


@given(st.integers(0, 5_000))
def test_frames_stand_at_multiples_of_eight(payload_bytes: int) -> None:
    size = frame.record_frame_bytes(payload_bytes)
    least = frame.FRAME_HEADER_BYTES + 4 + payload_bytes + SIGNATURE_BYTES
    assert size % 8 == 0
    assert least <= size < least + 8


def test_bytes_of_another_segment_never_look_valid() -> None:
    data = frame.encode_batch(sealed_records(2), SALT)
    assert frame.decode_frame_header(data, 0, SALT + 1) is None
    assert frame.find_frame_header(data, 0, SALT + 1) is None


def test_a_sound_header_is_found_behind_damage_only_where_frames_can_stand() -> None:
    data = frame.encode_batch(sealed_records(1), SALT)
    found = frame.find_frame_header(b"\xff" * 16 + data, 0, SALT)
    assert found is not None
    assert found.offset == 16
    assert frame.find_frame_header(b"\xff" * 9 + data, 0, SALT) is None


@given(st.binary(max_size=400), st.integers(0, 400))
def test_no_bytes_make_the_reader_raise(data: bytes, offset: int) -> None:
    header = frame.decode_frame_header(data, offset, SALT)
    assert header is None or frame.decode_body(data, header, SALT) is None
    frame.find_frame_header(data, offset, SALT)
    frame.decode_header(data)


@given(st.binary(min_size=16, max_size=16))
def test_an_instance_id_reads_back(raw: bytes) -> None:
    text = frame.instance_text(raw)
    assert len(text) == 26
    assert frame.instance_bytes(text) == raw


@pytest.mark.parametrize(
    "text", ["", "a" * 25, "a" * 27, "A" * 26, "a" * 25 + "1", "a" * 25 + "b", "../" + "a" * 23]
)
def test_what_is_not_an_instance_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="instance id"):
        frame.instance_bytes(text)
