"""Changes a JSON text at single places and leaves every other byte as it is.

Reading a body and writing it again would round numbers, reorder nothing but respell much, and make
the provider read another text than the one that was judged. So values are found by their spans in
the bytes, and only those are replaced.

Owns: the spans of strings and members, and putting new text in their place. Refuses: bodies that
``jsonbody.parse`` has not taken, and what is worth changing (``redaction.py``, ``ceiling.py``,
``pseudonym.py``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import msgspec

_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_SPACE: Final = re.compile(rb"[ \t\r\n]*+")
_objects: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_lists: Final = msgspec.json.Decoder(list[msgspec.Raw])


class Span(NamedTuple):
    """``data[start:end]``."""

    start: int
    end: int


class Edit(NamedTuple):
    """``text`` instead of ``data[start:end]``."""

    start: int
    end: int
    text: bytes


def splice(data: bytes, edits: Iterable[Edit]) -> bytes:
    """``data`` with ``edits`` made; these are in order and do not overlap."""
    parts: list[bytes] = []
    place = 0
    for edit in edits:
        assert place <= edit.start <= edit.end
        parts += (data[place : edit.start], edit.text)
        place = edit.end
    parts.append(data[place:])
    return b"".join(parts)


def strings(data: bytes) -> Iterator[Span]:
    """Every string of the JSON text ``data``, names of members included, with its quotes."""
    # Outside of strings JSON has no quotation mark, so none can be missed or begun too early.
    for match in _STRING.finditer(data):
        yield Span(*match.span())


def string_text(data: bytes, span: Span) -> str:
    """What the string at ``span`` says."""
    return msgspec.json.decode(data[span.start : span.end], type=str)


def json_string(text: str) -> bytes:
    """``text`` as a JSON string."""
    return msgspec.json.encode(text)


def whole(data: bytes) -> Span:
    """The one value of ``data``, without the white space around it."""
    start, end = _after_space(data, 0), len(data.rstrip(b" \t\r\n"))
    return Span(start, end)


def members(data: bytes, span: Span) -> dict[str, Span]:
    """The values of the object at ``span`` by name, in the order in which they stand."""
    found: dict[str, Span] = {}
    place = span.start
    for name, raw in _objects.decode(data[span.start : span.end]).items():
        key = _STRING.search(data, place)
        assert key is not None
        start = _after_space(data, _after_space(data, key.end()) + 1)
        place = start + memoryview(raw).nbytes
        found[name] = Span(start, place)
    return found


def items(data: bytes, span: Span) -> Iterator[Span]:
    """The values of the list at ``span``."""
    place = span.start
    for raw in _lists.decode(data[span.start : span.end]):
        # Behind the bracket or the comma.
        start = _after_space(data, _after_space(data, place) + 1)
        place = start + memoryview(raw).nbytes
        yield Span(start, place)


def insertion(data: bytes, span: Span, name: str, value: bytes) -> Edit:
    """The edit that gives the object at ``span`` a first member ``name``."""
    first = _after_space(data, span.start + 1)
    comma = b"" if data[first : first + 1] == b"}" else b","
    text = json_string(name) + b":" + value + comma
    return Edit(span.start + 1, span.start + 1, text)


def _after_space(data: bytes, place: int) -> int:
    match = _SPACE.match(data, place)
    assert match is not None
    return match.end()
