"""Request bodies as JSON that can be read in one way only.

Owns: the strictness of law 5. RFC 8259 leaves open what a reader does with duplicate names,
huge numbers, byte order marks and lone surrogates (sections 4, 6, 8); two readers that differ
there see two bodies, of which Gatepost would judge one and the provider run the other. So all of
these are refused. Refuses: knowing any provider's members (``protocols`` does, and it checks keys
that differ only in case).

The C scanner of the standard library does the parsing; its hooks are the checks. Where a check
fails the body is read once more, slowly, to say where.
"""

from __future__ import annotations

import json
import re
from typing import Final, NoReturn

from gateway.call import Json
from gateway.errors import RequestRefused
from gateway.limits import (
    JSON_DEPTH_MAX,
    JSON_INTEGER_MAX,
    JSON_NUMBER_CHARACTERS_MAX,
    POINTER_CHARACTERS_MAX,
)

_INTEGER_DIGITS_SAFE: Final = 15
_INFINITY: Final = float("inf")
_SURROGATE_ESCAPE: Final = re.compile(rb"\\u[dD][89a-fA-F]")


class Decimal(float):
    """A JSON number with a fraction or an exponent: a float that remembers its exact text.

    Arithmetic sees the nearest double. ``str`` and ``repr`` give the text as it stood in the
    body, so that ``decimal.Decimal(repr(number))`` is exact: policy compares that, and records
    hold it.
    """

    __slots__ = ("text",)
    text: str

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__


class Pairs:
    """A JSON object with every member it was written with, duplicates included."""

    __slots__ = ("members",)

    def __init__(self, members: list[tuple[str, Loose]]) -> None:
        self.members = members


Loose = None | bool | str | list["Loose"] | Pairs
"""JSON as it was written: ``Pairs`` for objects, the text of numbers for numbers."""


class _Unreadable(Exception):
    """A check of one of the scanner's hooks failed; ``code`` is a refusal code."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def parse(body: bytes) -> Json:
    """The value in ``body``: dicts, lists, strings, ints, ``Decimal``, True, False, None.

    Raises RequestRefused: ``duplicate_keys``, else ``unreadable_body``. The detail names what
    was wrong and its JSON pointer (RFC 6901), cut at ``POINTER_CHARACTERS_MAX``.
    """
    try:
        value: Json = _strict.decode(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise RequestRefused("unreadable_body", f"not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        detail = f"not JSON at character {error.pos}: {error.msg}"
        raise RequestRefused("unreadable_body", detail) from None
    except RecursionError:
        _refuse_depth()
    except _Unreadable as error:
        raise RequestRefused(error.code, _located(error, body)) from None
    if body.count(b"{") + body.count(b"[") > JSON_DEPTH_MAX:
        _check_depth(value)
    if _SURROGATE_ESCAPE.search(body) is not None:
        _check_surrogates(value, "")
    return value


def parse_object(body: bytes) -> dict[str, Json]:
    """``parse``, where a body that is not an object is refused as ``unreadable_body``."""
    value = parse(body)
    if not isinstance(value, dict):
        raise RequestRefused("unreadable_body", "the body must be a JSON object")
    return value


def parse_embedded(text: str) -> Loose:
    """JSON inside a string, with nothing lost: objects are ``Pairs``, duplicates included.

    For scanning only, so it is lenient where ``parse`` is strict. Raises ValueError.
    """
    try:
        value: Loose = _keeping.decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value


def pointer_text(pointer: str) -> str:
    """``pointer`` as it may stand in an error's detail: bounded, printable, never empty."""
    shown = pointer if len(pointer) <= POINTER_CHARACTERS_MAX else pointer[:POINTER_CHARACTERS_MAX]
    return ascii(shown)[1:-1] or "the top level"


def child(pointer: str, key: str | int) -> str:
    """The RFC 6901 pointer of member ``key`` of what ``pointer`` names."""
    if isinstance(key, int):
        return f"{pointer}/{key}"
    if "~" in key or "/" in key:
        key = key.replace("~", "~0").replace("/", "~1")
    return f"{pointer}/{key}"


# -- the scanner's hooks -------------------------------------------------------------------


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _Unreadable("duplicate_keys", "the same key twice")
    return members


def _integer(text: str) -> int:
    if len(text) <= _INTEGER_DIGITS_SAFE:
        return int(text)
    # Length first: int() of a very long text is slow, and past 4 300 digits it raises.
    if len(text) > JSON_NUMBER_CHARACTERS_MAX or abs(int(text)) > JSON_INTEGER_MAX:
        raise _Unreadable("unreadable_body", "an integer beyond 2^53-1")
    return int(text)


def _decimal(text: str) -> Decimal:
    if len(text) > JSON_NUMBER_CHARACTERS_MAX:
        raise _Unreadable("unreadable_body", "a number of too many digits")
    number = Decimal(text)
    if number in (_INFINITY, -_INFINITY):
        raise _Unreadable("unreadable_body", "a number beyond a double")
    number.text = text
    return number


def _constant(text: str) -> NoReturn:
    raise _Unreadable("unreadable_body", f"{text}, which is not JSON")


_strict: Final = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_int=_integer,
    parse_float=_decimal,
    parse_constant=_constant,
)
_keeping: Final = json.JSONDecoder(
    object_pairs_hook=Pairs, parse_int=str, parse_float=str, parse_constant=str
)


# -- checks over the whole value -----------------------------------------------------------


def _refuse_depth() -> NoReturn:
    detail = f"nested deeper than {JSON_DEPTH_MAX} levels"
    raise RequestRefused("unreadable_body", detail) from None


def _check_depth(value: Json) -> None:
    # By levels, not by recursion: this is the check that recursion relies on elsewhere.
    level = [value]
    for _ in range(JSON_DEPTH_MAX):
        level = [
            below
            for container in level
            if isinstance(container, (dict, list))
            for below in (container.values() if isinstance(container, dict) else container)
            if isinstance(below, (dict, list))
        ]
        if not level:
            return
    _refuse_depth()


def _check_surrogates(value: Json, pointer: str) -> None:
    if isinstance(value, str):
        _check_encodes(value, pointer)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_surrogates(item, child(pointer, index))
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_encodes(key, pointer)
            _check_surrogates(item, child(pointer, key))


def _check_encodes(text: str, pointer: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        detail = f"a lone surrogate in {pointer_text(pointer)}"
        raise RequestRefused("unreadable_body", detail) from None


# -- saying where --------------------------------------------------------------------------


class _Offence(str):
    """Stands in the tree where the strict reading failed; the text is what was wrong."""


def _located(error: _Unreadable, body: bytes) -> str:
    """``error``'s reason with the pointer of the first offence of its kind in the body."""
    wanted = error.reason

    def marked(text: str, read: type[object]) -> str:
        try:
            _decimal(text) if read is float else _integer(text)
        except _Unreadable as failed:
            return _Offence(failed.reason) if failed.reason == wanted else text
        return text

    scanner = json.JSONDecoder(
        object_pairs_hook=Pairs,
        parse_int=lambda text: marked(text, int),
        parse_float=lambda text: marked(text, float),
        parse_constant=lambda text: _Offence(wanted) if text in wanted else text,
    )
    try:
        pointer = _offence(scanner.decode(body.decode("utf-8")), "", error.code, 0)
    except (ValueError, RecursionError):
        # The offence came before a syntax error: its kind is known, its place is not.
        pointer = None
    return wanted if pointer is None else f"{wanted} in {pointer_text(pointer)}"


def _offence(value: Loose, pointer: str, code: str, depth: int) -> str | None:
    if depth > JSON_DEPTH_MAX:
        return None
    if isinstance(value, _Offence):
        return pointer
    if isinstance(value, Pairs):
        if code == "duplicate_keys" and len(dict(value.members)) != len(value.members):
            return pointer
        below = [(child(pointer, key), item) for key, item in value.members]
    elif isinstance(value, list):
        below = [(child(pointer, index), item) for index, item in enumerate(value)]
    else:
        return None
    found = (_offence(item, place, code, depth + 1) for place, item in below)
    return next((place for place in found if place is not None), None)
