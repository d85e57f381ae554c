"""The policy owner of a simulated world: publishes versions, locks and unlocks the scope.

Through the policy service's own API, and beside every outage of the daemon's network.
"""

from __future__ import annotations

import random
from typing import Final

import anyio

from gateway.ports import WallClock
from tests.sim.central import BUNDLE_KEY, Central, lock_body
from tests.sim.policies import SCOPE, Version, draw_allowed, issue

_PATH: Final = f"/v1/policy/{SCOPE.replace('/', '%2F')}"


class Publisher:
    """``versions``: all that were published, oldest first. ``changed_at``: loop time of the last
    publication or change of the lock."""

    def __init__(self, central: Central, clock: WallClock, chance: random.Random) -> None:
        self.versions: list[Version] = []
        self._central = central
        self._clock = clock
        self._chance = chance
        self.changed_at = 0.0
        self._locks = 0

    @property
    def locked(self) -> bool:
        return self._locks > 0

    async def publish(self) -> None:
        """Publish a version that allows other classes than the one before."""
        self.changed_at = anyio.current_time()
        number = len(self.versions) + 1
        allowed, now_us = draw_allowed(self._chance), self._clock.wall_us()
        issued = issue(number, allowed, now_us, BUNDLE_KEY)
        # Known before it can be in force: the answer comes later than its effect.
        self.versions.append(
            Version(number=number, digest=issued.digest, allowed=allowed, published_us=now_us)
        )
        await self._central.operate("POST", f"{_PATH}/bundles", issued.envelope)

    async def lock(self) -> None:
        """Stop every call of the scope."""
        self.changed_at = anyio.current_time()
        self._locks += 1
        await self._central.operate("PUT", f"{_PATH}/lock", lock_body("drill"))

    async def unlock(self) -> None:
        """Let calls go on, unless somebody else still wants them stopped."""
        self.changed_at = anyio.current_time()
        self._locks -= 1
        if self._locks == 0:
            await self._central.operate("DELETE", f"{_PATH}/lock")

    async def unlock_all(self) -> None:
        """Let calls go on."""
        if self._locks:
            self._locks = 1
            await self.unlock()
