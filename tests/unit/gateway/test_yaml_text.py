"""YAML as authors write it: JSON's values, each with its place, and nothing that reads two ways."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.yaml_text import Place, SourceInvalid, read_tree

SCALARS = st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(VALUES, st.sampled_from([None, 2, "\t"]))
def test_json_is_read_as_json(value: object, indent: int | str | None) -> None:
    text = json.dumps(value, indent=indent).encode()
    assert read_tree("p.json", text).value == value


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("true", True),
        ("null", None),
        ("12", 12),
        ("1e3", Decimal("1e3")),
        ("0.10", Decimal("0.10")),
        ('"no"', "no"),
        ("'2026-01-01'", "2026-01-01"),
        ("gpt-4o", "gpt-4o"),
        ("args.amount", "args.amount"),
    ],
)
def test_a_plain_word_is_jsons_value_or_its_letters(word: str, value: object) -> None:
    found = read_tree("p.yaml", f"x: {word}".encode()).value
    assert found == {"x": value}
    assert isinstance(found, dict)
    assert type(found["x"]) is type(value)


@pytest.mark.parametrize(
    "word",
    [
        "no",
        "Yes",
        "on",
        "True",
        "NULL",
        "~",
        "2026-01-01",
        "1_000",
        "0x1F",
        "0o17",
        "017",
        "22:00",
        ".inf",
        "+1",
        "1.",
        "<<",
        "=",
    ],
)
def test_a_word_that_reads_two_ways_is_refused(word: str) -> None:
    with pytest.raises(SourceInvalid, match=r"p\.yaml:2:4: .*in JSON") as caught:
        read_tree("p.yaml", f"a: 1\nx: {word}".encode())
    assert f'"{word}"' in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &x 1\n", "p.yaml:1:4: anchor '&x'"),
        ("a: *x\n", "p.yaml:1:4: alias '*x'"),
        ("a: !!str 1\n", "p.yaml:1:4: tag"),
        ("a: 1\nb: 2\na: 3\n", "p.yaml:3:1: 'a' stands twice; first in line 1"),
        ("a:\n", "p.yaml:1:3: has no value"),
        ("1: a\n", "p.yaml:1:1: the key 1 is not a text"),
        ("a: 1\n---\nb: 2\n", "p.yaml:2:1: a second document"),
        ("", "p.yaml:1:1: is empty"),
        ("a: [1\nb: 2", "p.yaml:2:"),
        ("a: b: c", "p.yaml:1:5: mapping values"),
        ("[" * 100 + "]" * 100, "deeper than 64"),
    ],
)
def test_what_is_not_read_is_told_with_its_place(text: str, said: str) -> None:
    with pytest.raises(SourceInvalid) as caught:
        read_tree("p.yaml", text.encode())
    assert said in str(caught.value)


def test_bytes_that_are_no_text_are_told_with_their_line() -> None:
    with pytest.raises(SourceInvalid, match=r"p\.yaml:2:1: is not UTF-8"):
        read_tree("p.yaml", b"a: 1\nb: \xff")


def test_every_part_has_its_place() -> None:
    tree = read_tree("p.yaml", b"rules:\n  - id: a\n  - id: b\n")
    assert tree.places[("rules",)] == Place("p.yaml", 1, 1)
    assert tree.places[("rules", 1)] == Place("p.yaml", 3, 5)
    assert tree.places[("rules", 1, "id")] == Place("p.yaml", 3, 5)
