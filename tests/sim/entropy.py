"""Chance that a seed decides: keys, ids and jitter of a simulated daemon."""

from __future__ import annotations

import random


class SeededEntropy:
    """Implements ``ports.Entropy``; one seed gives one run of values."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    def bytes(self, count: int) -> bytes:
        return self._chance.randbytes(count)

    def fraction(self) -> float:
        return self._chance.random()
