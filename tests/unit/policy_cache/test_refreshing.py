"""When the refresher asks (long polls, hints, haste when stale), and what it says of troubles."""

from __future__ import annotations

from itertools import pairwise

import anyio
import pytest

from gateway.issuing import Issued
from policy_cache.cache import PolicyCache
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
from tests.unit.policy_cache.policy_world import Dice, Source


def heads(world: World) -> list[float]:
    return [at for at, name in world.source.asked if name == "head"]


def flags(cache: PolicyCache) -> tuple[str, ...]:
    return cache.status().alarms


def test_a_publication_is_in_force_at_once_where_the_source_can_wait() -> None:
    async def main() -> None:
        world = World()
        world.source.waits = True
        world.publish(1)
        cache = world.cache()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cache.run)
            for version in range(2, 6):
                await until_now(5.0)
                world.publish(version)
                await until_now(0.1)
                assert held(cache).version == version
            await until_now(5.0)
            world.publish(6, lock="incident")
            await until_now(0.1)
            assert cache.status().state == "locked"
            tasks.cancel_scope.cancel()

    in_time(main)


async def until_now(seconds: float) -> None:
    with anyio.move_on_after(seconds):
        await anyio.Event().wait()


def test_a_source_that_waits_is_asked_no_more_often_than_one_that_does_not() -> None:
    async def main() -> None:
        world = World()
        world.source.waits = True
        world.publish()
        await until(world.cache(), 110)
        waits = [b - a for a, b in pairwise(heads(world))]
        assert waits == pytest.approx([45.0, 45.0], abs=0.1)

    in_time(main)


def test_long_polls_that_are_answered_for_nothing_make_no_loop() -> None:
    class Hasty(Source):
        async def changed(self, _etag: str, _seconds: float, /) -> bool:
            return True

    async def main() -> None:
        world = World()
        world.source = Hasty(world.publisher)
        world.publish()
        await until(world.cache(), 110)
        assert heads(world) == pytest.approx([0.0, 1.0, 46.0, 47.0, 92.0, 93.0], abs=0.1)

    in_time(main)


def test_a_loop_of_hints_asks_once_a_second() -> None:
    async def main() -> None:
        world = World()
        world.publish()
        cache = world.cache()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cache.run)
            for _ in range(100):
                await until_now(0.1)
                cache.hint()
            tasks.cancel_scope.cancel()
        assert 8 <= len(heads(world)) <= 11

    in_time(main)


def test_a_stale_policy_is_asked_after_twice_as_often() -> None:
    async def main() -> None:
        world = World()
        world.publish()
        world.source.frozen = False
        cache = world.cache(Dice(0.0))
        await until(cache, 400)
        waits = [b - a for a, b in pairwise(heads(world))]
        assert waits[:4] == pytest.approx([30.0] * 4, abs=0.1)
        assert waits[5:] == pytest.approx([15.0] * len(waits[5:]), abs=0.1)

    in_time(main)


def test_those_who_are_told_to_wait_together_do_not_come_back_together() -> None:
    async def second_try(fraction: float) -> float:
        world = World()
        world.source.down = FetchFailed("status", "503", 20.0)
        began = anyio.current_time()
        await until(world.cache(Dice(fraction)), 40)
        return [at - began for at, _ in world.source.asked][1]

    async def main() -> None:
        assert await second_try(0.2) == pytest.approx(24.0, abs=0.01)
        assert await second_try(0.9) == pytest.approx(38.0, abs=0.01)

    in_time(main)


def test_a_refused_credential_keeps_the_policy_and_raises_its_alarm() -> None:
    async def main() -> None:
        world = World()
        world.publish()
        cache = world.cache()
        await until(cache, 1)
        world.source.down = FetchFailed("credential", "401 for /head")
        await until(cache, 1)
        assert "policy_credential" in flags(cache)
        assert held(cache).version == 1
        world.source.down = None
        await until(cache, 61)
        assert "policy_credential" not in flags(cache)

    in_time(main)


@pytest.mark.parametrize("same", ["304", "the old head"])
def test_a_source_that_serves_nothing_newer_is_suspected_also_after_the_expiry(same: str) -> None:
    async def main() -> None:
        world = World()
        world.publish()
        cache = world.cache()
        await until(cache, 100)
        assert "policy_frozen" not in flags(cache)
        if same == "304":
            world.source.frozen = True
        else:
            world.source.forgets_tags = True
        await until(cache, 60)
        assert (cache.status().state, "policy_frozen" in flags(cache)) == ("stale", True)
        await until(cache, 4 * HOUR)
        assert (cache.status().state, "policy_frozen" in flags(cache)) == ("expired", True)
        world.source.frozen = world.source.forgets_tags = False
        world.publish()
        await until(cache, 61)
        assert "policy_frozen" not in flags(cache)

    in_time(main)


def test_an_outage_is_told_when_half_and_four_fifths_of_the_life_are_gone() -> None:
    async def main() -> None:
        world = World()
        world.publish()
        cache = world.cache()
        await until(cache, 60)
        world.source.down = UNREACHABLE
        for hours, percent in ((1.9, 0), (0.2, 50), (1.0, 50), (0.2, 80), (0.8, 80)):
            await until(cache, hours * HOUR)
            assert cache.status().ageing_percent == percent
        told = [detail[:4] for event, detail in world.events if event == "policy_ageing"]
        assert told == ["50 %", "80 %"]
        assert "policy_ageing" in flags(cache)
        world.source.down = None
        world.publish()
        await until(cache, 61)
        assert cache.status().ageing_percent == 0

    in_time(main)


def test_the_last_four_refused_documents_are_kept_and_no_more_than_16_kib_of_each() -> None:
    async def main() -> None:
        world = World()
        world.publish(1)
        cache = world.cache()
        await cache.load()
        await cache.refresh()
        for number in range(6):
            world.source.current = b" " * 20_000 + bytes([number])
            await later(cache)
        kept = [path for path in world.disk.paths() if "/quarantine/" in path]
        assert len(kept) == 4
        assert all(len(world.disk.content(path)) == 16 * 1024 for path in kept)
        assert held(cache).version == 1

    in_time(main)


def test_a_head_that_is_found_damaged_on_disk_is_kept_as_evidence() -> None:
    async def main() -> None:
        world = World()
        world.publish(1)
        cache = world.cache()
        await cache.load()
        await cache.refresh()
        await cache.aclose()
        world.disk.flip_bit("/policy/head.json", 8 * 300)
        again = world.cache()
        await again.load()
        assert any("/quarantine/" in path for path in world.disk.paths())

    in_time(main)


def test_a_head_for_a_later_version_keeps_the_policy_and_asks_for_an_update() -> None:
    async def main() -> None:
        world = World()
        world.publish(1)
        cache = world.cache()
        await cache.load()
        await cache.refresh()
        bundle = world.publisher.bundle(2)
        wanted: Issued = world.publisher.head(bundle, 2, bundle_version=2, min_gatepost="9.0")
        world.source.publish(bundle, wanted)
        await later(cache)
        assert flags(cache) == ("policy_update_required",)
        assert held(cache).version == 1
        world.head_version = 2
        world.publish(3)
        await later(cache)
        assert flags(cache) == ()

    in_time(main)
