from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from policy_cache.freshness import (
    Interval,
    backoff_seconds,
    delay_seconds,
    interval,
    retry_after_seconds,
)

DEFAULT = Interval(30.0, 60.0)
fractions = st.floats(0, 1, exclude_max=True)


@given(fractions)
def test_a_wait_lies_within_the_interval(fraction: float) -> None:
    assert 30.0 <= delay_seconds(DEFAULT, fraction) <= 60.0


def test_a_fleet_that_starts_together_does_not_ask_together() -> None:
    chance = random.Random(7)
    buckets = [0] * 30
    for _ in range(1_000):
        at = sum(delay_seconds(DEFAULT, chance.random()) for _ in range(5))
        buckets[int(at) % 30] += 1
    assert max(buckets) < 3 * 1_000 / 30


@given(st.floats(1, 600), st.floats(1, 600))
def test_a_signed_interval_narrows_and_never_leaves_the_configured_one(a: float, b: float) -> None:
    low, high = sorted((a, b))
    chosen = interval(DEFAULT, (low, high))
    assert 30.0 <= chosen.minimum <= chosen.maximum <= 60.0


def test_the_signed_interval_counts_where_it_can() -> None:
    assert interval(DEFAULT, None) == DEFAULT
    assert interval(DEFAULT, (40, 50)) == Interval(40, 50)
    assert interval(DEFAULT, (1, 5)) == Interval(30, 30)
    assert interval(DEFAULT, (300, 600)) == Interval(60, 60)


@given(st.integers(1, 1_000), fractions)
def test_backing_off_doubles_up_to_the_interval_with_full_jitter(
    failures: int, fraction: float
) -> None:
    wait = backoff_seconds(DEFAULT, failures, fraction)
    assert 0.1 <= wait <= min(60.0, 2.0 ** min(failures - 1, 10))


def test_retry_after_never_waits_beyond_half_of_the_remaining_life() -> None:
    assert retry_after_seconds(10, 100, DEFAULT) == 10
    assert retry_after_seconds(86_400, 100, DEFAULT) == 50
    assert retry_after_seconds(86_400, -5, DEFAULT) == 0
    assert retry_after_seconds(86_400, None, DEFAULT) == 60
