"""What a drainer does with a volume: ships and deletes what is dead, and nothing else."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from gateway import limits
from gateway.errors import ConfigInvalid
from sidecar.status import DaemonStatus
from spool import frame
from tests.sim.disk import Faults
from tests.sim.loop import elapse
from tests.unit.sidecar.drain_world import SPOOL, Volume, play_volume


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key files of the central services."""
    return tmp_path_factory.mktemp("central")


def test_what_dead_instances_left_arrives_and_their_directories_go(directory: Path) -> None:
    async def script(volume: Volume) -> None:
        dead = [await volume.leave(records) for records in (3, 5, 1)]
        drain = await volume.drained()
        assert drain.code == 0
        stored = volume.stored()
        own = drain.told[-1].instance
        assert own is not None
        assert {name: stored[name] for name in dead} == volume.left
        assert set(stored) == {*dead, own}
        assert volume.kinds(own) == ["start", *["recovered"] * 3, "seal"]
        assert volume.spooled() == []
        last = drain.told[-1]
        assert (last.phase, last.found, last.gone, last.left) == ("ended", 3, 3, ())
        assert (last.records, last.shipped) == (12, 12)

    play_volume(script, directory)


def test_with_nothing_dead_it_does_not_even_enrol(directory: Path) -> None:
    async def script(volume: Volume) -> None:
        with pytest.raises(ConfigInvalid, match="is the volume mounted"):
            await volume.drain().drainer.run(anyio.Event())
        volume.disk.put(f"{SPOOL}/lost+found/x", b"")
        drain = await volume.drained()
        assert (drain.code, len(drain.told)) == (0, 1)
        assert (drain.told[0].phase, drain.told[0].instance) == ("ended", None)
        assert volume.issued() == []

    play_volume(script, directory)


def test_a_live_instance_is_not_touched(directory: Path) -> None:
    async def script(volume: Volume) -> None:
        live = await volume.leave()
        volume.disk.locks.add(f"{SPOOL}/{live}/LOCK")
        before = {path: volume.disk.content(path) for path in volume.spooled()}
        idle = await volume.drained()
        assert (idle.code, idle.told[-1].in_use) == (0, 1)
        assert {path: volume.disk.content(path) for path in volume.spooled()} == before
        assert volume.stored() == {}

    play_volume(script, directory)


def test_a_dead_instance_that_was_never_certified_is_shipped(directory: Path) -> None:
    async def script(volume: Volume) -> None:
        dead = await volume.leave(certified=False)
        drain = await volume.drained()
        assert drain.code == 0
        assert volume.stored()[dead] == 4
        assert volume.spooled() == []

    play_volume(script, directory)


def test_with_the_services_away_nothing_is_written_or_deleted(directory: Path) -> None:
    async def script(volume: Volume) -> None:
        dead = await volume.leave()
        before = {path: volume.disk.content(path) for path in volume.spooled()}
        volume.cut_off(cut_off=True)
        drain = volume.drain()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(drain.run)
            await elapse(600)
            drain.stop.set()
        assert drain.code == 75
        (left,) = drain.told[-1].left
        assert (left.instance, left.records) == (dead, 4)
        segments = {path: volume.disk.content(path) for path in volume.spooled()}
        assert segments == {path: data for path, data in before.items() if ".tmp" not in path}
        volume.cut_off(cut_off=False)
        volume.disk = volume.disk.killed()
        assert (await volume.drained()).code == 0
        assert volume.stored()[dead] == 4

    play_volume(script, directory)


def test_of_another_tenant_or_format_it_is_left_and_said(directory: Path) -> None:
    async def script(volume: Volume) -> None:
        foreign = await volume.leave(certified=False, tenant="globex")
        newer, dead = await volume.leave(), await volume.leave()
        (path,) = [one for one in volume.spooled() if newer in one and "/seg-" in one]
        content = volume.disk.content(path)
        header = frame.decode_header(content[: frame.PAGE_BYTES])
        assert header is not None
        version = frame.SegmentHeader(
            header.instance, header.base_seq, header.salt, header.segment_bytes, version=9
        )
        volume.disk.put(path, frame.encode_header(version) + content[frame.PAGE_BYTES :])
        drain = await volume.drained()
        assert drain.code == 75
        why = {left.instance: left.why for left in drain.told[-1].left}
        assert set(why) == {foreign, newer}
        assert "globex" in why[foreign]
        assert "format version 9" in why[newer]
        assert set(volume.stored()) == {dead, drain.told[-1].instance}
        assert (await volume.drained()).told[-1].instance is None, "nothing can be done"

    play_volume(script, directory)


def test_quarantine_is_kept_and_said(directory: Path) -> None:
    async def script(volume: Volume) -> None:
        dead = await volume.leave(5)
        (path,) = [one for one in volume.spooled() if "/seg-" in one]
        volume.disk.flip_bit(path, (frame.PAGE_BYTES + 3_000) * 8)
        drain = await volume.drained()
        assert drain.code == 75
        assert "1 files in quarantine" in drain.told[-1].left[0].why
        assert volume.stored()[dead] == 5
        volume.disk = volume.disk.killed()
        again = await volume.drained()
        assert (again.code, again.told[-1].instance) == (75, None)
        volume.disk = volume.disk.killed()
        volume.clock.step(limits.QUARANTINE_SECONDS_MAX)
        assert (await volume.drained()).code == 0, "thirty days later it may go"
        assert volume.spooled() == []

    play_volume(script, directory)


def test_a_full_volume_is_shipped_before_there_is_room_for_a_record(directory: Path) -> None:
    async def script(volume: Volume) -> None:
        dead = await volume.leave()
        for path in volume.spooled():
            if path.endswith(".tmp"):
                del volume.disk.entries[path]
        volume.disk.faults = Faults(capacity_bytes=volume.disk.taken_bytes)
        drain = await volume.drained()
        assert drain.code == 0
        assert volume.stored()[dead] == 4
        assert volume.kinds(drain.told[-1].instance or "") == ["start", "recovered", "seal"]
        assert volume.spooled() == []

    play_volume(script, directory)


def test_a_volume_that_others_fill_is_shipped_from_and_said_to_be_full(directory: Path) -> None:
    async def script(volume: Volume) -> None:
        dead = await volume.leave()
        volume.disk.faults = Faults(capacity_bytes=1)
        drain = await volume.drained()
        assert drain.code == 75
        (left,) = drain.told[-1].left
        assert (left.instance, left.records) == (dead, 0)
        assert "no room" in left.why
        assert volume.stored() == {dead: 4}
        assert not [path for path in volume.spooled() if "/seg-" in path]

    play_volume(script, directory)


def test_two_drainers_share_a_volume(directory: Path) -> None:
    async def script(volume: Volume) -> None:
        dead = [await volume.leave(records) for records in (2, 9, 4)]
        volume.disk.faults = Faults(queue_seconds=0.01)
        drains = [volume.drain(), volume.drain()]
        async with anyio.create_task_group() as tasks:
            for drain in drains:
                tasks.start_soon(drain.run)
        assert [drain.code for drain in drains] == [0, 0]
        assert sum(drain.told[-1].found for drain in drains) == 3
        stored = volume.stored()
        assert {name: stored[name] for name in dead} == volume.left
        assert volume.spooled() == []

    play_volume(script, directory)


def test_a_watcher_takes_what_dies_later_until_it_is_stopped(directory: Path) -> None:
    async def script(volume: Volume) -> None:
        one, two = await volume.leave(2), await volume.leave(4)
        lock = f"{SPOOL}/{two}/LOCK"
        volume.disk.locks.add(lock)
        drain = volume.drain(every_seconds=30.0, admin_socket="/run/admin.sock")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(drain.run)
            await elapse(100)
            assert set(volume.stored()) == {one, drain.drainer.parts.instance.id}  # type: ignore[union-attr]  # it runs
            assert drain.told[-1].phase == "watching"
            volume.disk.locks.discard(lock)
            await elapse(100)
            assert volume.stored()[two] == 5
            status = drain.drainer.status()
            assert isinstance(status, DaemonStatus)
            assert (status.ready, status.not_ready) == (True, ())
            assert [entry.address for entry in status.listeners] == ["/run/admin.sock"]
            drain.stop.set()
        assert drain.code == 0
        own = drain.told[-1].instance or ""
        assert volume.kinds(own) == ["start", "recovered", "recovered", "seal"]
        assert volume.spooled() == []

    play_volume(script, directory)
