"""Which worlds are run: the fixed ones, on every change and on every mutant, or those asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

FIXED: Final = (10, 6, 28, 4, 1, 3, 78, 18, 48, 68, 38, 9, 5, 15)
"""The longest worlds first."""


def asked_seeds(environment: Mapping[str, str]) -> tuple[int, ...]:
    """The seeds that ``make sim SEED=7`` or ``SEEDS=200`` asks for, or the fixed ones."""
    one, count = environment.get("GATEPOST_SIM_SEED"), environment.get("GATEPOST_SIM_SEEDS")
    if one:
        return (int(one),)
    return tuple(range(1, int(count) + 1)) if count else FIXED
