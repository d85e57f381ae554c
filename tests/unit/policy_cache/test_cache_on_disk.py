from __future__ import annotations

import pytest

from tests.sim.disk import Faults, PowerCut, SimDisk
from tests.unit.policy_cache.cache_world import (
    UNREACHABLE,
    World,
    held,
    in_time,
    later,
)
from tests.unit.policy_cache.policy_world import (
    ROOT_A,
    ROOT_B,
    T0,
    Publisher,
    signer,
)


def test_a_restart_without_the_service_uses_the_verified_copy_on_disk() -> None:
    async def main() -> None:
        world = World()
        world.publish()
        first = world.cache()
        await first.load()
        await first.refresh()
        await first.aclose()
        world.source.down = UNREACHABLE
        again = world.cache()
        await again.load()
        assert held(again).digest == held(first).digest
        assert again.status().state == "fresh"
        assert (await again.refresh()).startswith("unreachable")
        assert held(again).version == 1
        assert again.signed_time_us() >= T0

    in_time(main)


def test_a_lock_is_still_there_after_a_restart() -> None:
    async def main() -> None:
        world = World()
        world.publish(1)
        cache = world.cache()
        await cache.load()
        await cache.refresh()
        world.publish(1, lock="stop")
        assert await later(cache) == "activated"
        await cache.aclose()
        world.source.down = UNREACHABLE
        again = world.cache()
        await again.load()
        assert again.status().state == "locked"
        await again.wait_locked()

    in_time(main)


def test_a_lock_whose_bundle_never_came_is_still_there_after_a_restart_and_can_be_lifted() -> None:
    async def main() -> None:
        world = World()
        world.publish(1)
        cache = world.cache()
        await cache.load()
        await cache.refresh()
        world.publish(2, lock="stop")
        world.source.bundles.clear()
        await later(cache)
        await cache.aclose()
        world.source.down = UNREACHABLE
        again = world.cache()
        await again.load()
        assert (again.status().state, held(again).version) == ("locked", 1)
        world.source.down = None
        world.publish(2)
        assert await later(again) == "activated"
        await again.aclose()
        third = world.cache()
        await third.load()
        assert (third.status().state, held(third).version) == ("fresh", 2)

    in_time(main)


def test_a_full_disk_stops_no_newer_policy_and_is_mendedlater() -> None:
    async def main() -> None:
        world = World(SimDisk(faults=Faults(capacity_bytes=100)))
        world.publish()
        cache = world.cache()
        await cache.load()
        assert await cache.refresh() == "activated"
        assert cache.status().persist_degraded
        assert "policy_persist_failed" in [event for event, _ in world.events]
        world.disk.faults.capacity_bytes = None
        assert await later(cache) == "not_modified"
        assert not cache.status().persist_degraded
        await cache.aclose()
        world.source.down = UNREACHABLE
        again = world.cache()
        await again.load()
        assert held(again).version == 1

    in_time(main)


@pytest.mark.parametrize("write", range(1, 6))
def test_one_failed_write_leaves_no_head_without_what_it_rests_on(write: int) -> None:
    async def main() -> None:
        world = World(SimDisk(faults=Faults(write_error_at=write)))
        world.publish()
        cache = world.cache()
        await cache.load()
        assert await cache.refresh() == "activated"
        degraded = cache.status().persist_degraded
        await cache.aclose()
        world.source.down = UNREACHABLE
        again = world.cache()
        await again.load()
        assert degraded or held(again).version == 1
        assert not any("policy_rejected" in event for event in world.events)

    in_time(main)


def test_a_second_process_on_the_same_directory_writes_nothing() -> None:
    async def main() -> None:
        world = World()
        world.publish(1)
        first, second = world.cache(), world.cache()
        await first.load()
        await first.refresh()
        await second.load()
        assert held(second).version == 1
        assert second.status().persist_degraded
        operations = world.disk.operations
        world.publish(2)
        assert await second.refresh() == "activated"
        assert world.disk.operations == operations

    in_time(main)


@pytest.mark.parametrize(
    "path", ["/policy/roots/1.json", "/policy/head.json", "/policy/state.json", "blob"]
)
def test_a_damaged_file_is_never_used_and_the_source_mends_it(path: str) -> None:
    async def main() -> None:
        world = World()
        world.publish(1)
        first = world.cache()
        await first.load()
        await first.refresh()
        await first.aclose()
        name = path if path != "blob" else next(n for n in world.disk.entries if "/sha256/" in n)
        world.disk.flip_bit(name, 8 * 300 if path != "/policy/state.json" else 1)
        again = world.cache()
        await again.load()
        snapshot = again.current()
        assert snapshot is None or snapshot.version == 1
        assert await again.refresh() in ("activated", "refreshed", "unchanged")
        assert held(again).version == 1
        await again.aclose()
        world.source.down = UNREACHABLE
        third = world.cache()
        await third.load()
        assert held(third).version == 1

    in_time(main)


def _crash_at(operation: int) -> tuple[int | None, bool]:
    """Bundle version after a power cut at ``operation`` of a change 1 → 2, and if it came."""
    disk = SimDisk(seed=operation)
    publisher = Publisher()
    cut = False

    async def before() -> None:
        nonlocal cut
        world = World(disk, publisher)
        world.publish(1)
        cache = world.cache()
        await cache.load()
        await cache.refresh()
        disk.faults.cut_at_operation = disk.operations + operation
        world.publish(2)
        try:
            await later(cache)
        except PowerCut:
            cut = True

    in_time(before)
    left = disk.cut(0.5)
    version: list[int | None] = []

    async def after() -> None:
        world = World(left, publisher)
        world.source.down = UNREACHABLE
        cache = world.cache()
        await cache.load()
        version.append(cache.status().version)

    in_time(after)
    return version[0], cut


def test_wherever_the_power_fails_the_old_or_the_new_policy_is_there() -> None:
    operation, seen = 0, set()
    while True:
        operation += 1
        version, cut = _crash_at(operation)
        assert version in (1, 2)
        seen.add(version)
        if not cut:
            break
    assert operation > 10
    assert seen == {1, 2}


def test_the_pod_whose_root_was_replaced_starts_from_the_pinned_one() -> None:
    async def main() -> None:
        first = World()
        first.publish(1)
        cache = first.cache()
        await cache.load()
        await cache.refresh()
        await cache.aclose()
        other = Publisher()
        other.roots.clear()
        other.add_root(keys=(ROOT_B, ROOT_A, signer(8)))
        world = World(first.disk, other)
        world.publish(1)
        again = world.cache()
        await again.load()
        assert again.current() is None
        assert world.events[0][0] == "policy_rejected"
        assert await again.refresh() == "activated"

    in_time(main)


def test_nothing_is_accepted_under_a_root_that_one_operator_holds_where_that_is_not_enough() -> (
    None
):
    async def main() -> None:
        world = World()
        world.publish()
        trusting = world.cache()
        await trusting.load()
        assert await trusting.refresh() == "activated"
        await trusting.aclose()
        # Neither what lies on the disk nor what the source has.
        cache = world.cache(require_offline_root=True)
        await cache.load()
        assert cache.current() is None
        said = await later(cache)
        assert "custody" in said, said
        assert cache.current() is None
        world.publisher.add_root(custody="offline")
        world.publish()
        assert await later(cache) == "activated"
        await cache.aclose()
        again = world.cache(require_offline_root=True)
        await again.load()
        assert held(again).root_version == 2

    in_time(main)
