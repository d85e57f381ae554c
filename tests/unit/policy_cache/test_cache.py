from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import pairwise

import anyio
import pytest

from gateway import issuing
from gateway.documents import BUNDLE, Refresh
from gateway.errors import ConfigInvalid
from gateway.snapshot import Snapshot
from policy_cache.cache import PolicyCache
from policy_cache.config import CacheConfig
from policy_cache.fetch import FetchFailed
from tests.sim.disk import Faults, PowerCut, SimDisk
from tests.sim.loop import simulate
from tests.unit.policy_cache.policy_world import (
    BUNDLE_A,
    BUNDLE_B,
    OWN_VERSION,
    ROOT_A,
    ROOT_B,
    SCOPE,
    SECOND,
    T0,
    Clock,
    Dice,
    Publisher,
    Source,
    policy,
    signer,
)

HOUR = 3_600
UNREACHABLE = FetchFailed("connect", "refused")


class World:
    """One daemon's cache, its publisher and source, on one simulated disk."""

    def __init__(self, disk: SimDisk | None = None, publisher: Publisher | None = None) -> None:
        self.publisher = publisher or Publisher()
        self.source = Source(self.publisher)
        self.disk = disk or SimDisk()
        self.clock = Clock()
        self.events: list[tuple[str, str]] = []
        self.head_version = 0

    def cache(self, dice: Dice | None = None) -> PolicyCache:
        return PolicyCache(
            self.source,
            self.disk,
            self.clock,
            dice or Dice(),
            CacheConfig(
                scope=SCOPE,
                root_fingerprint=self.publisher.fingerprint,
                directory="/policy",
                own_version=OWN_VERSION,
                threads=False,
            ),
            lambda event, detail: self.events.append((event, detail)),
        )

    def publish(
        self, bundle_version: int = 1, *, lock: str | None = None, refresh: Refresh | None = None
    ) -> None:
        """A head issued now, pinning bundle ``bundle_version``."""
        self.head_version += 1
        bundle = self.publisher.bundle(bundle_version)
        now_us = T0 + round(anyio.current_time() * SECOND)
        head = self.publisher.head(
            bundle,
            self.head_version,
            bundle_version=bundle_version,
            issued_us=now_us,
            expires_us=now_us + 4 * HOUR * SECOND,
            lock=lock,
            refresh=refresh,
        )
        self.source.publish(bundle, head)


def held(cache: PolicyCache) -> Snapshot:
    snapshot = cache.current()
    assert snapshot is not None
    return snapshot


def in_time(world: Callable[[], Awaitable[None]]) -> None:
    simulate(1, world)


async def until(cache: PolicyCache, seconds: float) -> None:
    """Let the refresher run for ``seconds``."""
    with anyio.move_on_after(seconds):
        await cache.run()


def test_a_first_refresh_fetches_root_head_and_bundle() -> None:
    async def main() -> None:
        world = World()
        world.publish()
        cache = world.cache()
        await cache.load()
        assert (cache.current(), cache.status().state) == (None, "empty")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cache.wait_root)
            assert await cache.refresh() == "activated"
        assert cache.root == world.publisher.open_root()
        status = cache.status()
        assert (status.state, status.version, status.root_version) == ("fresh", 1, 1)
        assert [name for _, name in world.source.asked] == ["root 1", "root 2", "head", "bundle"]
        assert [event for event, _ in world.events] == ["policy_activated"]

    in_time(main)


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


def test_the_first_refresh_is_at_once_and_the_next_ones_within_the_interval() -> None:
    async def main() -> None:
        world = World()
        world.publish()
        cache = world.cache(Dice(0.0, 0.99, 0.5))
        await until(cache, 150)
        heads = [at for at, name in world.source.asked if name == "head"]
        waits = [b - a for a, b in pairwise(heads)]
        assert heads[0] < 1
        assert waits == pytest.approx([30.0, 59.7, 45.0], abs=0.2)

    in_time(main)


def test_a_304_for_ever_is_no_freshness() -> None:
    async def main() -> None:
        world = World()
        world.publish()
        cache = world.cache()
        await until(cache, 100)
        assert cache.status().state == "fresh"
        world.source.frozen = True
        await until(cache, 30)
        assert cache.status().state == "stale"
        assert cache.status().freeze_suspected
        await until(cache, 4 * HOUR)
        assert cache.status().state == "expired"
        assert cache.status().failures_in_a_row == 0

    in_time(main)


def test_a_policy_expires_at_the_signed_second_though_nobody_refreshes() -> None:
    async def main() -> None:
        world = World()
        world.publish()
        cache = world.cache()
        await cache.refresh()
        edge = held(cache).expires_us
        assert held(cache).state(edge - 1) == "stale"
        assert held(cache).state(edge) == "expired"

    in_time(main)


def test_a_clock_set_back_neither_rejuvenates_nor_stops_the_ageing() -> None:
    async def main() -> None:
        world = World()
        world.publish()
        cache = world.cache()
        await cache.refresh()
        world.clock.wall_offset_us = -86_400 * SECOND
        assert cache.status().clock_suspect
        world.source.down = UNREACHABLE
        await until(cache, 4 * HOUR + 1)
        assert cache.status().state == "expired"

    in_time(main)


def test_a_head_from_the_future_is_refused_and_the_clock_suspected() -> None:
    async def main() -> None:
        world = World()
        world.clock.wall_offset_us = -3_600 * SECOND
        world.publish()
        cache = world.cache()
        assert "future" in await cache.refresh()
        assert cache.status().clock_suspect
        world.clock.wall_offset_us = 0
        await until(cache, 60)
        assert cache.status().state == "fresh"
        assert not cache.status().clock_suspect

    in_time(main)


def test_a_rollback_is_refused_in_process_and_after_a_restart() -> None:
    async def main() -> None:
        world = World()
        world.publish(1)
        old = world.source.current
        world.publish(2)
        cache = world.cache()
        await cache.load()
        await cache.refresh()
        world.source.current = old
        await anyio.lowlevel.checkpoint()
        assert "rollback" in await _later(cache)
        await cache.aclose()
        again = world.cache()
        await again.load()
        assert "rollback" in await again.refresh()
        assert held(again).version == 2
        assert again.status().counters["rejected_rollback"] == 1
        assert any("rollback" in name for name in world.disk.entries)

    in_time(main)


async def _later(cache: PolicyCache) -> str:
    """Refresh once the rate limit on asking allows it again."""
    with anyio.move_on_after(2):
        await anyio.Event().wait()
    return await cache.refresh()


def test_two_heads_of_one_version_are_refused_and_reported() -> None:
    async def main() -> None:
        world = World()
        world.publish(1)
        cache = world.cache()
        await cache.refresh()
        world.head_version = 0
        world.publish(2)
        assert "equivocation" in await _later(cache)
        assert cache.status().equivocation
        assert held(cache).version == 1

    in_time(main)


def test_a_lock_takes_effect_before_anything_else_is_fetched() -> None:
    async def main() -> None:
        world = World()
        world.publish(1)
        cache = world.cache()
        await cache.load()
        await cache.refresh()
        unlocked = world.source.current
        world.publish(2, lock="incident 7")
        world.source.bundles.clear()
        cut = False

        async def streams() -> None:
            nonlocal cut
            await cache.wait_locked()
            cut = True

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(streams)
            assert "unreachable" in await _later(cache)
        assert cut
        assert (held(cache).version, held(cache).lock_reason) == (1, "incident 7")
        assert cache.status().state == "locked"
        world.source.current = unlocked
        assert "rollback" in await _later(cache)
        assert cache.status().state == "locked"
        world.publish(2)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cache.wait_unlocked)
            assert await _later(cache) == "activated"
        assert (held(cache).version, cache.status().state) == (2, "fresh")

    in_time(main)


def test_a_lock_is_still_there_after_a_restart() -> None:
    async def main() -> None:
        world = World()
        world.publish(1)
        cache = world.cache()
        await cache.load()
        await cache.refresh()
        world.publish(1, lock="stop")
        assert await _later(cache) == "activated"
        await cache.aclose()
        world.source.down = UNREACHABLE
        again = world.cache()
        await again.load()
        assert again.status().state == "locked"
        await again.wait_locked()

    in_time(main)


def test_a_refused_bundle_changes_nothing_and_is_not_downloaded_again() -> None:
    async def main() -> None:
        world = World()
        world.publish(1)
        cache = world.cache()
        await cache.refresh()
        good = world.publisher.bundle(2)
        bad = issuing.sign(BUNDLE, good.payload.replace(b'["*"]', b'["x"]', 1), [BUNDLE_A])
        world.source.publish(bad, world.publisher.head(bad, 2, bundle_version=2))
        assert "is no operation" in await _later(cache)
        await until(cache, 200)
        assert held(cache).version == 1
        assert world.source.count("bundle") == 2
        assert cache.status().counters["rejected_policy"] > 2
        world.head_version = 2
        world.publish(3)
        await until(cache, 61)
        assert held(cache).version == 3

    in_time(main)


def test_a_new_root_is_found_when_a_head_needs_it_and_bundles_are_verified_anew() -> None:
    async def main() -> None:
        world = World()
        world.publish(1)
        cache = world.cache()
        await cache.load()
        await cache.refresh()
        new_head = signer(9)
        world.publisher.add_root(head=new_head, bundles=(BUNDLE_B,))
        bundle = world.publisher.bundle(1)
        head = world.publisher.head(bundle, 2, by=new_head)
        world.source.publish(bundle, head)
        # The bundle in force was signed by a key that the new root no longer names.
        assert "signature" in await _later(cache)
        resigned = world.publisher.bundle(1, signers=(BUNDLE_B,))
        world.source.publish(resigned, head)
        assert await _later(cache) in ("refreshed", "activated")
        assert (held(cache).root_version, held(cache).head_version) == (2, 2)
        await cache.aclose()
        again = world.cache()
        await again.load()
        assert again.status().root_version == 2
        assert held(again).head_version == 2

    in_time(main)


def test_an_expired_root_accepts_no_head_until_its_successor_is_there() -> None:
    async def main() -> None:
        publisher = Publisher()
        publisher.roots.clear()
        publisher.add_root(expires_us=T0 + 10 * SECOND)
        world = World(publisher=publisher)
        world.publish(1)
        cache = world.cache()
        await cache.refresh()
        await until(cache, 100)
        assert cache.status().state == "expired"
        assert cache.status().counters["rejected_expired"] > 0
        publisher.add_root()
        world.publish(1)
        await until(cache, 61)
        assert cache.status().state == "fresh"

    in_time(main)


def test_errors_back_off_and_the_interval_returns_after_a_success() -> None:
    async def main() -> None:
        world = World()
        world.publish()
        cache = world.cache(Dice(0.999))
        world.source.down = UNREACHABLE
        await until(cache, 20)
        asked = [at for at, name in world.source.asked if name == "root 1"]
        waits = [b - a for a, b in pairwise(asked)]
        assert waits == pytest.approx([1, 2, 4, 8], abs=0.1)
        assert cache.status().failures_in_a_row == 5
        world.source.down = None
        await until(cache, 5)
        assert cache.status().failures_in_a_row == 0

    in_time(main)


def test_a_server_cannot_hold_a_refresh_off_for_longer_than_half_of_the_life() -> None:
    async def main() -> None:
        world = World()
        world.publish()
        cache = world.cache()
        await cache.refresh()
        world.source.down = FetchFailed("status", "503", 86_400.0)
        await until(cache, 2 * HOUR + 60)
        asked = sorted({round(at) for at, _ in world.source.asked})
        assert asked == [0, pytest.approx(2 * HOUR, abs=5)]

    in_time(main)


def test_asking_by_hand_is_limited_and_a_hint_wakes_the_refresher() -> None:
    async def main() -> None:
        world = World()
        world.publish()
        cache = world.cache()
        assert await cache.refresh() == "activated"
        assert await cache.refresh() == "too_soon"
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cache.run)
            with anyio.move_on_after(5):
                await anyio.Event().wait()
            before = world.source.count("head")
            world.publish(2)
            cache.hint()
            with anyio.move_on_after(1):
                await anyio.Event().wait()
            assert world.source.count("head") == before + 1
            assert held(cache).version == 2
            tasks.cancel_scope.cancel()

    in_time(main)


def test_a_full_disk_stops_no_newer_policy_and_is_mended_later() -> None:
    async def main() -> None:
        world = World(SimDisk(faults=Faults(capacity_bytes=100)))
        world.publish()
        cache = world.cache()
        await cache.load()
        assert await cache.refresh() == "activated"
        assert cache.status().persist_degraded
        assert "policy_persist_failed" in [event for event, _ in world.events]
        world.disk.faults.capacity_bytes = None
        assert await _later(cache) == "not_modified"
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
            await _later(cache)
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


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"scope": "Acme/prod"}, "policy scope"),
        ({"scope": "acme//prod"}, "policy scope"),
        ({"scope": "acme/../prod"}, "policy scope"),
        ({"root_fingerprint": "sha256:abc"}, "root fingerprint"),
        ({"refresh_seconds_min": 61.0}, "minimum is above"),
        ({"refresh_seconds_min": 0.0}, "not positive"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(
    changes: dict[str, str | float], said: str
) -> None:
    good: dict[str, str | float] = {
        "scope": SCOPE,
        "root_fingerprint": "sha256:" + "0" * 64,
        "directory": "/policy",
        "own_version": OWN_VERSION,
    }
    with pytest.raises(ConfigInvalid, match=said):
        CacheConfig(**(good | changes))  # type: ignore[arg-type]  # names and types vary


def test_the_policy_factory_of_these_tests_makes_usable_policies() -> None:
    assert policy().grants[0].id == "all"
