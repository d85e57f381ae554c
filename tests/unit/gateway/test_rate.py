from __future__ import annotations

import pytest

from gateway.rate import KeyedBuckets, TokenBucket


def test_a_burst_passes_and_the_next_event_waits_for_its_rate() -> None:
    bucket = TokenBucket(rate_per_second=2, burst=3)
    assert [bucket.take(10.0) for _ in range(4)] == [True, True, True, False]
    assert not bucket.take(10.4)
    assert bucket.take(10.5)
    assert not bucket.take(10.5)


def test_idle_time_never_fills_more_than_the_burst() -> None:
    bucket = TokenBucket(rate_per_second=100, burst=2)
    bucket.take(0.0)
    assert [bucket.take(1e9) for _ in range(3)] == [True, True, False]


def test_a_clock_that_steps_back_gives_nothing() -> None:
    bucket = TokenBucket(rate_per_second=1, burst=1)
    assert bucket.take(100.0)
    assert not bucket.take(50.0)
    assert not bucket.take(100.5)
    assert bucket.take(101.0)


def test_a_clock_that_steps_back_takes_nothing_away() -> None:
    bucket = TokenBucket(rate_per_second=1, burst=2)
    assert bucket.take(100.0)
    assert bucket.take(50.0)


def test_asking_takes_nothing() -> None:
    buckets: KeyedBuckets[int] = KeyedBuckets(1, 1, keys_max=4)
    assert buckets.would_take(7, 0.0)
    assert len(buckets) == 0
    assert buckets.take(7, 0.0)
    assert not buckets.would_take(7, 0.0)
    assert buckets.would_take(7, 1.0)


def test_one_key_does_not_slow_another() -> None:
    buckets: KeyedBuckets[str] = KeyedBuckets(1, 1, keys_max=4)
    assert buckets.take("a", 0.0)
    assert not buckets.take("a", 0.0)
    assert buckets.take("b", 0.0)


def test_inventing_keys_neither_grows_memory_nor_frees_a_throttled_key() -> None:
    buckets: KeyedBuckets[int] = KeyedBuckets(1, 1, keys_max=2)
    assert buckets.take(1, 0.0)
    assert buckets.take(2, 0.0)
    allowed = sum(buckets.take(key, 0.0) for key in range(3, 100))
    assert allowed == 1  # the one bucket that all further keys share
    assert not buckets.would_take(200, 0.0)
    assert len(buckets) == 2
    assert not buckets.take(1, 0.0)


def test_keys_that_owe_nothing_make_room() -> None:
    buckets: KeyedBuckets[int] = KeyedBuckets(1, 1, keys_max=2)
    buckets.take(1, 0.0)
    buckets.take(2, 5.0)
    assert buckets.take(3, 5.5)
    assert not buckets.take(3, 5.5)
    assert not buckets.take(2, 5.5)


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (-1, 1), (1, 0)])
def test_a_bucket_that_lets_nothing_through_is_refused(rate: float, burst: float) -> None:
    with pytest.raises(ValueError, match="nothing through"):
        TokenBucket(rate, burst)
    with pytest.raises(ValueError, match="keys_max"):
        KeyedBuckets(1, 1, keys_max=0)
