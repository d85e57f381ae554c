"""The spool's promises to a call: order, durability, room, and a clear end when the disk fails."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable

import anyio
import pytest

from gateway import limits
from gateway.errors import ConfigInvalid, TurnAway
from gateway.ports import FileSystem
from spool import read
from spool.config import SpoolConfig, check_config
from spool.spool import Spool
from tests.sim.disk import Faults, SimDisk
from tests.sim.loop import elapse, simulate
from tests.sim.records import draft, instance_id, seal_draft, sealer

ROOT = "/var/spool"
CONFIG = SpoolConfig(directory=ROOT, segment_bytes=256 * 1024, spool_bytes_max=1024 * 1024)
BIG = 15_000


def with_spool(
    script: Callable[[Spool, SimDisk], Awaitable[None]],
    *,
    faults: Faults | None = None,
    seed: int = 1,
    dead_bytes: int = 0,
) -> SimDisk:
    """Run ``script`` against an open, running spool; it is cancelled, not closed, at the end."""
    disk = SimDisk(seed, faults)

    async def world() -> None:
        spool = await Spool.open(
            disk, CONFIG, sealer(), instance_id(1), dead_bytes=dead_bytes, timer=disk.timer
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(spool.run)
            await script(spool, disk)
            tasks.cancel_scope.cancel()

    simulate(seed, world)
    return disk


async def commit_until_turned_away(spool: Spool) -> tuple[int, str]:
    """How many large records found room, and the code of the refusal."""
    for written in range(10_000):
        try:
            reservation = spool.reserve(1)
        except TurnAway as refusal:
            return written, refusal.code
        await spool.commit(reservation, draft("r", BIG))
    raise AssertionError("the spool has no end")


async def seqs(spool: Spool) -> list[int]:
    def work(files: FileSystem) -> list[int]:
        return [one.seq for one in read.records(files, spool.directory)]

    return await spool.disk.run(work)


def test_a_receipt_names_what_is_durable() -> None:
    async def script(spool: Spool, disk: SimDisk) -> None:
        reservation = spool.reserve(2)
        (first,) = await spool.commit(reservation, draft("a"))
        (second,) = await spool.commit(reservation, draft("b"))
        assert [(first.id, first.seq), (second.id, second.seq)] == [("a", 0), ("b", 1)]
        assert (spool.durable_seq, spool.durable_hash) == (1, second.hash)
        assert await seqs(spool) == [0, 1]

    with_spool(script)


def test_order_of_submits_is_order_of_seq_and_one_sync_serves_many() -> None:
    async def script(spool: Spool, disk: SimDisk) -> None:
        reservation = spool.reserve(8)
        await anyio.lowlevel.checkpoint()
        syncs = disk.syncs
        commits = [spool.submit(reservation, draft(f"r{index}")) for index in range(8)]
        receipts = [(await commit.wait())[0] for commit in commits]
        assert [(one.id, one.seq) for one in receipts] == [(f"r{i}", i) for i in range(8)]
        assert disk.syncs - syncs == 1

    with_spool(script)


def test_a_group_is_committed_together() -> None:
    async def script(spool: Spool, disk: SimDisk) -> None:
        receipts = await spool.commit(spool.reserve(3), draft("a"), draft("b"), draft("c"))
        assert [one.seq for one in receipts] == [0, 1, 2]
        assert spool.status().commit.batches == 1

    with_spool(script)


def test_a_caller_that_gives_up_leaves_no_hole() -> None:
    async def script(spool: Spool, disk: SimDisk) -> None:
        reservation = spool.reserve(2)
        with anyio.move_on_after(0) as given_up:
            await spool.commit(reservation, draft("a"))
        assert given_up.cancelled_caught
        (receipt,) = await spool.commit(reservation, draft("b"))
        assert receipt.seq == 1
        assert await seqs(spool) == [0, 1]

    with_spool(script)


def test_more_records_than_were_reserved_are_refused_before_sealing() -> None:
    async def script(spool: Spool, disk: SimDisk) -> None:
        reservation = spool.reserve(1)
        with pytest.raises(ValueError, match="reserved for 1"):
            spool.submit(reservation, draft("a"), draft("b"))
        assert spool.last_seq == -1
        reservation.release()
        reservation.release()
        assert spool.status().bytes_reserved == 0

    with_spool(script)


def test_segments_follow_each_other_without_a_hole() -> None:
    async def script(spool: Spool, disk: SimDisk) -> None:
        for index in range(34):
            reservation = spool.reserve(1)
            await spool.commit(reservation, draft(f"r{index}", BIG))
        assert len(spool.shelf.bases) > 1
        assert await seqs(spool) == list(range(34))
        await spool.acknowledge(33)
        assert len(spool.shelf.bases) == 1, "only whole segments go, never the one being written"
        assert (await seqs(spool))[-1] == 33

    with_spool(script)


def test_a_full_spool_turns_calls_away_and_recovers_when_records_are_taken() -> None:
    async def script(spool: Spool, disk: SimDisk) -> None:
        written, code = await commit_until_turned_away(spool)
        assert code == "spool_full"
        assert written > 30
        assert spool.status().state == "full"
        assert spool.status().bytes_used <= CONFIG.spool_bytes_max
        await spool.commit(spool.kept_reservation(), draft("heartbeat"))
        await spool.acknowledge(spool.durable_seq)
        spool.reserve(1).release()
        assert spool.status().state == "ok"
        assert spool.status().refused == {"spool_full": 1}

    with_spool(script)


def test_the_kept_bytes_end_but_a_rotation_and_the_seal_always_fit() -> None:
    async def script(spool: Spool, disk: SimDisk) -> None:
        await commit_until_turned_away(spool)
        kept = 0
        with contextlib.suppress(TurnAway):
            while True:
                await spool.commit(spool.kept_reservation(), draft("heartbeat", BIG))
                kept += 1
        assert kept >= 2
        await spool.commit(spool.kept_reservation(rotate=True), draft("rotate", BIG))
        with pytest.raises(TurnAway, match="spool_full"):
            spool.kept_reservation(rotate=True)
        await spool.commit(spool.kept_reservation(final=True), seal_draft())
        await spool.close()

    with_spool(script)


def test_reserved_records_are_written_whatever_happens_to_the_volume_after() -> None:
    async def script(spool: Spool, disk: SimDisk) -> None:
        reservations = []
        disk.faults.capacity_bytes = disk.taken_bytes + 100
        with contextlib.suppress(TurnAway):
            while True:
                reservations.append(spool.reserve(1))
                # The preparer meets the full volume meanwhile.
                await spool.disk.run(lambda files: files.free_bytes(ROOT))
        assert reservations
        for reservation in reservations:
            await spool.commit(reservation, draft("r", BIG))
        assert not spool.failed.is_set()

    with_spool(script)


def test_room_on_the_volume_is_noticed_when_it_comes_back() -> None:
    async def script(spool: Spool, disk: SimDisk) -> None:
        disk.faults.capacity_bytes = disk.taken_bytes
        await commit_until_turned_away(spool)
        assert spool.status().may_grow is False
        assert "no further segment" in (spool.status().reason or "")
        disk.faults.capacity_bytes = None
        await elapse(limits.SEGMENT_RETRY_SECONDS + 1)
        await spool.commit(spool.reserve(1), draft("r", BIG))

    with_spool(script, faults=Faults(capacity_bytes=2**30))


def test_a_spool_without_room_for_a_segment_opens_full_and_starts_when_there_is() -> None:
    async def script(spool: Spool, disk: SimDisk) -> None:
        with pytest.raises(TurnAway, match="spool_full"):
            spool.reserve(1)
        spool.set_dead_bytes(0)
        await elapse(1)
        await spool.commit(spool.reserve(1), draft("r"))

    with_spool(script, dead_bytes=CONFIG.spool_bytes_max)


def test_after_a_failed_sync_nobody_is_answered_and_nothing_is_synced_again() -> None:
    async def script(spool: Spool, disk: SimDisk) -> None:
        first, second = spool.reserve(2), spool.reserve(2)
        await spool.commit(first, draft("a"))
        disk.faults.sync_error_at = disk.syncs + 1
        with pytest.raises(TurnAway, match="disk_failed"):
            await spool.commit(first, draft("b"))
        for attempt in (lambda: spool.submit(second, draft("c")), lambda: spool.reserve(1)):
            with pytest.raises(TurnAway, match="disk_failed"):
                attempt()
        with pytest.raises(TurnAway, match="disk_failed"):
            spool.kept_reservation()
        await spool.failed.wait()
        await spool.close()
        assert disk.syncs_after_error == 0
        assert (spool.durable_seq, spool.status().state) == (0, "failed")
        assert spool.status().alarms == ["disk_failed"]

    assert with_spool(script).open_files == 0


def test_draining_turns_new_calls_away_and_keeps_promises() -> None:
    async def script(spool: Spool, disk: SimDisk) -> None:
        reservation = spool.reserve(1)
        spool.stop_admitting()
        with pytest.raises(TurnAway, match="draining"):
            spool.reserve(1)
        await spool.commit(reservation, draft("a"))
        await spool.commit(spool.kept_reservation(final=True), seal_draft())
        spool.resume_admitting()
        spool.reserve(1).release()

    with_spool(script)


def test_nothing_follows_the_seal() -> None:
    async def script(spool: Spool, disk: SimDisk) -> None:
        reservation = spool.reserve(1)
        await spool.commit(spool.kept_reservation(final=True), seal_draft())
        for late in (reservation, spool.kept_reservation()):
            with pytest.raises(TurnAway, match="sealed"):
                spool.submit(late, draft("late"))
        assert spool.last_seq == 0

    with_spool(script)


def test_records_survive_a_power_cut_under_directories_that_another_part_made() -> None:
    async def world() -> None:
        await disk.run(lambda files: files.make_directory(ROOT.rpartition("/")[0], 0o755))
        spool = await Spool.open(disk, CONFIG, sealer(), instance_id(1))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(spool.run)
            await spool.commit(spool.reserve(1), draft("a"))
            tasks.cancel_scope.cancel()

    disk = SimDisk()
    simulate(1, world)
    assert any(path.endswith(".log") for path in disk.cut(0.0).paths())


def test_close_writes_what_is_submitted_and_leaves_no_file_open() -> None:
    async def script(spool: Spool, disk: SimDisk) -> None:
        commit = spool.submit(spool.reserve(1), draft("a"))
        await spool.close()
        assert (await commit.wait())[0].seq == 0
        with pytest.raises(TurnAway, match="closed"):
            spool.submit(spool.kept_reservation(), draft("b"))

    disk = with_spool(script)
    assert (disk.open_files, disk.locks) == (0, set())
    assert [path.rpartition("/")[2] for path in disk.paths()] == [
        "LOCK",
        "seg-00000000000000000000.log",
    ]


def test_a_sealed_and_acknowledged_directory_goes_with_its_process() -> None:
    async def script(spool: Spool, disk: SimDisk) -> None:
        await spool.commit(spool.reserve(1), draft("a"))
        await spool.commit(spool.kept_reservation(final=True), seal_draft())
        await spool.acknowledge(1)
        await spool.close()

    disk = with_spool(script)
    assert disk.paths() == []
    assert disk.cut(0.0).paths() == []


def test_a_spool_that_was_never_used_leaves_nothing_behind() -> None:
    """A start that ended before its first record would else leave a segment at every try."""

    async def script(spool: Spool, disk: SimDisk) -> None:
        assert disk.paths() != []
        await spool.close()
        assert disk.paths() == []
        assert disk.locks == set()

    with_spool(script)


def test_a_directory_with_unshipped_records_stays() -> None:
    async def script(spool: Spool, disk: SimDisk) -> None:
        await spool.commit(spool.reserve(1), draft("a"))
        await spool.commit(spool.kept_reservation(final=True), seal_draft())
        await spool.acknowledge(0)
        await spool.close()

    assert len(with_spool(script).paths()) == 2


def test_a_slow_disk_holds_up_commits_and_nothing_else() -> None:
    async def script(spool: Spool, disk: SimDisk) -> None:
        disk.faults.flush_seconds = 2.0
        started = anyio.current_time()
        commit = spool.submit(spool.reserve(1), draft("a"))
        await elapse(0.01)
        assert anyio.current_time() - started < 0.05
        await commit.wait()
        assert anyio.current_time() - started >= 2.0
        times = spool.status().commit
        assert (times.slow_over_1s, times.mean_batch) == (1, 1.0)
        assert times.sync_p99_us == 2_000_000
        assert "slow_disk" in spool.status().alarms

    with_spool(script)


def test_changes_can_be_followed() -> None:
    async def script(spool: Spool, disk: SimDisk) -> None:
        seen = spool.status().changes
        reached = []

        async def follow() -> None:
            reached.append(await spool.wait_change(seen))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow)
            await spool.commit(spool.reserve(1), draft("a"))
        assert reached[0] > seen

    with_spool(script)


def test_a_cancelled_run_fails_what_was_waiting() -> None:
    disk = SimDisk(1, Faults(flush_seconds=1.0))
    codes = []

    async def world() -> None:
        spool = await Spool.open(disk, CONFIG, sealer(), instance_id(1))

        async def caller() -> None:
            with pytest.raises(TurnAway) as refusal:
                await spool.commit(spool.reserve(1), draft("a"))
            codes.append(refusal.value.code)

        async with anyio.create_task_group() as callers:
            callers.start_soon(caller)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(spool.run)
                tasks.cancel_scope.cancel()
        await spool.close()

    simulate(1, world)
    assert codes == ["disk_failed"]


@pytest.mark.parametrize(
    ("place", "mode", "message"),
    [("/var/spool/" + instance_id(1), 0o770, "chmod go-w"), ("/var/spool", 0o777, None)],
)
def test_only_a_directory_of_our_own_must_not_be_writable_by_others(
    place: str, mode: int, message: str | None
) -> None:
    disk = SimDisk()
    disk.put(f"{place}/LOCK" if message else f"{place}/x", b"")
    disk.modes[place] = mode

    async def world() -> None:
        if message is None:
            await Spool.open(disk, CONFIG, sealer(), instance_id(1))
            return
        with pytest.raises(ConfigInvalid, match=message):
            await Spool.open(disk, CONFIG, sealer(), instance_id(1))

    simulate(1, world)


def test_an_instance_never_opens_a_directory_with_records() -> None:
    disk = SimDisk()
    disk.put(f"{ROOT}/{instance_id(1)}/seg-00000000000000000000.log", b"")

    async def world() -> None:
        with pytest.raises(ConfigInvalid, match="holds records already"):
            await Spool.open(disk, CONFIG, sealer(), instance_id(1))

    simulate(1, world)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (SpoolConfig(segment_bytes=1), "segment_bytes"),
        (SpoolConfig(segment_bytes=2**40), "segment_bytes"),
        (SpoolConfig(spool_bytes_max=1), "spool_bytes_max"),
        (SpoolConfig(spool_free_bytes_min=-1), "spool_free_bytes_min"),
        (SpoolConfig(ship_linger_seconds=-1), "ship_linger_seconds"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(config: SpoolConfig, message: str) -> None:
    with pytest.raises(ConfigInvalid, match=message):
        check_config(config)
    check_config(SpoolConfig())


def test_a_stop_while_a_segment_is_prepared_leaves_no_directory() -> None:
    async def script(spool: Spool, disk: SimDisk) -> None:
        await spool.commit(spool.reserve(1), draft("a"))
        disk.faults.flush_seconds = 0.05
        for _ in range(10):
            await spool.commit(spool.reserve(1), draft("a", BIG))
        await spool.commit(spool.kept_reservation(final=True), seal_draft())
        await spool.acknowledge(spool.durable_seq)
        await spool.close()

    disk = with_spool(script)
    assert (disk.paths(), disk.open_files) == ([], 0)
