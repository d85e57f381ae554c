"""Wall clocks of a simulated world: the true one, and those of nodes, which are off.

Every clock follows the loop's virtual time. A node's clock implements ``ports.WallClock``: it has
an offset, it drifts, and it steps when the weather says so; its monotonic time never does.
"""

from __future__ import annotations

from typing import Final

from gateway.timestamp import time_micros
from tests.sim.loop import now

EPOCH_US: Final = time_micros("2026-11-23T00:00:00.000000Z")
"""What a true clock shows when the world begins."""


class SimClock:
    """A node's clock. ``drift_ppm``: microseconds that it gains per second."""

    def __init__(self, *, offset_us: int = 0, drift_ppm: int = 0) -> None:
        self.offset_us = offset_us
        self.drift_ppm = drift_ppm

    def wall_us(self) -> int:
        elapsed_us = self.mono_us()
        return EPOCH_US + elapsed_us + self.offset_us + elapsed_us * self.drift_ppm // 1_000_000

    def source(self) -> str:
        return "unsynchronised"

    def error_ms(self) -> int | None:
        return None

    def mono_us(self) -> int:
        return round(now() * 1_000_000)

    def boot_id(self) -> str | None:
        return None

    def step(self, seconds: float) -> None:
        """Set the clock forward, or back."""
        self.offset_us += round(seconds * 1_000_000)
