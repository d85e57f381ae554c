"""What rots after it was read once: said again, kept, and never dropped without a word."""

from __future__ import annotations

import pytest

from gateway.ports import Receipt
from spool import frame
from spool.dead import DeadInstance
from spool.scan import Stretch
from tests.sim.disk import PowerCut, SimDisk
from tests.sim.left_behind import files_of, put_segment, recover
from tests.sim.loop import simulate
from tests.sim.records import instance_id, sealed_records
from tests.sim.shipping import World, ship

RECEIPT = Receipt(id="r", seq=4, hash="sha256:00")


def _rot(disk: SimDisk, path: str, name: str) -> None:
    """One bit of the record of that name."""
    disk.flip_bit(path, disk.content(path).index(name.encode()) * 8)


def _settle(disk: SimDisk, dead: DeadInstance) -> None:
    async def world() -> None:
        await dead.settle(disk, RECEIPT, instance_id(9), wall_us=0)

    simulate(0, world)


def _note_damage(disk: SimDisk, dead: DeadInstance, stretch: Stretch) -> None:
    async def world() -> None:
        await dead.note_damage(disk, 0, stretch)

    simulate(0, world)


def test_a_record_that_rots_between_recovery_and_shipping_raises_the_alarm() -> None:
    disk = SimDisk()
    path = put_segment(disk, sealed_records(3, number=2), number=2)

    async def script(world: World) -> None:
        _rot(disk, path, "record-1")
        await world.shipped()
        assert sorted(world.store.kept) == [(instance_id(2), 0), (instance_id(2), 2)]
        status = world.spool.status()
        assert status.damaged_records == 1
        assert "integrity" in status.alarms
        assert status.integrity is not None
        assert (status.integrity.instance, status.integrity.first_seq) == (instance_id(2), 1)

    ship(script, disk=disk)
    assert [name for name in files_of(disk, 2) if name.startswith("quarantine/")]


def test_damage_that_was_found_at_the_start_raises_no_alarm_when_it_is_read_again() -> None:
    disk = SimDisk()
    path = put_segment(disk, sealed_records(3, number=2), number=2)
    _rot(disk, path, "record-1")

    async def script(world: World) -> None:
        await world.shipped()
        assert len(world.store.kept) == 2
        assert world.spool.status().damaged_records == 0

    ship(script, disk=disk)


def test_rot_in_a_recorded_instance_is_recorded_by_the_next_start() -> None:
    disk = SimDisk()
    path = put_segment(disk, sealed_records(4), number=1)
    (dead,), _ = recover(disk)
    _settle(disk, dead)
    left = disk.killed()
    (dead,), _ = recover(left)
    assert not dead.needs_record
    left = left.killed()
    _rot(left, path, "record-1")
    (dead,), _ = recover(left)
    assert dead.needs_record
    assert [(one.first_seq, one.last_seq) for one in dead.findings.damaged] == [(1, 1)]


def test_a_crash_of_the_next_start_does_not_hide_that_rot() -> None:
    for cut in range(1, 100):
        disk = SimDisk(cut)
        path = put_segment(disk, sealed_records(4))
        (dead,), _ = recover(disk)
        _settle(disk, dead)
        left = disk.killed()
        _rot(left, path, "record-1")
        left.faults.cut_at_operation = cut
        try:
            recover(left)
        except (PowerCut, BaseExceptionGroup):
            (dead,), _ = recover(left.cut(keep=cut % 2))
            assert dead.needs_record, f"power cut at operation {cut}"
        else:
            assert cut > 5
            return


def test_rot_that_is_met_while_a_recorded_instance_is_shipped_is_recorded_by_the_next_start() -> (
    None
):
    disk = SimDisk()
    path = put_segment(disk, sealed_records(4, number=2), number=2)
    (dead,), _ = recover(disk)
    _settle(disk, dead)
    left = disk.killed()

    async def script(world: World) -> None:
        _rot(left, path, "record-1")
        await world.shipped()

    ship(script, disk=left)
    assert path not in left.paths()
    found, _ = recover(left.killed())
    (dead,) = [one for one in found if one.instance == instance_id(2)]
    assert dead.needs_record
    assert [(one.first_seq, one.last_seq) for one in dead.findings.damaged] == [(1, 1)]
    (kept,) = dead.findings.quarantined
    assert f"quarantine/{kept.file}" in files_of(left, 2)


def test_what_rotted_since_the_start_counts_as_quarantine_before_its_segment_goes() -> None:
    disk = SimDisk()
    records = sealed_records(3)
    put_segment(disk, records)
    (dead,), _ = recover(disk)
    before = dead.bytes_used
    length = frame.record_frame_bytes(len(records[0].payload))
    rotten = Stretch(offset=frame.PAGE_BYTES, length=length, what="body", seq=0)

    _note_damage(disk, dead, rotten)
    assert (dead.quarantine_files, dead.quarantine_bytes) == (1, length)
    assert dead.bytes_used == before + length


@pytest.mark.parametrize("keep", [0.0, 1.0])
def test_a_crash_while_such_rot_is_kept_leaves_it_to_the_next_start(keep: float) -> None:
    for cut in range(1, 100):
        disk = SimDisk(cut)
        path = put_segment(disk, sealed_records(4))
        (dead,), _ = recover(disk)
        _settle(disk, dead)
        _rot(disk, path, "record-1")
        length = frame.record_frame_bytes(len(sealed_records(1)[0].payload))
        rotten = Stretch(offset=frame.PAGE_BYTES + length, length=length, what="body", seq=1)
        disk.faults.cut_at_operation = disk.operations + cut
        try:
            _note_damage(disk, dead, rotten)
        except (PowerCut, BaseExceptionGroup):
            (dead,), _ = recover(disk.cut(keep))
            assert dead.needs_record, f"power cut at operation {cut}"
        else:
            assert cut > 5
            return
