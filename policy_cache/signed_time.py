"""Trusted time: the later of the node's clock and the newest time that a signature vouches for.

Owns: the floor under the clock, which goes on with the monotonic clock: a node whose clock is
set back cannot make a policy live longer, nor stop the ageing of one. Refuses: correcting the
clock, and believing a time that nobody signed.
"""

from __future__ import annotations

from gateway.limits import CLOCK_SUSPECT_SECONDS
from gateway.ports import WallClock


class SignedTime:
    """The floor, in microseconds since 1970 UTC. It only rises."""

    def __init__(self, clock: WallClock) -> None:
        self._clock = clock
        self._signed_us = 0
        self._seen_mono_us = clock.mono_us()

    def __repr__(self) -> str:
        return f"SignedTime({self.floor_us()})"

    def raise_to(self, signed_us: int) -> None:
        """Take ``signed_us`` from a verified document, if it is later than the floor."""
        if signed_us > self.floor_us():
            self._signed_us = signed_us
            self._seen_mono_us = self._clock.mono_us()

    def floor_us(self) -> int:
        """The newest signed time and what has passed since it was seen; 0 before the first."""
        if not self._signed_us:
            return 0
        return self._signed_us + max(0, self._clock.mono_us() - self._seen_mono_us)

    def now_us(self) -> int:
        """Trusted time."""
        return max(self._clock.wall_us(), self.floor_us())

    @property
    def clock_behind(self) -> bool:
        """Whether the node's clock is behind the floor by more than is tolerated."""
        return self._clock.wall_us() + CLOCK_SUSPECT_SECONDS * 1_000_000 < self.floor_us()
