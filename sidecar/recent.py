"""The last decisions, for operators who look on: kept in memory, never on disk.

Owns: a bounded ring of short lines and waking those who wait for the next. Refuses: prompts,
arguments and persons' data beyond what the record itself holds; it is fed from records only.
"""

from __future__ import annotations

from collections import deque

import anyio
import msgspec

from gateway import record

RECENT_MAX = 256


class RecentDecision(msgspec.Struct, frozen=True, kw_only=True):
    """One line of ``gatepost tail``."""

    id: str
    time: str
    person: str | None
    agent: str | None
    route: str
    operation: str
    model: str | None
    tool: str | None
    level: str | None
    categories: list[str]
    outcome: str
    reason: str
    policy_version: int | None


class RecentDecisions:
    """A ring of the last ``RECENT_MAX`` decisions; ``count`` grows for ever."""

    def __init__(self) -> None:
        self._ring: deque[RecentDecision] = deque(maxlen=RECENT_MAX)
        self._more = anyio.Event()
        self.count = 0

    def add(self, decision: record.Decision) -> None:
        self._ring.append(
            RecentDecision(
                id=decision.id,
                time=decision.time.decided,
                person=decision.person.id,
                agent=decision.agent.id,
                route=decision.model.route,
                operation=decision.model.operation,
                model=decision.model.requested,
                tool=decision.model.tool,
                level=decision.data.level,
                categories=decision.data.categories,
                outcome=decision.decision.outcome,
                reason=decision.decision.reason,
                policy_version=decision.policy.version,
            )
        )
        self.count += 1
        self._more.set()
        self._more = anyio.Event()

    def newest(self, most: int = 20) -> list[RecentDecision]:
        """Up to ``most`` newest, oldest first."""
        return list(self._ring)[-most:]

    def since(self, count: int) -> list[RecentDecision]:
        """Those added after ``count``; what fell out of the ring meanwhile is gone."""
        return list(self._ring)[-(self.count - count) :] if self.count > count else []

    async def wait_beyond(self, count: int) -> None:
        """Return when there are more than ``count``."""
        while self.count <= count:
            await self._more.wait()
