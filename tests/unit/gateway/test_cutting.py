"""Cutting: nothing exceeds its cap, nothing is cut silently."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import limits
from gateway.cutting import MANY, Cutter, json_bytes
from gateway.record import Cut
from gateway.seal import keyed_digest

KEY = bytes(range(32))

# Code points of every length that JSON text has: 1, 2 (short escapes), 3, 4 and 6 bytes.
CHARS = st.characters(codec="utf-8") | st.sampled_from('"\\\x00\x1f\n\x7f€𝄞')
TEXTS = st.text(CHARS, max_size=80)


@pytest.mark.parametrize(
    ("value", "bytes_max", "kept"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "abc"),
        ("a\nb", 4, "a\nb"),
        ("a\nb", 3, "a\n"),
        ("a\nb", 2, "a"),
        ("a\x00b", 6, "a"),
        ("a\x00b", 7, "a\x00"),
        ("\x00\x00", 11, "\x00"),
        ('""', 3, '"'),
        ("é€𝄞", 8, "é€"),
        ("é€𝄞", 9, "é€𝄞"),
        ("€", 2, ""),
        ("", 0, ""),
    ],
)
def test_a_cut_falls_between_code_points(value: str, bytes_max: int, kept: str) -> None:
    assert Cutter(KEY).text("p", value, bytes_max) == kept


def test_null_stays_null() -> None:
    cutter = Cutter(KEY)
    assert cutter.text("p", None, 0) is None
    assert cutter.whole("p", None, 0) is None
    assert cutter.cuts == []


@given(TEXTS, st.integers(0, 80))
def test_what_is_kept_fits_and_one_more_would_not(value: str, bytes_max: int) -> None:
    cutter = Cutter(KEY)
    kept = cutter.text("p", value, bytes_max)
    assert kept is not None
    assert json_bytes(kept) == len(msgspec.json.encode(kept)) - 2 <= bytes_max
    assert value.startswith(kept)
    if kept == value:
        assert cutter.cuts == []
    else:
        assert json_bytes(value[: len(kept) + 1]) > bytes_max
        whole = value.encode()
        assert cutter.cuts == [Cut("p", len(whole), keyed_digest(KEY, whole))]


@given(st.lists(TEXTS, max_size=12), st.integers(0, 8), st.integers(0, 40))
def test_lists_keep_their_caps_and_name_every_cut(
    values: list[str], count_max: int, bytes_max: int
) -> None:
    cutter = Cutter(KEY)
    kept = cutter.texts("l", values, count_max, bytes_max)
    assert len(kept) == min(len(values), count_max)
    assert all(json_bytes(one) <= bytes_max for one in kept)
    expected = ["l"] if len(values) > count_max else []
    expected += [f"l[{i}]" for i, one in enumerate(kept) if one != values[i]]
    if len(expected) > limits.CUTS_MAX:
        expected = [*expected[: limits.CUTS_MAX - 1], MANY]
    assert [cut.path for cut in cutter.cuts] == expected


def test_a_shortened_list_carries_count_and_digest_of_the_whole() -> None:
    cutter = Cutter(KEY)
    assert cutter.texts("roles", ("a", "b", "c"), 2, 10) == ["a", "b"]
    assert cutter.cuts == [Cut("roles", 3, keyed_digest(KEY, b'["a","b","c"]'))]


def test_an_element_of_escapes_is_cut_too() -> None:
    assert Cutter(KEY).texts("l", ["\x00\x00", "ab"], 2, 11) == ["\x00", "ab"]


def test_cuts_beyond_the_cap_are_counted_and_still_bound() -> None:
    cutter, other = Cutter(KEY), Cutter(KEY)
    for index in range(limits.CUTS_MAX + 5):
        cutter.text(f"p{index}", "xx", 1)
        other.text(f"p{index}", "xy" if index == limits.CUTS_MAX + 4 else "xx", 1)
    assert len(cutter.cuts) == limits.CUTS_MAX
    assert cutter.cuts[-1].path == MANY
    assert cutter.cuts[-1].length == 6
    assert cutter.cuts[-1].digest != other.cuts[-1].digest


def test_a_value_that_must_be_whole_and_is_leaves_no_trace() -> None:
    cutter = Cutter(KEY)
    assert cutter.whole("person.id", "abc", 3) == "abc"
    assert cutter.too_long is None


def test_a_value_that_must_be_whole_is_cut_and_the_first_is_remembered() -> None:
    cutter = Cutter(KEY)
    assert cutter.whole("model.tool", "x" * 100_000, 4) == "xxxx"
    assert cutter.whole("agent.id", "long", 2) == "lo"
    assert cutter.too_long == "model.tool"
    assert [cut.path for cut in cutter.cuts] == ["model.tool", "agent.id"]


def test_a_repr_names_paths_and_no_values() -> None:
    cutter = Cutter(KEY)
    cutter.whole("person.id", "alice@example.com", 3)
    assert "person.id" in repr(cutter)
    assert "alice" not in repr(cutter)
