"""What goes wrong on the node, in the simulated world: its disk, its clock, its other processes."""

from __future__ import annotations

import pytest

from tests.sim.disk import Faults, PowerCut, SimDisk
from tests.sim.loop import elapse
from tests.sim.policy_faults_world import HOUR, FaultWorld, fault_world, in_world
from tests.unit.policy_cache.cache_world import UNREACHABLE, World, held, later
from tests.unit.policy_cache.policy_world import SECOND, Publisher

_DAY_US = 86_400 * SECOND


@pytest.mark.parametrize("how", ["full", "no write succeeds"])
def test_a_disk_that_takes_nothing_stops_no_newer_policy_and_raises_its_alarm(how: str) -> None:
    async def main() -> None:
        async with fault_world() as made:
            disk = made.world.disk
            disk.faults = Broken() if how == "no write succeeds" else Faults(capacity_bytes=0)
            made.world.publish(2)
            await elapse(61)
            assert held(made.cache).version == 2
            assert "policy_not_kept" in made.status.alarms
            disk.faults = Faults()
            await elapse(61)
            assert "policy_not_kept" not in made.status.alarms
            await made.cache.aclose()
            again = made.world.cache()
            await again.load()
            assert held(again).version == 2

    in_world(main)


class Broken(Faults):
    """Every write fails, as on a volume that was mounted read-only after an error."""

    def __getattribute__(self, name: str) -> object:
        # The next write is always the one that fails.
        return _Any() if name == "write_error_at" else super().__getattribute__(name)


class _Any:
    def __eq__(self, other: object) -> bool:
        return isinstance(other, int)

    def __hash__(self) -> int:
        return 0


def _after_cut(operation: int, change: str) -> tuple[int | None, str, bool]:
    """(version, state, whether the cut came) after a power cut before that ``operation``."""
    disk, publisher = SimDisk(seed=operation), Publisher()
    cut = False
    seen: list[tuple[int | None, str]] = []

    async def before() -> None:
        nonlocal cut
        world = World(disk, publisher)
        world.publish(1)
        cache = world.cache()
        await cache.load()
        await cache.refresh()
        disk.faults.cut_at_operation = disk.operations + operation
        if change == "root":
            publisher.add_root()
        world.publish(2, lock="incident" if change == "lock" else None)
        try:
            await later(cache)
        except PowerCut:
            cut = True

    async def after() -> None:
        world = World(left, publisher)
        world.source.down = UNREACHABLE
        cache = world.cache()
        await cache.load()
        seen.append((cache.status().version, cache.status().state))

    in_world(before)
    for keep in (0.0, 0.5, 1.0):
        left = disk.cut(keep)
        in_world(after)
    assert all(state != "empty" for _, state in seen)
    return (*seen[-1], cut)


@pytest.mark.parametrize("change", ["bundle", "root", "lock"])
def test_a_crash_at_any_step_of_keeping_leaves_the_old_or_the_new_and_never_none(
    change: str,
) -> None:
    operation, seen = 0, set()
    while True:
        operation += 1
        version, state, cut = _after_cut(operation, change)
        assert version in (1, 2)
        seen.add((version, state))
        if not cut:
            break
    assert operation > 10
    assert {version for version, _ in seen} == {1, 2}
    assert ("locked" in {state for _, state in seen}) == (change == "lock")


@pytest.mark.parametrize("damage", ["bit", "zeros", "short", "empty"])
@pytest.mark.parametrize(
    "path", ["/policy/roots/1.json", "/policy/head.json", "/policy/state.json", "blob"]
)
def test_a_file_that_is_damaged_at_a_start_is_never_used_and_is_mended(
    path: str, damage: str
) -> None:
    async def main() -> None:
        async with fault_world() as made:
            disk = made.world.disk
            await made.cache.aclose()
            name = path if path != "blob" else next(n for n in disk.paths() if "/sha256/" in n)
            content = disk.content(name)
            spoilt = {
                "bit": content[:40] + bytes([content[40] ^ 1]) + content[41:],
                "zeros": bytes(len(content)),
                "short": content[: len(content) // 2],
                "empty": b"",
            }[damage]
            disk.put(name, spoilt)
            again = made.world.cache(source=made.source)
            await again.load()
            loaded = again.current()
            assert loaded is None or loaded.version == 1
            assert await again.refresh() in ("activated", "refreshed", "unchanged")
            await again.aclose()
            third = made.world.cache()
            await third.load()
            assert held(third).version == 1

    in_world(main)


def test_a_clock_a_day_back_neither_rejuvenates_nor_stops_the_ageing() -> None:
    async def main() -> None:
        async with fault_world() as made:
            made.down()
            made.world.clock.wall_offset_us = -_DAY_US
            await elapse(120)
            assert (made.status.state, made.status.clock_suspect) == ("stale", True)
            await elapse(4 * HOUR)
            assert made.status.state == "expired"
            made.world.clock.wall_offset_us = 0
            made.up()
            made.world.publish(2)
            await elapse(61)
            assert (made.status.state, made.status.clock_suspect) == ("fresh", False)

    in_world(main)


def test_a_clock_a_year_ahead_fails_closed_and_leaves_no_mark_when_it_is_right_again() -> None:
    async def main() -> None:
        async with fault_world() as made:
            made.world.clock.wall_offset_us = 366 * _DAY_US
            assert made.status.state == "expired"
            made.world.publish(2)
            await elapse(120)
            assert held(made.cache).version == 1
            made.world.clock.wall_offset_us = 0
            made.world.publish(2)
            await elapse(61)
            assert (made.status.state, held(made.cache).version) == ("fresh", 2)
            await made.cache.aclose()
            again = made.world.cache()
            await again.load()
            assert again.status().state == "fresh"

    in_world(main)


def test_of_two_processes_on_one_directory_the_second_reads_and_writes_nothing() -> None:
    async def main() -> None:
        async with fault_world() as made:
            second = FaultWorld.__new__(FaultWorld)
            second.__dict__.update(made.__dict__)
            second.cache = made.world.cache(source=made.source)
            await second.cache.load()
            assert held(second.cache).version == 1
            assert "policy_not_kept" in second.status.alarms
            made.down()
            operations = made.world.disk.operations
            made.up()
            made.world.publish(2)
            assert await second.cache.refresh() == "activated"
            assert made.world.disk.operations == operations

    in_world(main)


def test_an_older_copy_that_was_put_back_is_bounded_by_the_life_of_its_head() -> None:
    async def main() -> None:
        async with fault_world() as made:
            old = {path: made.world.disk.content(path) for path in made.world.disk.paths()}
            made.world.publish(2)
            await elapse(61)
            await made.cache.aclose()
            for path, content in old.items():
                made.world.disk.put(path, content)
            made.down()
            again = made.world.cache(source=made.source)
            await again.load()
            # Nothing on this disk can tell that it is old: the signed expiry can.
            assert held(again).version == 1
            await elapse(4 * HOUR)
            assert again.status().state == "expired"
            made.up()
            made.world.publish(2)
            await again.refresh()
            assert held(again).version == 2

    in_world(main)
