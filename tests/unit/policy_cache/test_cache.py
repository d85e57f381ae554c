from __future__ import annotations

from itertools import pairwise

import anyio
import pytest

from gateway import issuing
from gateway.documents import BUNDLE
from gateway.errors import ConfigInvalid
from policy_cache.config import CacheConfig
from policy_cache.fetch import FetchFailed
from tests.unit.policy_cache.cache_world import (
    HOUR,
    UNREACHABLE,
    World,
    held,
    in_time,
    later,
    until,
)
from tests.unit.policy_cache.policy_world import (
    BUNDLE_A,
    BUNDLE_B,
    OWN_VERSION,
    SCOPE,
    SECOND,
    T0,
    Dice,
    Publisher,
    signer,
)


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
        assert "rollback" in await later(cache)
        await cache.aclose()
        again = world.cache()
        await again.load()
        assert "rollback" in await again.refresh()
        assert held(again).version == 2
        assert again.status().counters["rejected_rollback"] == 1
        assert any("rollback" in name for name in world.disk.entries)

    in_time(main)


def test_two_heads_of_one_version_are_refused_and_reported() -> None:
    async def main() -> None:
        world = World()
        world.publish(1)
        cache = world.cache()
        await cache.refresh()
        world.head_version = 0
        world.publish(2)
        assert "equivocation" in await later(cache)
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
            assert "unreachable" in await later(cache)
        assert cut
        assert (held(cache).version, held(cache).lock_reason) == (1, "incident 7")
        assert cache.status().state == "locked"
        world.source.current = unlocked
        assert "rollback" in await later(cache)
        assert cache.status().state == "locked"
        world.publish(2)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cache.wait_unlocked)
            assert await later(cache) == "activated"
        assert (held(cache).version, cache.status().state) == (2, "fresh")

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
        assert "is no operation" in await later(cache)
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
        assert "signature" in await later(cache)
        resigned = world.publisher.bundle(1, signers=(BUNDLE_B,))
        world.source.publish(resigned, head)
        assert await later(cache) in ("refreshed", "activated")
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
        assert asked == [0, pytest.approx(2 * HOUR - 30, abs=5)]

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
