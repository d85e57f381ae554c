"""Points in time as Gatepost writes them: ``YYYY-MM-DDTHH:MM:SS.ffffffZ``.

Owns: the one text form of a time and its exact inverse. Refuses: reading a clock; the wall
clock is a port (``ports.Clock``), and durations come from the event loop.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FORM: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")
_SECOND: Final = timedelta(seconds=1)


@lru_cache(maxsize=8)
def _second_text(second: int) -> str:
    # Calls of one second share their text; formatting it anew costs as much as hashing a record.
    # Not strftime: whether it pads a year below 1000 depends on the C library.
    return (_EPOCH + timedelta(seconds=second)).isoformat()[:19]


def time_text(wall_us: int) -> str:
    """``wall_us`` (microseconds since 1970-01-01 UTC) in the form of every Gatepost document."""
    second, micros = divmod(wall_us, 1_000_000)
    return f"{_second_text(second)}.{micros:06d}Z"


def time_micros(text: str) -> int:
    """The inverse of ``time_text``: microseconds since 1970 UTC.

    Raises ValueError unless ``text`` has exactly that form: other spellings of one instant
    (an offset, no fraction, a leap second) would give one time two signed texts.
    """
    if _FORM.fullmatch(text) is None:
        raise ValueError(f"time {text!r} is not of the form YYYY-MM-DDTHH:MM:SS.ffffffZ")
    try:
        return _second_micros(text[:19]) + int(text[20:26])
    except ValueError as error:
        raise ValueError(f"time {text!r} is no moment of the calendar: {error}") from error


@lru_cache(maxsize=8)
def _second_micros(text: str) -> int:
    # fromisoformat takes many forms, the pattern lets one through; strptime costs 50 times more.
    moment = datetime.fromisoformat(text + "Z")
    if text[11:13] == "24":  # some versions of Python read it as the next midnight
        raise ValueError("hours end at 23")
    return (moment - _EPOCH) // _SECOND * 1_000_000
