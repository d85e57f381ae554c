"""A cache whose head offers a candidate: what it takes, what it falls back to, what it reports."""

from __future__ import annotations

import anyio
import pytest

from gateway import documents, issuing
from gateway.issuing import Issued
from gateway.policy import decode_bundle
from policy_cache.cache import PolicyCache
from tests.unit.policy_cache.cache_world import HOUR, UNREACHABLE, World, held, in_time, later
from tests.unit.policy_cache.policy_world import BUNDLE_A, SECOND, T0, candidate, policy

PERCENT = 50
TAKES, TAKES_NONE = "eu-3", "eu-1"
"""Their places are 38 and 91."""


class Canaries(World):
    """Its caches have names, and its heads may offer a candidate."""

    def publish_both(
        self, pinned: int, offered: Issued | None, percent: int = PERCENT, lock: str | None = None
    ) -> None:
        self.head_version += 1
        stable = self.publisher.bundle(pinned)
        now_us = T0 + round(anyio.current_time() * SECOND)
        new = None if offered is None else candidate(offered, version_of(offered), percent)
        head = self.publisher.head(
            stable,
            self.head_version,
            bundle_version=pinned,
            issued_us=now_us,
            expires_us=now_us + 4 * HOUR * SECOND,
            candidate=new,
            lock=lock,
        )
        if offered is not None:
            self.source.bundles[offered.digest] = offered.envelope
        self.source.publish(stable, head)

    async def begun(self, name: str | None = TAKES) -> PolicyCache:
        """A process of the daemon ``name`` on this world's disk."""
        cache = self.cache(placement=name)
        await cache.load()
        return cache


def version_of(bundle: Issued) -> int:
    return decode_bundle(bundle.payload).version


def refused_by_every_daemon(world: World, version: int) -> Issued:
    """A bundle in a mode that no daemon has, properly signed."""
    good = world.publisher.bundle(version)
    payload = good.payload.replace(b'"mode":"enforce"', b'"mode":"shadow"', 1)
    return issuing.sign(documents.BUNDLE, payload, [BUNDLE_A])


@pytest.mark.parametrize(
    ("name", "version", "channel"), [(TAKES, 2, "canary"), (TAKES_NONE, 1, "stable")]
)
def test_a_daemon_takes_the_candidate_if_its_place_is_below_the_percentage(
    name: str, version: int, channel: str
) -> None:
    async def main() -> None:
        world = Canaries()
        world.publish_both(1, world.publisher.bundle(2))
        cache = await world.begun(name)
        assert await cache.refresh() == "activated"
        assert (held(cache).version, cache.progress.channel) == (version, channel)

    in_time(main)


@pytest.mark.parametrize(("name", "version"), [(TAKES, 2), (TAKES_NONE, 1)])
def test_a_restart_keeps_the_choice_without_the_service(name: str, version: int) -> None:
    async def main() -> None:
        world = Canaries()
        world.publish_both(1, world.publisher.bundle(2))
        cache = await world.begun(name)
        await cache.refresh()
        await cache.aclose()
        world.source.down = UNREACHABLE
        again = await world.begun(name)
        assert held(again).version == version
        assert again.progress.channel == cache.progress.channel

    in_time(main)


def test_a_withdrawn_candidate_gives_way_to_the_pinned_bundle_also_after_a_restart() -> None:
    async def main() -> None:
        world = Canaries()
        world.publish_both(1, world.publisher.bundle(2))
        cache = await world.begun()
        await cache.refresh()
        world.publish_both(1, None)
        assert await later(cache) == "activated"
        assert (held(cache).version, cache.progress.channel) == (1, "stable")
        await cache.aclose()
        world.source.down = UNREACHABLE
        again = await world.begun()
        assert held(again).version == 1

    in_time(main)


def test_a_promoted_candidate_stays_in_force_and_its_channel_is_told() -> None:
    async def main() -> None:
        world = Canaries()
        world.publish_both(1, world.publisher.bundle(2))
        cache = await world.begun()
        await cache.refresh()
        news = cache.progress.news
        world.publish_both(2, None)
        assert await later(cache) == "refreshed"
        assert (held(cache).version, cache.progress.channel) == (2, "stable")
        assert news.is_set()
        world.publish_both(1, None)
        assert "rollback" in await later(cache)
        assert held(cache).version == 2

    in_time(main)


def test_what_was_offered_under_a_version_is_remembered_over_a_restart() -> None:
    async def main() -> None:
        world = Canaries()
        world.publish_both(1, world.publisher.bundle(3))
        cache = await world.begun()
        await cache.refresh()
        world.publish_both(1, None)
        await later(cache)
        await cache.aclose()
        again = await world.begun()
        world.publish_both(1, world.publisher.bundle(3, policy(show_rule_ids=True)))
        assert "equivocation" in await later(again)
        world.publish_both(1, world.publisher.bundle(2))
        assert "rollback" in await later(again)
        assert held(again).version == 1

    in_time(main)


def test_a_refused_candidate_gives_way_to_the_pinned_bundle_and_is_reported() -> None:
    async def main() -> None:
        world = Canaries()
        bad = refused_by_every_daemon(world, 2)
        world.publish_both(1, bad)
        cache = await world.begun()
        assert await cache.refresh() == "activated"
        refused = cache.progress.refused
        assert refused is not None
        assert (refused.code, refused.version, refused.digest) == ("unsupported", 2, bad.digest)
        assert (held(cache).version, cache.progress.channel) == (1, "stable")
        told = [detail for event, detail in world.events if event == "policy_rejected"]
        assert len(told) == 1
        assert "candidate passed over" in told[0]
        world.publish_both(1, bad)
        assert await later(cache) == "refreshed"
        assert held(cache).head_version == 2, "refreshing goes on"
        assert cache.progress.refused is not None
        assert await later(cache) == "not_modified"
        assert world.source.count("bundle") == 2, "the candidate once, the pinned one once"
        assert [event for event, _ in world.events].count("policy_rejected") == 1
        await cache.aclose()
        world.source.down = UNREACHABLE
        again = await world.begun()
        assert held(again).version == 1
        world.source.down = None
        await later(again)
        assert again.progress.refused is not None, "reported again by the next process"
        world.publish_both(1, None)
        await later(again)
        assert again.progress.refused is None

    in_time(main)


def test_a_candidate_that_does_not_come_is_asked_for_again_and_stops_no_refresh() -> None:
    async def main() -> None:
        world = Canaries()
        new = world.publisher.bundle(2)
        world.publish_both(1, new)
        del world.source.bundles[new.digest]
        cache = await world.begun()
        assert await cache.refresh() == "activated"
        assert held(cache).version == 1
        assert cache.progress.refused is None
        world.source.bundles[new.digest] = new.envelope
        assert await later(cache) == "activated"
        assert (held(cache).version, cache.progress.channel) == (2, "canary")

    in_time(main)


def test_a_candidate_that_is_damaged_on_disk_is_fetched_again_after_the_restart() -> None:
    async def main() -> None:
        world = Canaries()
        new = world.publisher.bundle(2)
        world.publish(1)
        cache = await world.begun()
        await cache.refresh()
        world.publish_both(1, new)
        await later(cache)
        await cache.aclose()
        world.disk.put(f"/policy/blobs/sha256/{new.digest[7:]}", b"damaged")
        again = await world.begun()
        assert held(again).version == 1
        assert await again.refresh() == "activated"
        assert held(again).version == 2

    in_time(main)


def test_a_lock_beside_a_candidate_stops_calls_before_the_candidate_is_there() -> None:
    async def main() -> None:
        world = Canaries()
        world.publish(1)
        cache = await world.begun()
        await cache.refresh()
        new = world.publisher.bundle(2)
        world.publish_both(1, new, lock="stop")
        world.source.bundles.clear()
        await later(cache)
        assert held(cache).locked

    in_time(main)


def test_a_raised_percentage_adds_a_daemon() -> None:
    async def main() -> None:
        world = Canaries()
        new = world.publisher.bundle(2)
        world.publish_both(1, new)
        cache = await world.begun(TAKES_NONE)
        await cache.refresh()
        world.publish_both(1, new, percent=100)
        assert await later(cache) == "activated"
        assert held(cache).version == 2

    in_time(main)
