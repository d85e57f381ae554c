"""What damage means: each row of the table, and that no damage costs more than it must."""

from __future__ import annotations

import random

import msgspec
import pytest

from gateway.record import DamagedRange
from spool import frame
from spool.examine import Damage, Examiner, Findings, split_findings
from spool.frame import SegmentHeader
from spool.scan import scan
from tests.sim.records import instance_id, sealed_records

INSTANCE = instance_id(1)
RAW = frame.instance_bytes(INSTANCE)
SEGMENT_BYTES = 16 * 1024
RECORDS = sealed_records(9)


def segment(first: int, *batches: int, end: bool = False) -> bytes:
    """A segment that begins with seq ``first``; ``batches`` are the sizes of its batches."""
    salt = frame.segment_salt(RAW, first)
    data = frame.encode_header(SegmentHeader(RAW, first, salt, SEGMENT_BYTES))
    seq = first
    for size in batches:
        data += frame.encode_batch(RECORDS[seq : seq + size], salt)
        seq += size
    if end:
        data += frame.encode_segment_end(seq, salt)
    return data.ljust(SEGMENT_BYTES, b"\0")


def offset_of(seq: int, first: int = 0) -> int:
    """Where the frame of ``seq`` stands in a segment that begins with ``first``."""
    sizes = (frame.record_frame_bytes(len(one.payload)) for one in RECORDS[first:seq])
    return frame.PAGE_BYTES + sum(sizes)


def examine(*segments: tuple[int, bytes]) -> tuple[Findings, list[Damage]]:
    examiner, damages = Examiner(INSTANCE), []
    for base_seq, data in segments:
        salt = frame.segment_salt(RAW, base_seq)
        scanned = scan(data, instance=INSTANCE, salt=salt, base_seq=base_seq)
        damages += examiner.segment(base_seq, scanned, last=base_seq == segments[-1][0])
    return examiner.findings([]), damages


def flipped(data: bytes, offset: int) -> bytes:
    return data[:offset] + bytes([data[offset] ^ 1]) + data[offset + 1 :]


def zeroed(data: bytes, offset: int, length: int) -> bytes:
    return data[:offset] + bytes(length) + data[offset + length :]


def test_whole_segments_read_whole() -> None:
    found, damages = examine((0, segment(0, 2, 2, end=True)), (4, segment(4, 5)))
    assert (found.first_seq, found.last_seq, found.records) == (0, 8, 9)
    assert found.last_hash == RECORDS[8].hash
    assert found.last_id == "record-8"
    assert (found.ambiguous, found.cut_bytes, found.damaged, damages) == (False, 0, [], [])
    assert found.chain_breaks == []
    assert (found.tenant, found.region) == ("acme", "eu")


def test_a_bad_body_before_a_later_batch_was_answered_and_is_a_hole() -> None:
    data = flipped(segment(0, 1, 1, 1), offset_of(1) + 60)
    found, (damage,) = examine((0, data))
    assert found.damaged == [DamagedRange(first_seq=1, last_seq=1)]
    assert not found.ambiguous
    assert (damage.rule, damage.offset) == ("damaged", offset_of(1))
    assert damage.length == offset_of(2) - offset_of(1)


def test_a_bad_header_before_a_later_batch_is_found_again_at_the_next_frame() -> None:
    data = flipped(segment(0, 1, 1, 1), offset_of(1) + 9)
    found, (damage,) = examine((0, data))
    assert found.damaged == [DamagedRange(first_seq=1, last_seq=1)]
    assert not found.ambiguous
    assert damage.rule == "damaged"


def test_damage_in_the_last_batch_is_ambiguous() -> None:
    found, (damage,) = examine((0, flipped(segment(0, 2, 1), offset_of(2) + 60)))
    assert found.ambiguous
    assert found.last_seq == 1
    assert found.damaged == []
    assert damage.rule == "torn_or_rot"
    assert found.cut_bytes == damage.length


def test_sound_records_behind_damage_in_the_last_batch_are_kept() -> None:
    found, _ = examine((0, flipped(segment(0, 1, 3), offset_of(2) + 60)))
    assert found.ambiguous
    assert (found.last_seq, found.records) == (3, 3)
    assert found.damaged == [DamagedRange(first_seq=2, last_seq=2)]


def test_an_end_frame_proves_the_last_batch() -> None:
    found, (damage,) = examine((0, flipped(segment(0, 2, 1, end=True), offset_of(2) + 60)))
    assert not found.ambiguous
    assert found.damaged == [DamagedRange(first_seq=2, last_seq=2)]
    assert damage.rule == "damaged"


def test_another_segment_proves_the_last_batch_of_the_one_before() -> None:
    damaged = flipped(segment(0, 2, 2), offset_of(3) + 60)
    found, _ = examine((0, damaged), (4, segment(4, 1)))
    assert not found.ambiguous
    assert found.damaged == [DamagedRange(first_seq=3, last_seq=3)]


def test_a_hole_that_reaches_into_the_last_batch_is_ambiguous() -> None:
    data = zeroed(segment(0, 1, 1, 3), offset_of(1), offset_of(3) - offset_of(1))
    found, _ = examine((0, data))
    assert found.damaged == [DamagedRange(first_seq=1, last_seq=2)]
    assert found.ambiguous


def test_a_segment_without_its_end_frame_is_accepted() -> None:
    found, damages = examine((0, segment(0, 2)), (2, segment(2, 1)))
    assert (found.records, damages, found.damaged) == (3, [], [])


def test_a_missing_segment_is_a_hole() -> None:
    found, _ = examine((0, segment(0, 2, end=True)), (5, segment(5, 1)))
    assert found.damaged == [DamagedRange(first_seq=2, last_seq=4)]
    assert "missing_segment" in found.notes
    assert not found.ambiguous


def test_a_repeated_record_is_quarantined_and_the_first_is_kept() -> None:
    found, (damage,) = examine((0, segment(0, 3)), (2, segment(2, 2)))
    assert (found.records, damage.rule, damage.base_seq) == (4, "repeat", 2)
    assert found.damaged == []


def test_a_chain_that_does_not_fit_is_reported_and_kept() -> None:
    other = sealed_records(3, payload_bytes=400)
    salt = frame.segment_salt(RAW, 0)
    data = segment(0, 1)
    at = offset_of(1)
    foreign = frame.encode_batch(other[1:2], salt)
    data = data[:at] + foreign + data[at + len(foreign) :]
    found, damages = examine((0, data))
    assert found.chain_breaks == [1]
    assert (found.records, damages) == (2, [])


def test_a_record_of_another_instance_is_not_shipped_as_ours() -> None:
    salt = frame.segment_salt(RAW, 0)
    data = segment(0, 1)
    foreign = frame.encode_batch(sealed_records(2, number=2)[1:], salt)
    data = data[: offset_of(1)] + foreign + data[offset_of(1) + len(foreign) :]
    found, (damage,) = examine((0, data))
    assert found.records == 1
    assert damage.rule == "foreign"


def test_a_last_frame_cut_at_any_byte_costs_that_frame_alone() -> None:
    data = segment(0, 1, 1)
    start, end = offset_of(1), offset_of(2)
    for cut in range(start, end - 8):
        found, _ = examine((0, zeroed(data, cut, end - cut)))
        assert (found.last_seq, found.damaged) == (0, [])
        # With a sound header the frame's extent is known, else only what is not zero.
        sound_header = cut - start >= frame.FRAME_HEADER_BYTES
        left = end - start if sound_header else len(data[start:cut].rstrip(b"\0"))
        assert found.cut_bytes == left
        assert found.ambiguous == (left > 0)


def test_any_flipped_bit_costs_at_most_one_record() -> None:
    data = segment(0, 1, 2, 1)
    last = offset_of(3)
    for bit in range(frame.PAGE_BYTES * 8, (offset_of(4) + 64) * 8, 3):
        offset = bit // 8
        damaged = data[:offset] + bytes([data[offset] ^ 1 << bit % 8]) + data[offset + 1 :]
        found, _ = examine((0, damaged))
        assert found.records >= 3, f"bit {bit}"
        assert found.ambiguous or offset < last or found.records == 4
        if offset < last and found.records == 3:
            assert len(found.damaged) == 1
            assert not found.ambiguous


@pytest.mark.parametrize("seed", range(40))
def test_any_damage_is_read_to_its_end(seed: int) -> None:
    chance = random.Random(seed)
    data = bytearray(segment(0, 2, 3, 1, end=seed % 2 == 0))
    for _ in range(chance.randrange(1, 40)):
        at = chance.randrange(len(data))
        data[at : at + chance.randrange(1, 600)] = chance.randbytes(chance.randrange(1, 600))
    found, damages = examine((0, bytes(data)))
    assert found.records <= 6
    assert all(damage.length > 0 for damage in damages)


def test_a_segment_full_of_markers_is_read_quickly() -> None:
    marker = frame.MARKER.to_bytes(4, "little")
    found, (damage,) = examine((0, bytes(frame.PAGE_BYTES) + (marker + b"\1\0\0\0") * 20_000))
    assert found.records == 0
    assert damage.length == 160_000 - 3


def test_findings_that_exceed_one_record_are_split() -> None:
    found, _ = examine((0, segment(0, 1)))
    ranges = [DamagedRange(first_seq=2 * one, last_seq=2 * one) for one in range(130)]
    found = msgspec.structs.replace(found, damaged=ranges)
    parts = split_findings(found)
    assert [len(part.damaged) for part in parts] == [64, 64, 2]
    assert [one for part in parts for one in part.damaged] == ranges
    assert len(split_findings(examine((0, segment(0, 1)))[0])) == 1
