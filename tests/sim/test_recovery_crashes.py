"""A start that dies while it cleans up after one that died, which died cleaning up itself.

The law: whatever was readable is shipped, whatever was damaged is told of and kept, each exactly
as if no start had failed, and in the end nothing is left on the volume.
"""

from __future__ import annotations

import random

import pytest

from gateway import limits
from gateway.ports import FileSystem, Receipt
from gateway.record import DamagedRange
from gateway.seal import sha256_text
from spool import frame, home, read
from spool.config import SpoolConfig
from spool.dead import DeadInstance
from spool.examine import Findings
from spool.recover import find_dead
from spool.spool import Spool
from tests.sim.disk import PowerCut, SimDisk
from tests.sim.left_behind import ROOT, put_segment
from tests.sim.left_behind import home as home_of
from tests.sim.loop import simulate
from tests.sim.records import PLACE, draft, instance_id, sealed_records, sealer

RECORDS = sealed_records(9)
SIZE = frame.record_frame_bytes(len(RECORDS[0].payload))
LATER_US = (limits.QUARANTINE_SECONDS_MAX + 1) * 1_000_000


def wreck() -> SimDisk:
    """Three segments: seq 1 is damaged and was answered, seq 8 is torn or rotten."""
    disk = SimDisk(1)
    paths = [put_segment(disk, RECORDS[first : first + 3], end=first < 6) for first in (0, 3, 6)]
    disk.flip_bit(paths[0], (frame.PAGE_BYTES + SIZE + 60) * 8)
    disk.flip_bit(paths[2], (frame.PAGE_BYTES + 2 * SIZE + 60) * 8)
    return disk


class Told:
    """What outlives every crash, because it is elsewhere: the store, and what it holds."""

    def __init__(self) -> None:
        self.shipped: dict[int, str] = {}
        self.recovered: list[Findings] = []
        self.kept: set[str] = set()


async def _clean_up(disk: SimDisk, told: Told, wall_us: int) -> None:
    """One start: find, ship the first segment, tell, ship the rest, and let go."""
    dead, alone = await find_dead(disk, ROOT, PLACE, wall_us=wall_us)
    assert alone == []
    for one in dead:
        await _ship(disk, one, told, through_seq=2)
        if one.needs_record:
            told.recovered.append(one.findings)
            receipt = Receipt(id="r", seq=1, hash="h")
            await one.settle(disk, receipt, instance_id(9), 0)
        await _ship(disk, one, told, through_seq=8)
        told.kept |= await disk.run(lambda files, one=one: _digests(files, one.directory))  # type: ignore[misc]
        if one.removable(wall_us):
            await one.remove(disk)
        else:
            one.release()


async def _ship(disk: SimDisk, dead: DeadInstance, told: Told, through_seq: int) -> None:
    def work(files: FileSystem) -> dict[int, str]:
        found = read.records(files, dead.directory)
        return {one.seq: one.record_hash() for one in found if one.seq <= through_seq}

    told.shipped |= await disk.run(work)
    await dead.trim(disk, through_seq)


def _digests(files: FileSystem, directory: str) -> set[str]:
    path = f"{directory}/{home.QUARANTINE_NAME}"
    found = set()
    for name in files.list_directory(path):
        file = files.open(f"{path}/{name}", writable=False)
        found.add(sha256_text(file.pread(file.size(), 0)))
        file.close()
    return found


def _start(disk: SimDisk, told: Told, wall_us: int = 0) -> None:
    simulate(0, lambda: _clean_up(disk, told, wall_us))
    assert disk.open_files == 0


def _operations() -> int:
    disk = wreck()
    _start(disk, Told())
    return disk.operations


OPERATIONS = _operations()


def _judge(told: Told, disk: SimDisk) -> None:
    assert told.shipped == {one.seq: one.hash for one in RECORDS if one.seq not in (1, 8)}
    last = told.recovered[-1]
    assert last.damaged == [DamagedRange(first_seq=1, last_seq=1)]
    assert (last.ambiguous, last.cut_bytes, last.last_seq) == (True, SIZE, 7)
    assert last.notes == ["damaged", "hole", "torn_or_rot"]
    assert {one.digest for one in last.quarantined} == told.kept
    assert len(told.kept) == 2
    assert disk.paths() == []


@pytest.mark.parametrize(("deaths", "keep"), [(1, 0.0), (1, 1.0), (3, 0.5)])
def test_a_start_may_die_at_any_operation_and_so_may_those_after_it(
    deaths: int, keep: float
) -> None:
    for operation in range(1, OPERATIONS + 1):
        chance = random.Random(operation)
        disk, told = wreck(), Told()
        for death in range(deaths):
            disk.faults.cut_at_operation = (
                operation if death == 0 else chance.randrange(1, OPERATIONS)
            )
            try:
                _start(disk, told)
            except PowerCut:
                disk = disk.cut(keep)
            else:
                disk = disk.killed()
        told.kept.clear()
        _start(disk, told)
        left = disk.killed()
        _start(left, told, LATER_US)
        _judge(told, left)


@pytest.mark.parametrize("keep", [0.0, 0.5])
def test_damaged_bytes_are_durable_elsewhere_before_their_segment_goes(keep: float) -> None:
    for operation in range(1, OPERATIONS + 1):
        disk = wreck()
        damaged = disk.content(f"{home_of()}/seg-{0:020d}.log")[frame.PAGE_BYTES :][SIZE : 2 * SIZE]
        disk.faults.cut_at_operation = operation
        with pytest.raises(PowerCut):
            _start(disk, Told())
        left = disk.cut(keep)
        assert any(damaged in left.content(path) for path in left.paths()), operation


def test_many_restarts_leave_no_more_than_one() -> None:
    """Killed each time, with a record that nobody shipped yet; then everything is shipped."""
    config = SpoolConfig(directory=ROOT, segment_bytes=256 * 1024, spool_bytes_max=2**21)
    disk, told = SimDisk(1), Told()

    async def life(number: int) -> None:
        dead, alone = await find_dead(disk, ROOT, PLACE, wall_us=0)
        assert (len(dead), alone) == (min(1, number - 1), [])
        for one in dead:
            await one.settle(disk, None, instance_id(number), 0)
            await _ship(disk, one, told, through_seq=0)
            await one.remove(disk)
        spool = await Spool.open(disk, config, sealer(number), instance_id(number))
        commit = spool.submit(spool.reserve(1), draft(f"r{number}"))
        await spool.close()
        assert (await commit.wait())[0].seq == 0

    sizes = set()
    for number in range(1, 151):
        simulate(number, lambda number=number: life(number))  # type: ignore[misc]
        assert disk.open_files == 0
        assert disk.locks == set()
        sizes.add((disk.taken_bytes, len(disk.entries)))
        disk = disk.cut(0.5) if number % 2 else disk.killed()
    assert len(sizes) == 1
