"""A token bucket, alone and per key.

Owns: the arithmetic of "so many per second, with a burst". Refuses: clocks (the caller passes
monotonic seconds) and refusals (the caller raises them).

Source: the token bucket of RFC 3290 section 5.1, with one token per event.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class TokenBucket:
    """At most ``burst`` events at once and ``rate_per_second`` in the long run. Starts full."""

    __slots__ = ("_burst", "_last_seconds", "_rate", "_tokens")

    def __init__(self, rate_per_second: float, burst: float) -> None:
        if rate_per_second <= 0 or burst < 1:
            raise ValueError(f"rate {rate_per_second}/s and burst {burst} let nothing through")
        self._rate = rate_per_second
        self._burst = burst
        self._tokens = burst
        self._last_seconds: float | None = None

    def take(self, now_seconds: float) -> bool:
        """Take one token; False if there is none. A clock that steps back adds nothing."""
        self._refill(now_seconds)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def would_take(self, now_seconds: float) -> bool:
        """Whether ``take`` would succeed now: for a check before the work that may fail."""
        self._refill(now_seconds)
        return self._tokens >= 1

    def is_full(self, now_seconds: float) -> bool:
        """Whether nothing is owed: a full bucket can be forgotten without changing anything."""
        self._refill(now_seconds)
        return self._tokens >= self._burst

    def _refill(self, now_seconds: float) -> None:
        if self._last_seconds is None:
            self._last_seconds = now_seconds
        elif now_seconds > self._last_seconds:
            gained = (now_seconds - self._last_seconds) * self._rate
            self._tokens = min(self._burst, self._tokens + gained)
            self._last_seconds = now_seconds


class KeyedBuckets(Generic[Key]):
    """One ``TokenBucket`` per key, for at most ``keys_max`` keys.

    When a new key finds no room, full buckets are dropped first; if none is full, all new keys
    share one bucket, so that inventing keys gains a caller nothing.
    """

    __slots__ = ("_buckets", "_burst", "_keys_max", "_overflow", "_rate")

    def __init__(self, rate_per_second: float, burst: float, keys_max: int) -> None:
        if keys_max < 1:
            raise ValueError("keys_max must be at least 1")
        self._rate = rate_per_second
        self._burst = burst
        self._keys_max = keys_max
        self._buckets: dict[Key, TokenBucket] = {}
        self._overflow = TokenBucket(rate_per_second, burst)

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: Key, now_seconds: float) -> bool:
        """Take one token of ``key``; False if there is none."""
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._admit(key, now_seconds)
        return bucket.take(now_seconds)

    def would_take(self, key: Key, now_seconds: float) -> bool:
        """Whether ``take`` would succeed now; makes no bucket for a key not seen before."""
        bucket = self._buckets.get(key)
        if bucket is not None:
            return bucket.would_take(now_seconds)
        return len(self._buckets) < self._keys_max or self._overflow.would_take(now_seconds)

    def _admit(self, key: Key, now_seconds: float) -> TokenBucket:
        if len(self._buckets) >= self._keys_max:
            idle = [have for have, bucket in self._buckets.items() if bucket.is_full(now_seconds)]
            for have in idle:
                del self._buckets[have]
        if len(self._buckets) >= self._keys_max:
            return self._overflow
        bucket = self._buckets[key] = TokenBucket(self._rate, self._burst)
        return bucket
