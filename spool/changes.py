"""A counter of changes that several may wait for.

Owns: counting and waking. Refuses: saying what changed; whoever waits looks for himself.
"""

from __future__ import annotations

import anyio


class Changes:
    """``count``: changes so far."""

    def __init__(self) -> None:
        self.count = 0
        self._changed: anyio.Event | None = None

    def note(self) -> None:
        """One more."""
        self.count += 1
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    async def wait(self, seen: int) -> int:
        """Return the count once it differs from ``seen``."""
        while self.count == seen:
            # Shared by all who wait: an event of one's own would leave the others behind.
            self._changed = self._changed or anyio.Event()
            await self._changed.wait()
        return self.count
