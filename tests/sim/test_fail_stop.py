"""Fail-stop: the first error of the disk ends the spool, once, and gives back what it holds."""

from __future__ import annotations

import contextlib

import anyio
import pytest

from gateway.errors import TurnAway
from gateway.ports import FileSystem
from spool import read
from spool.config import SpoolConfig
from spool.spool import Spool
from tests.sim.disk import Faults, SimDisk
from tests.sim.left_behind import ROOT, home, recover
from tests.sim.loop import simulate
from tests.sim.records import draft, instance_id, seal_draft, sealer

CONFIG = SpoolConfig(directory=ROOT, segment_bytes=256 * 1024, spool_bytes_max=2 * 1024 * 1024)
RECORDS = 30
"""Of 15 kB each: the spool switches segments once."""


def live(disk: SimDisk) -> list[str]:
    """One life: records one by one until the disk fails; returns the hashes that were answered."""
    answered: list[str] = []

    async def world() -> None:
        try:
            spool = await Spool.open(disk, CONFIG, sealer(), instance_id(1))
        except TurnAway:
            return
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(spool.run)
            with contextlib.suppress(TurnAway):
                for index in range(RECORDS):
                    record = draft(f"r{index}", 15_000)
                    (receipt,) = await spool.commit(spool.reserve(1), record)
                    answered.append(receipt.hash)
                await spool.commit(spool.kept_reservation(final=True), seal_draft())
            await spool.close()

    simulate(1, world)
    return answered


def stored(disk: SimDisk) -> list[str]:
    def work(files: FileSystem) -> list[str]:
        return [one.record_hash() for one in read.records(files, home())]

    async def world() -> list[str]:
        return await disk.run(work)

    return simulate(0, world)


def _counts() -> tuple[int, int]:
    disk = SimDisk()
    assert len(live(disk)) == RECORDS
    return disk.syncs, disk.writes


SYNCS, WRITES = _counts()


@pytest.mark.parametrize("sync", range(1, SYNCS + 1))
def test_whatever_sync_fails_no_file_stays_open_and_none_is_closed_twice(sync: int) -> None:
    disk = SimDisk(sync, Faults(sync_error_at=sync))
    answered = live(disk)
    assert (disk.open_files, disk.locks, disk.syncs_after_error) == (0, set(), 0)
    found = stored(disk.cut(0.0)) if answered else []
    assert found[: len(answered)] == answered


@pytest.mark.parametrize("write", range(1, WRITES + 1))
def test_whatever_write_fails_no_file_stays_open_and_none_is_closed_twice(write: int) -> None:
    disk = SimDisk(write, Faults(write_error_at=write))
    answered = live(disk)
    assert (disk.open_files, disk.locks) == (0, set())
    found = stored(disk.cut(0.0)) if answered else []
    assert found[: len(answered)] == answered


def test_what_a_failed_sync_left_in_the_cache_is_made_true_before_it_is_told() -> None:
    """R21: the pages count as clean, so a sync alone would leave them to the next power cut."""
    told = 0
    for sync in range(6, SYNCS, 3):
        disk = SimDisk(sync, Faults(sync_error_at=sync))
        live(disk)
        disk = disk.killed()
        dead, _ = recover(disk)
        left = disk.cut(0.0)
        again, _ = recover(left)
        assert [one.findings for one in again] == [one.findings for one in dead]
        told += any(one.findings.records for one in dead)
    assert told > 5


def test_a_disk_that_fails_again_when_that_is_made_true_leaves_the_directory_alone() -> None:
    disk = SimDisk(1, Faults(sync_error_at=9))
    live(disk)
    disk = disk.killed()
    disk.faults.sync_error_at = 1
    dead, (alone,) = recover(disk)
    assert (dead, alone.instance) == ([], instance_id(1))
    (again,), _ = recover(disk)
    assert again.findings.records
    assert recover(disk.cut(0.0))[0][0].findings == again.findings
