"""What was found of an instance outlives its segments, until a record holds it."""

from __future__ import annotations

import pytest

from gateway.ports import Receipt
from gateway.record import DamagedRange
from spool import frame
from spool.dead import DeadInstance
from spool.recover import newest
from tests.sim.disk import SimDisk
from tests.sim.left_behind import files_of, home, put_segment, recover
from tests.sim.loop import simulate
from tests.sim.records import instance_id, sealed_records

RECEIPT = Receipt(id="r", seq=5, hash="h")


def _damaged() -> SimDisk:
    """Three segments of two records; the second record is damaged."""
    disk, records = SimDisk(), sealed_records(6)
    for first in (0, 2, 4):
        put_segment(disk, records[first : first + 2], end=True)
    size = frame.record_frame_bytes(len(records[0].payload))
    path = f"{home()}/seg-{0:020d}.log"
    disk.flip_bit(path, (frame.PAGE_BYTES + size + 60) * 8)
    return disk


def trim(disk: SimDisk, dead: DeadInstance, through_seq: int) -> None:
    async def world() -> None:
        await dead.trim(disk, through_seq)

    simulate(0, world)


def settle(disk: SimDisk, dead: DeadInstance) -> None:
    async def world() -> None:
        await dead.settle(disk, RECEIPT, instance_id(9), 0)

    simulate(0, world)


def remove(disk: SimDisk, dead: DeadInstance) -> None:
    async def world() -> None:
        await dead.remove(disk)

    simulate(0, world)


@pytest.mark.parametrize("through_seq", [1, 3, 5])
def test_damage_in_a_segment_that_was_shipped_away_is_still_told(through_seq: int) -> None:
    disk = _damaged()
    (first,), _ = recover(disk)
    trim(disk, first, through_seq)
    left = disk.cut(0.0)
    (second,), _ = recover(left)
    assert second.needs_record
    assert second.findings.damaged == [DamagedRange(first_seq=1, last_seq=1)]
    assert second.findings.quarantined == first.findings.quarantined
    assert (second.findings.last_seq, second.findings.last_hash) == (5, first.findings.last_hash)
    assert second.findings.records == max(0, 4 - through_seq) + (through_seq < 5)
    continues = newest([second])
    assert continues is not None
    assert continues.seq == 5
    settle(left, second)
    (third,), _ = recover(left.cut(0.0))
    assert not third.needs_record


def test_an_instance_without_a_seal_is_told_of_though_nothing_is_left_of_it() -> None:
    disk = SimDisk()
    put_segment(disk, sealed_records(3))
    (first,), _ = recover(disk)
    trim(disk, first, 2)
    left = disk.cut(0.0)
    (second,), _ = recover(left)
    assert (second.findings.records, second.findings.last_seq) == (0, 2)
    assert second.needs_record
    settle(left, second)
    assert second.removable(0)
    remove(left, second)
    assert left.cut(0.0).paths() == []


def test_nothing_is_noted_once_a_record_holds_it() -> None:
    disk = _damaged()
    (dead,), _ = recover(disk)
    settle(disk, dead)
    trim(disk, dead, 5)
    assert "found.json" not in files_of(disk)


def test_on_a_full_volume_room_comes_first_unless_damage_would_be_forgotten() -> None:
    whole, damaged = SimDisk(), _damaged()
    put_segment(whole, sealed_records(3))
    for disk in (whole, damaged):
        (dead,), _ = recover(disk)
        disk.faults.capacity_bytes = disk.taken_bytes
        if disk is whole:
            trim(disk, dead, 2)
            assert dead.bases == []
        else:
            with pytest.raises(OSError, match="no space"):
                trim(disk, dead, 5)
            assert dead.bases == [0, 2, 4]


def test_a_note_that_cannot_be_read_costs_no_more_than_itself() -> None:
    disk = _damaged()
    (dead,), _ = recover(disk)
    trim(disk, dead, 1)
    disk.put(f"{home()}/found.json", b"{")
    (again,), _ = recover(disk.killed())
    assert (again.findings.records, again.findings.last_seq) == (4, 5)


def test_a_directory_that_went_before_it_was_settled_is_not_asked_for_again() -> None:
    """Shipping may be done with a sealed instance before the first records are written."""
    disk = SimDisk()
    put_segment(disk, sealed_records(1))
    (dead,), _ = recover(disk)
    trim(disk, dead, 0)
    remove(disk, dead)
    settle(disk, dead)
    assert disk.paths() == []
