"""What people may ask for: filters, order and the cursor of a query.

Owns: turning request parameters into a checked ``Query`` and a cursor into text and back.
Refuses: SQL of the answer (``query.py``). An unknown filter is an error: a typing mistake must
not widen what an auditor believes to have asked for.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from central.errors import Refused
from central.record_store.grade import GRADES, Grade
from gateway import limits
from gateway.timestamp import time_micros, time_text

Order = Literal["newest", "oldest"]

TEXT_FILTERS: Final = (
    "person",
    "agent",
    "model",
    "provider",
    "operation",
    "outcome",
    "reason",
    "level",
    "tool",
    "tool_server",
    "route",
    "policy_digest",
    "kind",
    "instance",
)
"""Compared for equality with the column of the same name."""

_KNOWN: Final = frozenset(
    (
        *TEXT_FILTERS,
        "of",
        "grade",
        "category",
        "policy_version",
        "untrusted",
        "decided_from",
        "decided_to",
    )
)
_PAGING: Final = frozenset({"order", "limit", "cursor", "region"})
_LIMIT_DEFAULT: Final = 100


class Cursor(msgspec.Struct, frozen=True):
    """Where the next page begins: after (``time_us``, ``leaf_index``), below ``at_size``.

    ``query`` binds it to the filters that it was made for.
    """

    time_us: int
    leaf_index: int
    at_size: int
    query: str


class Content(msgspec.Struct, frozen=True):
    """Records whose ``column`` is one of ``digests``, 32 bytes each."""

    column: Literal["input_digest", "request_digest"]
    digests: tuple[bytes, ...]


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """``text``: column → value. ``untrusted``: whether the record's key was taken back.
    ``decided_from`` inclusive, ``decided_to`` exclusive, in µs. ``content``: of a search, else
    None."""

    region: str | None
    text: dict[str, str]
    of: str | None
    category: str | None
    policy_version: int | None
    untrusted: bool | None
    grade: Grade | None
    decided_from_us: int | None
    decided_to_us: int | None
    order: Order
    limit: int
    cursor: Cursor | None
    fingerprint: str
    content: Content | None = None

    @property
    def times_text(self) -> str | None:
        """The times of decision asked for as ``from/to``, ``..`` for an open end, or None."""
        ends = (self.decided_from_us, self.decided_to_us)
        if ends == (None, None):
            return None
        return "/".join(".." if end is None else time_text(end) for end in ends)


def read_query(parameters: Iterable[tuple[str, str]], *, bound_to: str = "") -> Query:
    """The query in ``parameters``. ``bound_to``: what else its cursors are only good for.

    Raises Refused (``bad_filter``, ``bad_cursor``).
    """
    values: dict[str, str] = {}
    for name, value in parameters:
        if name not in _KNOWN and name not in _PAGING:
            raise Refused("bad_filter", f"there is no filter of that name; known: {_names()}")
        if name in values:
            raise Refused("bad_filter", f"{name} stands there twice")
        values[name] = value
    order = values.get("order", "newest")
    if order not in ("newest", "oldest"):
        raise Refused("bad_filter", "order is newest or oldest")
    fingerprint = _fingerprint(values, bound_to)
    return Query(
        region=values.get("region"),
        text={name: values[name] for name in TEXT_FILTERS if name in values},
        of=values.get("of"),
        category=values.get("category"),
        policy_version=_integer(values, "policy_version", limits.JSON_INTEGER_MAX),
        untrusted=_flag(values, "untrusted"),
        grade=_grade(values.get("grade")),
        decided_from_us=_time(values, "decided_from"),
        decided_to_us=_time(values, "decided_to"),
        order="newest" if order == "newest" else "oldest",
        limit=_integer(values, "limit", limits.QUERY_PAGE_MAX) or _LIMIT_DEFAULT,
        cursor=_cursor(values.get("cursor"), fingerprint),
        fingerprint=fingerprint,
    )


def cursor_text(cursor: Cursor) -> str:
    """``cursor`` as an opaque word for URLs."""
    return base64.urlsafe_b64encode(msgspec.json.encode(cursor)).rstrip(b"=").decode()


def decode_cursor(text: str) -> Cursor:
    """The cursor of ``cursor_text``, of whatever query. Raises Refused (``bad_cursor``)."""
    try:
        data = base64.b64decode(
            text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True
        )
        return msgspec.json.decode(data, type=Cursor)
    except (binascii.Error, UnicodeError, msgspec.DecodeError) as error:
        raise Refused("bad_cursor") from error


def _cursor(text: str | None, fingerprint: str) -> Cursor | None:
    if text is None:
        return None
    cursor = decode_cursor(text)
    numbers = (cursor.time_us, cursor.leaf_index, cursor.at_size)
    if cursor.query != fingerprint or any(abs(n) > limits.JSON_INTEGER_MAX for n in numbers):
        raise Refused("bad_cursor", "repeat the query with the same filters, region and order")
    return cursor


def _fingerprint(values: dict[str, str], bound_to: str) -> str:
    asked = sorted(pair for pair in values.items() if pair[0] not in ("cursor", "limit"))
    if bound_to:
        asked.append(("", bound_to))
    return hashlib.sha256(msgspec.json.encode(asked)).hexdigest()[:16]


def _integer(values: dict[str, str], name: str, most: int) -> int | None:
    text = values.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 16 or not int(text) <= most:
        raise Refused("bad_filter", f"{name} is a number from 0 to {most}")
    return int(text)


def _flag(values: dict[str, str], name: str) -> bool | None:
    number = _integer(values, name, 1)
    return None if number is None else number == 1


def _time(values: dict[str, str], name: str) -> int | None:
    text = values.get(name)
    if text is None:
        return None
    try:
        return time_micros(text)
    except ValueError as error:
        raise Refused("bad_filter", f"{name} is of the form YYYY-MM-DDTHH:MM:SS.ffffffZ") from error


def _grade(text: str | None) -> Grade | None:
    found = next((grade for grade in GRADES if grade == text), None)
    if text is not None and found is None:
        raise Refused("bad_filter", f"grade is one of {', '.join(GRADES)}")
    return found


def _names() -> str:
    return ", ".join(sorted(_KNOWN | _PAGING))
