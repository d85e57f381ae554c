"""What a cache says of the newest policy: its times, and the last refusal."""

from __future__ import annotations

from policy_cache.progress import Refusal
from tests.unit.policy_cache.cache_world import World, in_time, later
from tests.unit.policy_cache.policy_world import SECOND, T0


def test_an_activation_has_its_times_and_is_news() -> None:
    async def main() -> None:
        world = World()
        world.publish()
        cache = world.cache()
        await cache.load()
        news = cache.progress.news
        await cache.refresh()
        progress = cache.progress
        assert news.is_set()
        assert not progress.news.is_set()
        assert progress.received_us is not None
        assert progress.verified_us is not None
        assert progress.activated_us is not None
        assert T0 <= progress.received_us <= progress.verified_us < progress.activated_us, (
            "what is in force is on disk"
        )
        assert progress.refused is None

    in_time(main)


def test_a_newer_head_for_the_same_bundle_is_no_news() -> None:
    async def main() -> None:
        world = World()
        world.publish()
        cache = world.cache()
        await cache.load()
        await cache.refresh()
        news = cache.progress.news
        world.publish()
        assert await later(cache) == "refreshed"
        assert not news.is_set()
        first_us = cache.progress.activated_us
        world.publish(lock="drill")
        assert await later(cache) == "activated"
        assert news.is_set(), "a lock is"
        assert first_us is not None
        assert cache.progress.activated_us is not None
        assert cache.progress.activated_us > first_us + SECOND

    in_time(main)


def test_a_refused_bundle_is_named_once_and_past_with_the_next() -> None:
    async def main() -> None:
        world = World()
        world.publish()
        cache = world.cache()
        await cache.load()
        await cache.refresh()
        world.publish(2)
        pinned = list(world.source.bundles)[-1]
        good = world.source.bundles[pinned]
        world.source.bundles[pinned] = world.publisher.bundle(3).envelope
        news = cache.progress.news
        assert (await later(cache)).startswith("rejected")
        refused = cache.progress.refused
        assert refused is not None
        assert (refused.head_version, refused.version, refused.digest) == (2, 2, pinned)
        assert news.is_set()
        again = cache.progress.news
        await later(cache)
        assert not again.is_set(), "the same refusal is no news"
        assert cache.status().version == 1
        world.source.bundles[pinned] = good
        assert await later(cache) == "activated"
        assert cache.progress.refused is None

    in_time(main)


def test_a_refused_head_says_nothing_of_what_it_pinned() -> None:
    async def main() -> None:
        world = World()
        world.publish()
        cache = world.cache()
        await cache.load()
        await cache.refresh()
        world.source.current = world.source.current.replace(b'"sig":"', b'"sig":"A', 1)
        assert (await later(cache)).startswith("rejected")
        refused = cache.progress.refused
        assert refused is not None
        assert refused == Refusal(refused.code, refused.time_us)

    in_time(main)


def test_what_came_from_the_disk_has_no_times() -> None:
    async def main() -> None:
        world = World()
        world.publish()
        first = world.cache()
        await first.load()
        await first.refresh()
        await first.aclose()
        second = world.cache()
        await second.load()
        assert second.status().version == 1
        assert second.progress.activated_us is None
        await second.aclose()

    in_time(main)
