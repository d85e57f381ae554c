"""Bodies are read in the one way that every JSON reader agrees on, or refused."""

from __future__ import annotations

import contextlib
import decimal
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import jsonbody
from gateway.errors import RequestRefused
from gateway.limits import JSON_DEPTH_MAX, JSON_INTEGER_MAX, POINTER_CHARACTERS_MAX

MANY_DIGITS = b"1" * 5_000

# body, code, what the detail must say
REFUSED: list[tuple[bytes, str, str]] = [
    (b'{"model":"a","model":"b"}', "duplicate_keys", "the top level"),
    (b'{"model":"a","\\u006dodel":"b"}', "duplicate_keys", "the top level"),
    (b'{"m":[{"a":{"k":1,"k":1}}]}', "duplicate_keys", "/m/0/a"),
    (b'{"a/b~c":{"k":1,"k":2}}', "duplicate_keys", "/a~1b~0c"),
    (b'{"":1,"":2}', "duplicate_keys", "the top level"),
    (b'{"a":9007199254740992}', "unreadable_body", "an integer beyond 2^53-1 in /a"),
    (b'{"a":[0,-9007199254740992]}', "unreadable_body", "in /a/1"),
    (b'{"a":' + MANY_DIGITS + b"}", "unreadable_body", "in /a"),
    (b'{"a":0.' + MANY_DIGITS + b"}", "unreadable_body", "too many digits in /a"),
    (b'{"a":1e400}', "unreadable_body", "beyond a double in /a"),
    (b'{"a":-1e400}', "unreadable_body", "beyond a double in /a"),
    (b'{"a":NaN}', "unreadable_body", "NaN, which is not JSON in /a"),
    (b'{"a":Infinity}', "unreadable_body", "Infinity, which is not JSON in /a"),
    (b'{"a":-Infinity}', "unreadable_body", "-Infinity, which is not JSON in /a"),
    (b'{"a":{"b":"\\ud800"}}', "unreadable_body", "a lone surrogate in /a/b"),
    (b'{"a":"\\uDC00\\uD800"}', "unreadable_body", "a lone surrogate in /a"),
    (b'{"\\ud800":1}', "unreadable_body", "a lone surrogate in the top level"),
    (b'{"a":"\xed\xa0\x80"}', "unreadable_body", "not UTF-8 at byte 6"),
    (b"\xef\xbb\xbf{}", "unreadable_body", "not JSON at character 0"),
    ('{"a":1}'.encode("utf-16"), "unreadable_body", "not UTF-8"),
    (b"\xff", "unreadable_body", "not UTF-8 at byte 0"),
    (b"", "unreadable_body", "not JSON"),
    (b"  ", "unreadable_body", "not JSON"),
    (b'{"a":1}{"a":2}', "unreadable_body", "not JSON at character 7"),
    (b'{"a":1,}', "unreadable_body", "not JSON"),
    (b"{'a':1}", "unreadable_body", "not JSON"),
    (b'{"a":"\n"}', "unreadable_body", "not JSON"),
    (b'{"a":01}', "unreadable_body", "not JSON"),
    (b'{"a":1} // c', "unreadable_body", "not JSON"),
    (b'{"a":"\\x41"}', "unreadable_body", "not JSON"),
    (b"[" * 65 + b"]" * 65, "unreadable_body", "deeper than 64"),
    (b'{"a":' * 65 + b"1" + b"}" * 65, "unreadable_body", "deeper than 64"),
    (b"[" * 200_000, "unreadable_body", "deeper than 64"),
    (b'{"a":' * 200_000, "unreadable_body", "deeper than 64"),
]


@pytest.mark.parametrize(("body", "code", "where"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_two_readers_could_see_differently_is_refused(
    body: bytes, code: str, where: str
) -> None:
    with pytest.raises(RequestRefused) as caught:
        jsonbody.parse(body)
    assert caught.value.code == code
    assert where in caught.value.detail


READ: list[tuple[bytes, object]] = [
    (b"{}", {}),
    (b' \t\r\n{"a" : 1}\n', {"a": 1}),
    (b'{"a":9007199254740991,"b":-9007199254740991}', {"a": 2**53 - 1, "b": -(2**53) + 1}),
    (b'{"a":{"k":1},"b":{"k":1}}', {"a": {"k": 1}, "b": {"k": 1}}),
    (b'{"a":1,"A":2}', {"a": 1, "A": 2}),
    (b'"\\ud83d\\ude00"', "\U0001f600"),
    (b'"\\\\ud800"', "\\ud800"),
    (b'"{{{[[["', "{{{[[["),
    (b"[" * 64 + b"]" * 64, json.loads(b"[" * 64 + b"]" * 64)),
    (b"null", None),
    (b"-0", 0),
    (b'"\\u0000\x7f"', "\x00\x7f"),
]


@pytest.mark.parametrize(("body", "value"), READ, ids=lambda value: str(value)[:40])
def test_what_every_reader_sees_alike_is_read(body: bytes, value: object) -> None:
    assert jsonbody.parse(body) == value


def test_brackets_in_strings_are_no_depth() -> None:
    text = "[{" * 10_000
    assert jsonbody.parse(json.dumps([text]).encode()) == [text]


@pytest.mark.parametrize("text", ["1.50", "1E5", "-0.0", "9007199254740993.0", "1e-400", "0.1"])
def test_a_number_with_a_fraction_keeps_its_exact_text(text: str) -> None:
    number = jsonbody.parse(text.encode())
    assert isinstance(number, jsonbody.Decimal)
    assert number == float(text)
    assert str(number) == repr(number) == text
    assert decimal.Decimal(repr(number)) == decimal.Decimal(text)


def test_a_body_that_is_no_object_is_refused_where_one_is_needed() -> None:
    with pytest.raises(RequestRefused, match="must be a JSON object"):
        jsonbody.parse_object(b"[]")
    assert jsonbody.parse_object(b"{}") == {}


def test_a_pointer_in_a_detail_is_bounded_and_printable() -> None:
    key = "k\n\x1b" * 500
    body = json.dumps({key: 2**60}).encode()
    with pytest.raises(RequestRefused) as caught:
        jsonbody.parse(body)
    assert len(caught.value.detail) < 4 * POINTER_CHARACTERS_MAX
    assert caught.value.detail.isprintable()


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-JSON_INTEGER_MAX, JSON_INTEGER_MAX)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abk~/"), inner),
    max_leaves=20,
)


@given(JSON, st.booleans())
def test_any_honest_json_is_read_as_the_standard_reader_reads_it(
    value: object, ascii_only: bool
) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only).encode()
    assert jsonbody.parse(body) == value


@given(JSON, st.text("abk", min_size=1, max_size=2), st.integers(0, 5))
def test_a_key_twice_is_refused_at_any_depth(value: object, key: str, depth: int) -> None:
    escaped = "".join(f"\\u{ord(character):04x}" for character in key)
    inner = json.dumps(value)
    body = f'{{"{key}":{inner},"x":1,"{escaped}":{inner}}}'
    for _ in range(depth):
        body = f'{{"o":[{body}]}}'
    with pytest.raises(RequestRefused) as caught:
        jsonbody.parse(body.encode())
    assert caught.value.code == "duplicate_keys"
    assert caught.value.detail.endswith("/o/0" * depth or "the top level")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with contextlib.suppress(RequestRefused):
        jsonbody.parse(body)


# -- JSON inside strings -------------------------------------------------------------------


def test_embedded_json_keeps_duplicates_and_the_text_of_numbers() -> None:
    loose = jsonbody.parse_embedded('{"a":1e999,"a":{"b":NaN}}')
    assert isinstance(loose, jsonbody.Pairs)
    (first, one), (second, other) = loose.members
    assert (first, one, second) == ("a", "1e999", "a")
    assert isinstance(other, jsonbody.Pairs)
    assert other.members == [("b", "NaN")]


@pytest.mark.parametrize("text", ["{", "[" * 200_000, "", "{]"])
def test_embedded_text_that_is_no_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        jsonbody.parse_embedded(text)


def test_depth_limit_is_the_documented_one() -> None:
    assert JSON_DEPTH_MAX == 64
