"""Which worlds are run: the fixed ones, on every change and on every mutant, or those asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

FIXED: Final = (3, 138, 198, 38, 48, 18, 168, 158, 78, 108, 9, 15, 5)
"""The longest worlds first."""


def asked_seeds(environment: Mapping[str, str]) -> tuple[int, ...]:
    """The seeds that ``make sim SEED=7`` or ``SEEDS=200`` asks for, or the fixed ones."""
    one, count = environment.get("GATEPOST_SIM_SEED"), environment.get("GATEPOST_SIM_SEEDS")
    if one:
        return (int(one),)
    return tuple(range(1, int(count) + 1)) if count else FIXED
