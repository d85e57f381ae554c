"""When to ask for policy again.

Owns: the waits, as functions of a random fraction: spread over an interval so that a fleet does
not ask in step, and backing off with full jitter after errors. Refuses: sleeping, drawing the
fraction, and state of the policy (``gateway.snapshot`` works that out on each question).

Source of full jitter: M. Brooker, Exponential Backoff and Jitter, AWS Architecture Blog (2015).
"""

from __future__ import annotations

from typing import Final

import msgspec

_BACKOFF_SECONDS_MIN: Final = 1.0


class Interval(msgspec.Struct, frozen=True):
    """Seconds from one refresh to the next: uniform in [minimum, maximum]."""

    minimum: float
    maximum: float


def interval(configured: Interval, signed: tuple[float, float] | None) -> Interval:
    """The interval in force: a signed head may narrow the configured one, never leave it."""
    if signed is None:
        return configured
    low = min(max(configured.minimum, signed[0]), configured.maximum)
    high = max(min(configured.maximum, signed[1]), configured.minimum)
    return Interval(low, max(low, high))


def delay_seconds(chosen: Interval, fraction: float) -> float:
    """The wait after a success. ``fraction``: uniform in [0, 1)."""
    return chosen.minimum + fraction * (chosen.maximum - chosen.minimum)


def backoff_seconds(chosen: Interval, failures: int, fraction: float) -> float:
    """The wait after ``failures`` errors in a row: uniform below 1, 2, 4 … s, at most the
    interval's maximum; never under a tenth of a second."""
    ceiling = min(chosen.maximum, _BACKOFF_SECONDS_MIN * 2.0 ** min(failures - 1, 16))
    return max(min(0.1, chosen.maximum), fraction * ceiling)


def retry_after_seconds(asked: float, remaining_seconds: float | None, chosen: Interval) -> float:
    """How much of a server's Retry-After is kept: at most half of the policy's remaining life.

    ``remaining_seconds``: until the policy in force expires; None without one, and then not
    longer than a refresh interval is waited.
    """
    life = chosen.maximum if remaining_seconds is None else max(0.0, remaining_seconds) / 2
    return max(0.0, min(asked, life))
