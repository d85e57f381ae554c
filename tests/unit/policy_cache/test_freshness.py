from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from policy_cache.freshness import (
    Interval,
    age_step,
    backoff_seconds,
    delay_seconds,
    failed_seconds,
    hurried,
    interval,
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


@given(st.floats(0, 1e9), st.one_of(st.none(), st.floats(-10, 1e6)), fractions)
def test_retry_after_is_kept_up_to_half_of_the_remaining_life(
    asked: float, remaining: float | None, fraction: float
) -> None:
    wait = failed_seconds(DEFAULT, 1, fraction, asked, remaining)
    longest = 120.0 if remaining is None else max(remaining, 0.0) / 2
    assert wait <= max(longest, 1.0) + 1e-6
    assert wait >= min(asked, longest - min(asked, 60.0, longest)) - 1e-6


def test_what_a_server_asks_of_everybody_is_spread() -> None:
    assert failed_seconds(DEFAULT, 1, 0.0, 20.0, None) == 20.0
    assert failed_seconds(DEFAULT, 1, 0.5, 20.0, None) == 30.0
    assert failed_seconds(DEFAULT, 1, 0.5, 86_400.0, 100.0) == 25.0
    assert failed_seconds(DEFAULT, 1, 0.5, 86_400.0, -5.0) == 0.5
    assert failed_seconds(DEFAULT, 1, 0.5, None, 100.0) == 0.5


def test_a_stale_policy_halves_the_interval() -> None:
    assert hurried(DEFAULT) == Interval(15.0, 30.0)


def test_half_and_four_fifths_of_a_life_are_told() -> None:
    assert [age_step(0, 100, at) for at in (0, 49, 50, 79, 80, 200)] == [0, 0, 50, 50, 80, 80]
