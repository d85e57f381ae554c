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
_HURRY: Final = 0.5
_AGEING: Final = (0.8, 0.5)


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


def hurried(chosen: Interval) -> Interval:
    """The interval of a policy that is past its freshness: half as long."""
    return Interval(chosen.minimum * _HURRY, chosen.maximum * _HURRY)


def age_step(issued_us: int, expires_us: int, now_us: int) -> int:
    """How far a policy is on its way to its expiry: 50 or 80 per cent of it gone, or 0."""
    life_us, age_us = expires_us - issued_us, now_us - issued_us
    return next((round(step * 100) for step in _AGEING if age_us >= step * life_us), 0)


def delay_seconds(chosen: Interval, fraction: float) -> float:
    """The wait after a success. ``fraction``: uniform in [0, 1)."""
    return chosen.minimum + fraction * (chosen.maximum - chosen.minimum)


def backoff_seconds(chosen: Interval, failures: int, fraction: float) -> float:
    """The wait after ``failures`` errors in a row: uniform below 1, 2, 4 … s, at most the
    interval's maximum; never under a tenth of a second."""
    ceiling = min(chosen.maximum, _BACKOFF_SECONDS_MIN * 2.0 ** min(failures - 1, 16))
    return max(min(0.1, chosen.maximum), fraction * ceiling)


def failed_seconds(
    chosen: Interval,
    failures: int,
    fraction: float,
    retry_after: float | None,
    remaining_seconds: float | None,
) -> float:
    """The wait after an error, with what the server asked for.

    A Retry-After is kept, but for half of the policy's remaining life at most:
    ``remaining_seconds`` until it expires, None without one, and then for two refresh intervals at
    most. A server asks everybody for the same wait, so up to as much again, or an interval, comes
    on top: those who failed together must not come back together.
    """
    wait = backoff_seconds(chosen, failures, fraction)
    if retry_after is None:
        return wait
    longest = 2 * chosen.maximum if remaining_seconds is None else max(0.0, remaining_seconds) / 2
    spread = min(retry_after, chosen.maximum, longest)
    return max(wait, min(retry_after, longest - spread) + fraction * spread)
