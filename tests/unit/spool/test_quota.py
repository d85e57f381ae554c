"""Room is promised pessimistically, and what is kept for our own records stays kept."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway import limits
from spool import frame
from spool.quota import Quota

SEGMENT = 256 * 1024
RECORD = frame.FRAME_BYTES_MAX


def quota(segments: int = 8, active: int | None = None) -> Quota:
    made = Quota(segments * SEGMENT, SEGMENT)
    made.segments = 1
    made.active_bytes = frame.usable_bytes(SEGMENT) if active is None else active
    return made


def fill(made: Quota) -> int:
    admitted = 0
    while made.admits(1):
        made.reserved_bytes += RECORD
        admitted += 1
    return admitted


@given(st.integers(4, 12), st.integers(0, frame.usable_bytes(SEGMENT)), st.integers(0, 3))
def test_every_promise_fits_even_if_each_segment_ends_with_the_worst_waste(
    segments: int, active: int, prepared: int
) -> None:
    made = quota(segments, active)
    made.prepared = prepared
    admitted = fill(made)
    rooms = [active] + [frame.usable_bytes(SEGMENT)] * (prepared + made.growth)
    assert admitted <= sum(room // RECORD for room in rooms)


def test_the_kept_bytes_are_never_promised_to_calls() -> None:
    made = quota()
    made.may_grow = False
    fill(made)
    kept = 0
    while made.admits_kept(final=False):
        made.reserved_bytes += RECORD
        kept += 1
    assert kept >= limits.SPOOL_KEPT_BYTES // RECORD - 2
    assert made.admits_kept(final=False, rotate=True), "a key can always change"
    made.reserved_bytes += RECORD
    assert not made.admits_kept(final=False, rotate=True)
    assert made.admits_kept(final=True), "the seal always finds room"


def test_a_full_spool_stays_full_down_to_the_low_water_mark() -> None:
    made = quota(20)
    made.dead_bytes = 18 * SEGMENT
    assert not made.admits(1)
    made.dead_bytes = 17 * SEGMENT
    assert not made.admits(1), "90 % is between the marks"
    made.dead_bytes = 15 * SEGMENT
    assert made.admits(1)


def test_dead_instances_and_quarantine_count() -> None:
    made = quota(4)
    assert made.growth == 3
    made.dead_bytes, made.quarantine_bytes = SEGMENT, 1
    assert made.growth == 1


def test_quarantine_alone_can_fill_the_quota_and_the_reason_says_so() -> None:
    made = quota(4)
    made.segments, made.active_bytes = 0, None
    made.quarantine_bytes, made.left_alone_bytes = 3 * SEGMENT, SEGMENT
    assert not made.admits(1)
    assert not made.admits_kept(final=True)
    assert f"quarantine {3 * SEGMENT}," in made.why_full
    assert f"unreadable ones {SEGMENT}" in made.why_full
    made.quarantine_bytes = 0
    assert made.admits(1), "whoever takes the quarantine away gets the room back"


def test_a_volume_that_refuses_segments_leaves_only_what_is_allocated() -> None:
    made = quota()
    made.may_grow = False
    assert made.room_bytes == made.allocated_bytes
    assert fill(made) > 0


def test_a_segment_is_wanted_before_promises_outgrow_what_is_allocated() -> None:
    wanted = []
    made = quota()
    for made.reserved_bytes, made.prepared in ((0, 0), (4 * RECORD, 0), (4 * RECORD, 1)):
        wanted.append(made.wants_segment)
    assert wanted == [False, True, False]


def test_no_segment_is_wanted_beyond_the_quota() -> None:
    made = quota(4)
    made.segments = 4
    made.active_bytes = 0
    assert not made.wants_segment
    assert not made.admits(1)
