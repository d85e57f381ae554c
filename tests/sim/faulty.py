"""Bodies that no gateway may pass on, because they can be read in no way or in two.

Each is made from a good body, and stands with the code of the ruling that it must get. Owns:
spoiling a request. Refuses: faults of the head, which no ruling is made on (``intruder.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

BODY_BYTES_MAX: Final = 64 * 1024
"""Of every route of a simulated daemon."""
_DEPTH: Final = 70
"""Deeper than is read."""


class Wire(msgspec.Struct, frozen=True):
    """A request as it is sent; header names are lower-case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Fault(msgspec.Struct, frozen=True):
    """``code``: of the refusal; ``spoil``: makes a good request a bad one."""

    code: str
    spoil: Callable[[Wire], Wire]


def _body(change: Callable[[bytes], bytes]) -> Callable[[Wire], Wire]:
    return lambda wire: msgspec.structs.replace(wire, body=change(wire.body))


def _header(name: str, value: str) -> Callable[[Wire], Wire]:
    def changed(wire: Wire) -> Wire:
        return msgspec.structs.replace(wire, headers={**wire.headers, name: value})

    return changed


def _with(member: bytes) -> Callable[[Wire], Wire]:
    """One more member at the front of the body's object."""
    return _body(lambda body: b"{" + member + b"," + body[1:])


FAULTS: Final = {
    "cut": Fault("unreadable_body", _body(lambda body: body[:-2])),
    "not an object": Fault("unreadable_body", _body(lambda body: b'"hello"')),
    "two bodies": Fault("unreadable_body", _body(lambda body: body + body)),
    "not UTF-8": Fault("unreadable_body", _with(b'"remark":"\xff\xfe"')),
    "too deep": Fault("unreadable_body", _with(b'"deep":' + b"[" * _DEPTH + b"]" * _DEPTH)),
    "lone surrogate": Fault("unreadable_body", _with(b'"remark":"\\ud800"')),
    "no number": Fault("unreadable_body", _with(b'"remark":NaN')),
    "empty": Fault("unreadable_body", _body(lambda body: b"")),
    "same key twice": Fault("duplicate_keys", _with(b'"remark":1,"remark":2')),
    "same key twice below": Fault("duplicate_keys", _with(b'"remark":[{"a":1,"a":2}]')),
    "text": Fault("unreadable_body", _header("content-type", "text/plain")),
    "another charset": Fault(
        "unreadable_body", _header("content-type", "application/json; charset=latin-1")
    ),
    "encoded": Fault("content_encoding_unsupported", _header("content-encoding", "gzip")),
    "too large": Fault("body_too_large", _body(lambda body: body + b" " * BODY_BYTES_MAX)),
}
