"""A wall clock that moves when a test says so."""

from __future__ import annotations

from tests.sim.clock import EPOCH_US


class HandClock:
    """Implements ``ports.WallClock``."""

    def __init__(self) -> None:
        self.now_us = EPOCH_US

    def wall_us(self) -> int:
        return self.now_us

    def mono_us(self) -> int:
        return 0

    def source(self) -> str:
        return "simulated"

    def error_ms(self) -> int | None:
        return None

    def boot_id(self) -> str | None:
        return None
