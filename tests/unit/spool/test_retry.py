"""What an answer means for the next attempt, and how long to wait for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import limits
from gateway.ports import ServiceAnswer
from spool.retry import Delayed, meaning, retry_after_seconds, wait_seconds

NOW_US = 784_111_777 * 1_000_000
"""Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110 section 5.6.7."""


class Chance:
    """An ``Entropy`` that always gives one fraction."""

    def __init__(self, fraction: float) -> None:
        self._fraction = fraction

    def bytes(self, count: int) -> bytes:
        return bytes(count)

    def fraction(self) -> float:
        return self._fraction


@pytest.mark.parametrize(
    ("statuses", "word"),
    [
        ((200, 201, 202), "taken"),
        ((400, 422), "refused"),
        ((413,), "too_large"),
        ((408, 425, 429, 500, 502, 503, 504, 507), "later"),
        ((301, 302, 304, 401, 403, 404, 405, 409, 410, 412, 415, 421), "environment"),
    ],
)
def test_only_400_and_422_may_be_a_records_fault(statuses: tuple[int, ...], word: str) -> None:
    assert {meaning(status) for status in statuses} == {word}


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("1000000000", 300.0),
        ("Sun, 06 Nov 1994 08:50:07 GMT", 30.0),
        ("Sunday, 06-Nov-94 08:50:07 GMT", 30.0),
        ("Sun Nov  6 08:50:07 1994", 30.0),
        ("Sun, 06 Nov 1994 08:00:00 GMT", 0.0),
        ("Sun, 06 Nov 2094 08:49:37 GMT", 300.0),
        ("", None),
        ("-5", None),
        ("soon", None),
        ("٣", None),
        ("Sun, 99 Nov 1994 08:49:37 GMT", None),
        ("9" * 5_000, None),
    ],
)
def test_retry_after_in_every_form(value: str, seconds: float | None) -> None:
    answer = ServiceAnswer(status=503, headers={"retry-after": value}, body=b"")
    assert retry_after_seconds(answer, NOW_US) == seconds


def test_no_retry_after_is_none() -> None:
    assert retry_after_seconds(ServiceAnswer(503, {}, b""), NOW_US) is None


@given(st.integers(1, 10_000), st.floats(0, 0.999))
def test_waits_grow_to_a_bound_and_are_spread_over_all_of_it(failures: int, part: float) -> None:
    wait = wait_seconds(Delayed("x"), failures, Chance(part), draining=False)
    bound = min(limits.SHIP_RETRY_SECONDS_MAX, 0.5 * 2 ** min(failures - 1, 20))
    assert wait == pytest.approx(part * bound)


def test_retry_after_is_a_lower_bound() -> None:
    delayed = Delayed("x", retry_after_seconds=100.0)
    assert wait_seconds(delayed, 1, Chance(0.0), draining=False) == 100.0
    assert wait_seconds(delayed, 9, Chance(0.5), draining=False) == 115.0


def test_a_drain_does_not_wait_for_long() -> None:
    delayed = Delayed("x", retry_after_seconds=100.0)
    assert wait_seconds(delayed, 50, Chance(0.99), draining=True) <= 1.0
