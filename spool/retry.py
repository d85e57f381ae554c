"""When to try again: what an answer means for the next attempt, and how long to wait.

Owns: the sorting of answers, ``Retry-After`` and the waits. Refuses: sending, and giving up:
a spool that gives up loses records, so there is no last attempt.
"""

from __future__ import annotations

import email.utils
from datetime import UTC
from typing import Final, Literal

from gateway import limits
from gateway.ports import Entropy, ServiceAnswer

Meaning = Literal["taken", "refused", "too_large", "later", "environment"]
"""``refused``: perhaps a bad record. ``later``: the store cannot now. ``environment``: we are not
let in, or it is not the right place; never a record's fault."""

_LATER: Final = frozenset({408, 425, 429})
_REFUSED: Final = frozenset({400, 422})
_DRAIN_SECONDS_MAX: Final = 1.0


class Delayed(Exception):
    """The batch was not taken and is to be sent again. ``status``: None where none came."""

    def __init__(
        self,
        why: str,
        *,
        status: int | None = None,
        environment: bool = False,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(why)
        self.why = why
        self.status = status
        self.environment = environment
        self.retry_after_seconds = retry_after_seconds


def meaning(status: int) -> Meaning:
    """What an HTTP status says about the batch that was sent."""
    if 200 <= status < 300:
        return "taken"
    if status in _REFUSED:
        return "refused"
    if status == 413:
        return "too_large"
    return "later" if status in _LATER or status >= 500 else "environment"


def retry_after_seconds(answer: ServiceAnswer, wall_us: int) -> float | None:
    """``Retry-After`` (RFC 9110 section 10.2.3) as seconds from now, capped; None without one.

    A date is held against our clock, which may be wrong: hence the cap.
    """
    value = answer.headers.get("retry-after", "").strip()
    if not value:
        return None
    try:
        plain = value.isascii() and value.isdigit()
        seconds = float(int(value)) if plain else _until(value, wall_us)
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(0.0, seconds), limits.RETRY_AFTER_SECONDS_MAX)


def _until(http_date: str, wall_us: int) -> float:
    moment = email.utils.parsedate_to_datetime(http_date)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp() - wall_us / 1_000_000


def wait_seconds(delayed: Delayed, failures: int, entropy: Entropy, *, draining: bool) -> float:
    """How long to wait after the ``failures``-th failure in a row.

    Full jitter (M. Brooker, "Exponential Backoff And Jitter", 2015): anywhere up to a bound that
    doubles, so that daemons that failed together do not come back together. It is added to
    ``Retry-After`` for the same reason.
    """
    if draining:
        return entropy.fraction() * _DRAIN_SECONDS_MAX
    doublings = min(failures - 1, 16)
    bound = min(limits.SHIP_RETRY_SECONDS_MAX, limits.SHIP_RETRY_SECONDS_FIRST * (1 << doublings))
    return (delayed.retry_after_seconds or 0.0) + entropy.fraction() * bound
