"""No answered record is ever lost: the spool in a world whose power fails at every moment.

The law: a caller that was told "durable" finds its record after any crash, in the order it was
given, and nothing in the spool hangs, loops or raises on what is left. The mutants at the end
prove that this world would notice a missing sync.
"""

from __future__ import annotations

from functools import partial

import anyio
import pytest

from gateway.errors import TurnAway
from gateway.ports import FileSystem
from spool import read
from spool.config import SpoolConfig
from spool.dead import DeadInstance
from spool.recover import find_dead
from spool.spool import Spool
from tests.sim.disk import Faults, PowerCut, SimDisk
from tests.sim.loop import elapse, simulate
from tests.sim.records import PLACE, draft, instance_id, seal_draft, sealer

ROOT = "/var/spool"
CONFIG = SpoolConfig(directory=ROOT, segment_bytes=256 * 1024, spool_bytes_max=4 * 1024 * 1024)
CLIENTS = 3
CALLS = 5
PAYLOAD_BYTES = 15_000


class Answered:
    """What callers were told: seq → record hash."""

    def __init__(self) -> None:
        self.hashes: dict[int, str] = {}
        self.turned_away: list[str] = []


async def _client(spool: Spool, name: str, answered: Answered) -> None:
    try:
        for call in range(CALLS):
            reservation = spool.reserve(2)
            for part in ("decision", "completion"):
                record = draft(f"{name}-{call}-{part}", PAYLOAD_BYTES)
                receipts = await spool.commit(reservation, record)
                answered.hashes.update({receipt.seq: receipt.hash for receipt in receipts})
            reservation.release()
    except TurnAway as refusal:
        answered.turned_away.append(refusal.code)


async def _serve(disk: SimDisk, answered: Answered, number: int = 1) -> None:
    """One life of the daemon's spool: some concurrent calls, then an orderly stop."""
    try:
        spool = await Spool.open(disk, CONFIG, sealer(number), instance_id(number))
    except TurnAway as refusal:
        answered.turned_away.append(refusal.code)
        return
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(spool.run)
        async with anyio.create_task_group() as clients:
            for client in range(CLIENTS):
                clients.start_soon(_client, spool, f"client-{client}", answered)
        try:
            await spool.commit(spool.kept_reservation(final=True), seal_draft())
        except TurnAway as refusal:
            answered.turned_away.append(refusal.code)
        await spool.close()


def _live_until_cut(seed: int, disk: SimDisk) -> Answered:
    answered = Answered()
    try:
        simulate(seed, lambda: _serve(disk, answered))
    except BaseExceptionGroup as group:
        _allow_only_power_cuts(group)
    except PowerCut:
        pass
    return answered


def _allow_only_power_cuts(group: BaseExceptionGroup[BaseException]) -> None:
    others = group.split(PowerCut)[1]
    if others is not None:
        raise others


def _recover(seed: int, disk: SimDisk) -> list[DeadInstance]:
    async def world() -> list[DeadInstance]:
        dead, alone = await find_dead(disk, ROOT, PLACE, wall_us=0)
        assert alone == []
        return dead

    return simulate(seed, world)


def _stored(disk: SimDisk, directory: str) -> dict[int, str]:
    async def world() -> dict[int, str]:
        def work(files: FileSystem) -> dict[int, str]:
            return {one.seq: one.record_hash() for one in read.records(files, directory)}

        return await disk.run(work)

    return simulate(0, world)


def _lost(
    seed: int, before: SimDisk, answered: Answered, keep: float, *, honest: bool = True
) -> set[int]:
    """Answered records that are not there after the cut. ``honest``: the disk does what it says."""
    left = before.cut(keep)
    dead = _recover(seed, left)
    found = _stored(left, dead[0].directory) if dead else {}
    if dead:
        findings = dead[0].findings
        assert findings.records == len(found)
        assert findings.chain_breaks == []
        assert not honest or findings.damaged == [] or findings.ambiguous
    return {seq for seq, digest in answered.hashes.items() if found.get(seq) != digest}


def _operations() -> int:
    disk = SimDisk()
    answered = _live_until_cut(0, disk)
    assert len(answered.hashes) == CLIENTS * CALLS * 2
    assert disk.open_files == 0
    return disk.operations


@pytest.mark.parametrize("keep", [0.0, 0.5, 1.0])
def test_no_answered_record_is_lost_wherever_the_power_fails(keep: float) -> None:
    for cut in range(1, _operations() + 1):
        disk = SimDisk(cut, Faults(cut_at_operation=cut))
        answered = _live_until_cut(0, disk)
        assert disk.dead
        assert _lost(cut, disk, answered, keep) == set(), f"power cut at operation {cut}"


def test_no_answered_record_is_lost_under_any_schedule() -> None:
    for seed in range(60):
        disk = SimDisk(seed, Faults(cut_at_operation=20 + seed, short_counts=seed % 2 == 0))
        answered = _live_until_cut(seed, disk)
        assert _lost(seed, disk, answered, keep=(seed % 5) / 4) == set(), f"seed {seed}"


def test_one_seed_is_one_history() -> None:
    histories = []
    for _ in range(2):
        disk = SimDisk(5, Faults(cut_at_operation=40))
        histories.append((_live_until_cut(9, disk).hashes, disk.operations, disk.paths()))
    assert histories[0] == histories[1]


def test_a_killed_process_leaves_every_answered_record() -> None:
    disk = SimDisk(3, Faults(cut_at_operation=60))
    answered = _live_until_cut(3, disk)
    left = disk.killed()
    dead = _recover(3, left)
    found = _stored(left, dead[0].directory)
    assert answered.hashes.items() <= found.items()


def test_a_sealed_and_unshipped_instance_is_found_clean() -> None:
    disk = SimDisk()
    answered = _live_until_cut(0, disk)
    (dead,) = _recover(0, disk.killed())
    assert dead.findings.clean
    assert not dead.needs_record
    assert dead.findings.records == len(answered.hashes) + 1


@pytest.mark.parametrize("sync", range(1, 16))
def test_a_failed_sync_is_the_last_one_and_nobody_is_answered(sync: int) -> None:
    disk = SimDisk(sync, Faults(sync_error_at=sync))
    answered = _live_until_cut(sync, disk)
    assert disk.syncs_after_error == 0
    # A segment that could not be prepared only means that there is no room for now.
    assert set(answered.turned_away) <= {"disk_failed", "spool_full"}
    assert _lost(sync, disk, answered, keep=0.5) == set()


@pytest.mark.parametrize("write", range(4, 12))
def test_a_failed_write_stops_the_spool(write: int) -> None:
    disk = SimDisk(write, Faults(write_error_at=write))
    answered = _live_until_cut(write, disk)
    assert _lost(write, disk, answered, keep=0.0) == set()


@pytest.mark.parametrize("keep", [0.3, 0.7])
def test_deleting_shipped_segments_never_leaves_a_hole_between_kept_ones(keep: float) -> None:
    async def ship_most(disk: SimDisk) -> int:
        """Returns the operations before the first deletion."""
        spool = await Spool.open(disk, CONFIG, sealer(), instance_id(1))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(spool.run)
            for index in range(60):
                await spool.commit(spool.reserve(1), draft(f"r{index}", PAYLOAD_BYTES))
            await elapse(1)
            before = disk.operations
            await spool.acknowledge(55)
            tasks.cancel_scope.cancel()
        return before

    whole = SimDisk()
    before = simulate(0, partial(ship_most, whole))
    assert whole.operations - before == 6, "three segments: a removal and a sync each"
    for cut in range(before + 1, whole.operations + 1):
        for seed in range(3):
            disk = SimDisk(seed, Faults(cut_at_operation=cut))
            with pytest.raises((PowerCut, BaseExceptionGroup)):
                simulate(0, partial(ship_most, disk))
            (dead,) = _recover(seed, disk.cut(keep))
            assert dead.findings.damaged == [], f"cut {cut}, seed {seed}"
            assert dead.findings.last_seq == 59


def _losses(faults: Faults, keep: float = 0.0) -> int:
    lost = 0
    for cut in range(10, _operations(), 7):
        faults.cut_at_operation = cut
        disk = SimDisk(cut, faults)
        answered = _live_until_cut(0, disk)
        lost += len(_lost(cut, disk, answered, keep, honest=False))
    return lost


def test_this_world_notices_a_disk_whose_syncs_do_nothing() -> None:
    assert _losses(Faults(syncs_lie=True)) > 0


def test_this_world_notices_a_directory_that_is_not_synced() -> None:
    assert _losses(Faults(directory_syncs_lie=True)) > 0
