"""A fleet of caches through the life of a canary, each on its own disk, restarted in between."""

from __future__ import annotations

from gateway import canary
from policy_cache.cache import PolicyCache
from tests.unit.policy_cache.cache_world import held, in_time, later
from tests.unit.policy_cache.policy_world import SCOPE
from tests.unit.policy_cache.test_canary import Canaries

NAMES = [f"host-{number}" for number in range(60)]
TAKES = {name for name in NAMES if canary.place_of(SCOPE, name) < 30}


class Fleet:
    """Daemons that ask one source. ``worlds``: each one's disk, by its name."""

    def __init__(self) -> None:
        self.first = Canaries()
        self.worlds = {name: Canaries(publisher=self.first.publisher) for name in NAMES}
        self.caches: dict[str, PolicyCache] = {}
        for world in self.worlds.values():
            world.source = self.first.source

    async def restart(self) -> None:
        """Each a new process on its disk."""
        for name, world in self.worlds.items():
            if name in self.caches:
                await self.caches[name].aclose()
            self.caches[name] = await world.begun(name)

    async def refresh(self) -> None:
        for cache in self.caches.values():
            await later(cache)

    def running(self, version: int) -> set[str]:
        """Whoever has ``version`` in force."""
        return {name for name, cache in self.caches.items() if held(cache).version == version}


async def begun() -> Fleet:
    fleet = Fleet()
    fleet.first.publish_both(1, None)
    await fleet.restart()
    await fleet.refresh()
    assert fleet.running(1) == set(NAMES)
    fleet.first.publish_both(1, fleet.first.publisher.bundle(2), 30)
    await fleet.refresh()
    assert fleet.running(2) == TAKES
    assert 10 <= len(TAKES) <= 26
    return fleet


def test_a_promoted_candidate_reaches_all_and_restarts_in_between_change_no_choice() -> None:
    async def main() -> None:
        fleet = await begun()
        await fleet.restart()
        assert fleet.running(2) == TAKES
        await fleet.refresh()
        assert fleet.running(2) == TAKES
        fleet.first.publish_both(1, fleet.first.publisher.bundle(2), 70)
        await fleet.refresh()
        more = fleet.running(2)
        assert more > TAKES
        await fleet.restart()
        assert fleet.running(2) == more
        fleet.first.publish_both(2, None)
        await fleet.refresh()
        assert fleet.running(2) == set(NAMES)

    in_time(main)


def test_a_withdrawn_candidate_leaves_all_and_stays_away_after_a_restart() -> None:
    async def main() -> None:
        fleet = await begun()
        fleet.first.publish_both(1, None)
        await fleet.refresh()
        assert fleet.running(1) == set(NAMES)
        await fleet.restart()
        assert fleet.running(1) == set(NAMES)

    in_time(main)
