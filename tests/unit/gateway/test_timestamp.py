"""Points in time have one text form, and nothing else is read as one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.timestamp import time_micros, time_text

FIRST_US = -62_135_596_800_000_000
LAST_US = 253_402_300_799_999_999


@pytest.mark.parametrize(
    ("wall_us", "text"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (1, "1970-01-01T00:00:00.000001Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
        (1_795_456_801_250_000, "2026-11-23T18:00:01.250000Z"),
        (4_294_967_296_000_000, "2106-02-07T06:28:16.000000Z"),
        (FIRST_US, "0001-01-01T00:00:00.000000Z"),
        (LAST_US, "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_known_instants(wall_us: int, text: str) -> None:
    assert time_text(wall_us) == text
    assert time_micros(text) == wall_us


@given(st.integers(FIRST_US, LAST_US))
def test_text_and_microseconds_are_inverse(wall_us: int) -> None:
    text = time_text(wall_us)
    assert len(text) == 27
    assert time_micros(text) == wall_us


@given(st.integers(0, LAST_US), st.integers(0, LAST_US))
def test_texts_sort_as_instants_do(one: int, other: int) -> None:
    assert (time_text(one) < time_text(other)) == (one < other)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-23",
        "2026-11-23T18:00:00Z",
        "2026-11-23T18:00:00.000Z",
        "2026-11-23T18:00:00.0000000Z",
        "2026-11-23T18:00:00.000000",
        "2026-11-23T18:00:00.000000z",
        "2026-11-23t18:00:00.000000Z",
        "2026-11-23 18:00:00.000000Z",
        "2026-11-23T18:00:00,000000Z",
        "2026-11-23T18:00:00.000000+00:00",
        "2026-11-23T18:00:00.000000-00:00",
        "2026-11-23T19:00:00.000000+01:00",
        " 2026-11-23T18:00:00.000000Z",
        "2026-11-23T18:00:00.000000Z\n",
        "2026-11-23T18:00:60.000000Z",
        "2026-11-23T24:00:00.000000Z",
        "2026-11-31T18:00:00.000000Z",
        "2026-02-29T18:00:00.000000Z",
        "2026-00-23T18:00:00.000000Z",
        "0000-01-01T00:00:00.000000Z",
        "+026-11-23T18:00:00.000000Z",
        "٢٠٢٦-11-23T18:00:00.000000Z",
        "20261123T180000.000000Z",
    ],
)
def test_other_spellings_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^time "):
        time_micros(text)
