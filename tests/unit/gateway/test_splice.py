"""Values are found and replaced in the bytes; nothing else of a text changes."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from gateway.jsonbody import parse
from gateway.splice import (
    Edit,
    insertion,
    items,
    json_string,
    members,
    splice,
    string_text,
    strings,
    whole,
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)
objects = st.dictionaries(texts, values, max_size=5)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """JSON texts of objects, spelled in one of the ways in which programs spell them."""
    made = json.dumps(
        draw(objects),
        ensure_ascii=draw(st.booleans()),
        indent=draw(st.sampled_from([None, 1])),
        separators=draw(st.sampled_from([(",", ":"), (" , ", " : ")])),
    )
    space = draw(st.sampled_from(["", " ", "\r\n\t"]))
    return (space + made + space).encode()


def all_strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [text for item in value for text in all_strings(item)]
    if isinstance(value, dict):
        return [text for key, item in value.items() for text in [key, *all_strings(item)]]
    return []


@given(bodies())
def test_every_string_is_found_once_names_included(body: bytes) -> None:
    assert [string_text(body, span) for span in strings(body)] == all_strings(parse(body))


@given(bodies())
def test_a_member_is_found_where_it_stands(body: bytes) -> None:
    wanted = parse(body)
    assert isinstance(wanted, dict)
    found = members(body, whole(body))
    assert list(found) == list(wanted)
    for name, span in found.items():
        assert parse(body[span.start : span.end]) == wanted[name]
        value = wanted[name]
        if isinstance(value, list):
            each = [parse(body[one.start : one.end]) for one in items(body, span)]
            assert each == value


@given(bodies(), texts, leaves)
def test_a_new_member_changes_no_other(body: bytes, name: str, value: object) -> None:
    before = parse(body)
    assert isinstance(before, dict)
    if name in before:
        return
    edit = insertion(body, whole(body), name, json.dumps(value).encode())
    after = splice(body, [edit])
    assert parse(after) == {name: value, **before}
    assert after.replace(edit.text, b"", 1) == body


def test_what_is_not_replaced_keeps_its_bytes() -> None:
    body = b'{ "n":1.50e+2, "big": 9007199254740991 ,"s":"\\u00e4\\/", "t":"x" }'
    span = members(body, whole(body))["t"]
    new = splice(body, [Edit(*span, json_string('a"b'))])
    assert new == b'{ "n":1.50e+2, "big": 9007199254740991 ,"s":"\\u00e4\\/", "t":"a\\"b" }'
