"""What the spool tells of itself: each figure against what is on the disk or on the clock."""

from __future__ import annotations

from collections.abc import Callable

from gateway import limits
from gateway.ports import FileSystem
from spool import read
from spool.scan import StoredRecord
from spool.spool import Spool
from tests.sim.disk import SimDisk
from tests.sim.loop import elapse
from tests.sim.records import draft
from tests.unit.spool.test_spool import BIG, with_spool


def test_a_commit_that_waits_for_its_turn_is_not_a_slow_disk() -> None:
    """What operators are called for is the disk's own part."""

    async def script(spool: Spool, disk: SimDisk) -> None:
        disk.faults.queue_seconds = 1.0
        for _ in range(3):
            await spool.commit(spool.reserve(1), draft("a"))
        status = spool.status()
        assert (status.commit.p99_us or 0) > 100_000
        assert (status.commit.sync_p99_us or 0) < 1_000
        assert "slow_disk" not in status.alarms

    with_spool(script)


def test_the_backlog_is_told_in_bytes_of_the_disk() -> None:
    async def script(spool: Spool, disk: SimDisk) -> None:
        for size in (400, 5_000, BIG):
            await spool.commit(spool.reserve(1), draft("a", size))
        found = [one.end - one.offset for one in await disk.run(_stored(spool))]
        assert spool.status().backlog_bytes == sum(found)
        await spool.acknowledge(0)
        assert spool.status().backlog_bytes == sum(found[1:])
        await spool.acknowledge(2)
        status = spool.status()
        assert (status.backlog_bytes, status.oldest_unsent_seconds) == (0, None)

    with_spool(script)


def _stored(spool: Spool) -> Callable[[FileSystem], list[StoredRecord]]:
    return lambda files: list(read.records(files, spool.directory))


def test_a_state_tells_since_when_it_holds() -> None:
    async def script(spool: Spool, disk: SimDisk) -> None:
        await elapse(50)
        assert spool.status().state_seconds >= 50
        spool.stop_admitting()
        await elapse(7)
        status = spool.status()
        assert (status.state, round(status.state_seconds)) == ("draining", 7)

    with_spool(script)


def test_free_bytes_of_the_volume_are_looked_at_again() -> None:
    async def script(spool: Spool, disk: SimDisk) -> None:
        await elapse(1)
        assert spool.status().bytes_free == 2**40
        disk.faults.capacity_bytes = disk.taken_bytes + 12_345
        await elapse(limits.VOLUME_LOOK_SECONDS + 1)
        assert spool.status().bytes_free == 12_345

    with_spool(script)
