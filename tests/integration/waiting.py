"""Waiting for another process: the one place of these tests that sleeps.

Owns: asking again until a condition holds or a deadline has passed. Refuses: fixed pauses; what
is waited for is always named, so that a failure says what never came.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")

SECONDS_MAX = 20.0
_STEP_SECONDS = 0.02


class NeverCame(AssertionError):
    """The condition did not hold in time."""


def eventually(ask: Callable[[], _T | None], what: str, seconds: float = SECONDS_MAX) -> _T:
    """The first truthy answer of ``ask``. Raises NeverCame with the last answer."""
    deadline = time.perf_counter() + seconds
    while True:
        answer = ask()
        if answer:
            return answer
        if time.perf_counter() > deadline:
            raise NeverCame(f"{what} did not come within {seconds:g} s; last: {answer!r}")
        time.sleep(_STEP_SECONDS)
