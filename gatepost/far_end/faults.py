"""The ways in which an upstream fails, each chosen by the name of the model that is asked for.

Owns: the misbehaviour. Refuses: being reached by accident; a model name without a fault's name
gets a real answer.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from itertools import islice
from typing import Final, Literal, get_args

from gatepost.far_end.web import Cut, Exchange

Fault = Literal[
    "fault-500",
    "fault-429",
    "fault-redirect",
    "fault-gzip",
    "fault-cut-body",
    "fault-cut-stream",
    "fault-stall-stream",
    "fault-slow",
    "fault-refuse",
]
FAULTS: Final[frozenset[str]] = frozenset(get_args(Fault))


class HungUp(Cut):
    """The caller went away from an answer that would never have ended."""


EVENTS_BEFORE_FAULT: Final = 3
"""A stream that is cut or stalls has begun: the caller has seen this many events."""

JSON: Final = ("content-type", "application/json")
STREAM: Final = ("content-type", "text/event-stream; charset=utf-8")


async def before_answer(fault: str, exchange: Exchange, error: bytes) -> bool:
    """Faults that need no answer: whether ``fault`` was one, and is done.

    ``error``: the provider's own error body, for the faults that have one. ``fault-slow`` sends
    nothing until the caller hangs up, ``fault-refuse`` closes without a byte.
    """
    if fault == "fault-500":
        await exchange.answer(500, [JSON], error)
    elif fault == "fault-429":
        await exchange.answer(429, [JSON, ("retry-after", "1")], error)
    elif fault == "fault-redirect":
        await exchange.answer(307, [("location", "http://127.0.0.1:9/elsewhere")])
    elif fault == "fault-slow":
        await exchange.wait_gone()
        raise HungUp
    elif fault == "fault-refuse":
        raise Cut
    else:
        return False
    return True


async def spoilt_body(fault: str, exchange: Exchange, body: bytes) -> bool:
    """Faults of a whole answer: whether ``fault`` was one, and is done.

    ``fault-gzip`` encodes although nobody may have asked for it; ``fault-cut-body`` promises all
    bytes and sends half.
    """
    if fault == "fault-gzip":
        headers = [JSON, ("content-encoding", "gzip")]
        await exchange.answer(200, headers, gzip.compress(body, mtime=0))
        return True
    if fault == "fault-cut-body":
        await exchange.start(200, [JSON, ("content-length", str(len(body)))])
        await exchange.send(body[: len(body) // 2])
        raise Cut
    return False


async def spoilt_stream(fault: str, exchange: Exchange, events: Iterable[bytes]) -> bool:
    """Faults of a stream: whether ``fault`` was one, and is done.

    Both begin well; ``fault-cut-stream`` then closes in the middle of an event and without the
    last chunk, ``fault-stall-stream`` sends nothing more until the caller hangs up.
    """
    if fault not in ("fault-cut-stream", "fault-stall-stream"):
        return False
    started = list(islice(events, EVENTS_BEFORE_FAULT + 1))
    await exchange.start(200, [STREAM])
    await exchange.send(b"".join(started[:EVENTS_BEFORE_FAULT]))
    if fault == "fault-cut-stream":
        await exchange.send(started[-1][: len(started[-1]) // 2])
        raise Cut
    await exchange.wait_gone()
    raise HungUp
