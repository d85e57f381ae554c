"""Chance from the operating system.

Owns: unpredictable bytes for keys and identifiers, and fractions for jitter. Refuses: a seed;
what must be repeatable (simulations) has an implementation of the port of its own.
"""

from __future__ import annotations

import os


class SystemEntropy:
    """``ports.Entropy`` over getrandom(2)."""

    def __repr__(self) -> str:
        return "SystemEntropy()"

    def bytes(self, count: int) -> bytes:
        """``count`` unpredictable bytes."""
        return os.urandom(count)

    def fraction(self) -> float:
        """Uniform in [0, 1): 53 random bits, the precision of a float."""
        return (int.from_bytes(os.urandom(7), "big") >> 3) * 2.0**-53
