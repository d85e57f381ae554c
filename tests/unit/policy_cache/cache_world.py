"""A policy cache in a simulated world: its disk, its clock, and a source of policy."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from gateway.documents import Refresh
from gateway.snapshot import Snapshot
from policy_cache.cache import PolicyCache
from policy_cache.config import CacheConfig
from policy_cache.fetch import FetchFailed, PolicySource
from tests.sim.disk import SimDisk
from tests.sim.loop import simulate
from tests.unit.policy_cache.policy_world import (
    OWN_VERSION,
    SCOPE,
    SECOND,
    T0,
    Clock,
    Dice,
    Publisher,
    Source,
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
        self.bundle_version = 0

    def cache(
        self,
        dice: Dice | None = None,
        source: PolicySource | None = None,
        placement: str | None = None,
        require_offline_root: bool = False,
    ) -> PolicyCache:
        return PolicyCache(
            source or self.source,
            self.disk,
            self.clock,
            dice or Dice(),
            CacheConfig(
                scope=SCOPE,
                root_fingerprint=self.publisher.fingerprint,
                directory="/policy",
                own_version=OWN_VERSION,
                threads=False,
                placement=placement,
                require_offline_root=require_offline_root,
            ),
            lambda event, detail: self.events.append((event, detail)),
        )

    def publish(
        self, bundle_version: int = 1, *, lock: str | None = None, refresh: Refresh | None = None
    ) -> None:
        """A head issued now, pinning bundle ``bundle_version``."""
        self.head_version += 1
        self.bundle_version = bundle_version
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

    def lay_out(self, disk: SimDisk, directory: str) -> None:
        """What was published, as files of a ConfigMap."""
        for number, root in enumerate(self.publisher.roots, 1):
            disk.put(f"{directory}/root-{number}.json", root.envelope)
        for digest, bundle in self.source.bundles.items():
            disk.put(f"{directory}/sha256-{digest[7:]}.json", bundle)
        disk.put(f"{directory}/head.json", self.source.current)


def held(cache: PolicyCache) -> Snapshot:
    snapshot = cache.current()
    assert snapshot is not None
    return snapshot


def in_time(world: Callable[[], Awaitable[None]]) -> None:
    """Run a test in virtual time."""
    simulate(1, world)


async def until(cache: PolicyCache, seconds: float) -> None:
    """Let the refresher run for ``seconds``."""
    with anyio.move_on_after(seconds):
        await cache.run()


async def later(cache: PolicyCache) -> str:
    """Refresh once the rate limit on asking allows it again."""
    with anyio.move_on_after(2):
        await anyio.Event().wait()
    return await cache.refresh()
