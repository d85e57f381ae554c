"""The two ends of a call as named fakes: an application and upstreams that follow a script.

Both write every step into one list, so that a test can assert order across them, and both look
at what is durable on the disk at the moment that a law speaks of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

import anyio

from gateway.call import Head, Peer, Upstream
from gateway.errors import TurnAway, UpstreamFailed
from gateway.wire import Answer, ApplicationGone, OutgoingRequest, UpstreamHead
from tests.sim.loop import elapse

Steps = list[tuple[str, ...]]
"""What happened, in order: (who, what, …)."""

AGENT = "billing"
PEER = Peer(listener="agent", kind="uds", uid=10001, agent=AGENT, attested_by="uds_uid")
JSON = ("content-type", "application/json")
SSE = ("content-type", "text/event-stream")


class Application:
    """``wire.Incoming``. ``gone_after``: sends that succeed before it is found gone;
    ``body_fault``: what reading the body raises after ``parts``; ``stalls``: it reads nothing.
    """

    def __init__(
        self,
        steps: Steps,
        durable: Callable[[], set[str]],
        head: Head,
        *parts: bytes,
        peer: Peer = PEER,
        gone_after: int | None = None,
        body_fault: Exception | None = None,
        stalls: bool = False,
    ) -> None:
        self.head = head
        self.peer = peer
        self.bytes_in = 0
        self.bytes_out = 0
        self.given: Answer | None = None
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.content_length: int | None = None
        self.received = b""
        self.ended = False
        self.aborted = False
        self.durable_before: set[str] | None = None
        self.durable_at: list[tuple[bytes, set[str]]] = []
        self.answered_at: float | None = None
        self._steps = steps
        self._durable = durable
        self._parts = list(parts)
        self._gone_after = gone_after
        self._body_fault = body_fault
        self._stalls = stalls
        self._gone = anyio.Event()

    def hang_up(self) -> None:
        self._gone.set()

    def _note(self, *what: str) -> None:
        self._steps.append(("application", *what))

    def _gets(self, *what: str) -> None:
        """A first byte leaves: note what was durable before it."""
        self._note(*what)
        if self.durable_before is None:
            self.durable_before = self._durable()
            self.answered_at = anyio.current_time()

    async def read_body(self, bytes_max: int, hold: Callable[[int], None] | None = None) -> bytes:
        parts = []
        while part := await self.read_chunk():
            parts.append(part)
            if self.bytes_in > bytes_max:
                raise TurnAway("body_too_large", f"larger than {bytes_max}")
            if hold is not None:
                hold(self.bytes_in)
        return b"".join(parts)

    async def read_chunk(self) -> bytes:
        await anyio.lowlevel.checkpoint()
        if self._parts:
            part = self._parts.pop(0)
            self.bytes_in += len(part)
            return part
        if self._body_fault is not None:
            raise self._body_fault
        return b""

    async def answer(self, answer: Answer) -> None:
        if self.status is not None:
            self.abort()
            return
        self._gets("answer", str(answer.status))
        await self._take(len(answer.body))
        self.given, self.status, self.received = answer, answer.status, answer.body
        self.headers = dict(answer.headers)
        self.ended = True

    async def send_head(
        self, status: int, headers: tuple[tuple[str, str], ...], content_length: int | None
    ) -> None:
        assert self.status is None
        self._gets("head", str(status))
        self.status, self.headers, self.content_length = status, dict(headers), content_length

    async def send(self, data: bytes) -> None:
        assert self.status is not None
        assert not self.ended
        self._gets("send", data.decode("latin-1"))
        self.durable_at.append((data, self._durable()))
        await self._take(len(data))
        self.received += data

    async def _take(self, count: int) -> None:
        if self._stalls:
            await anyio.sleep_forever()
        if self._gone.is_set() or self._gone_after == 0:
            raise ApplicationGone
        if self._gone_after is not None:
            self._gone_after -= 1
        await anyio.lowlevel.checkpoint()
        self.bytes_out += count

    async def end(self) -> None:
        self._note("end")
        if self.content_length is not None and self.head.method != "HEAD":
            assert len(self.received) == self.content_length
        self.ended = True

    def abort(self) -> None:
        self._note("abort")
        self.aborted = not self.ended

    def hung_up(self) -> bool:
        return self._gone.is_set()


Piece = bytes | float | str | Callable[[], None]
"""Of an answer's body: bytes, seconds to wait, a code to fail with, or something to do."""


@dataclass
class Script:
    """What one upstream does with one call. ``refuses``, ``breaks``: codes raised by ``open`` and
    before the head; ``untouched``: no byte was sent when it broke; ``thinks``: seconds."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = (JSON,)
    body: tuple[Piece, ...] = (b"{}",)
    refuses: str | None = None
    breaks: str | None = None
    untouched: bool = False
    thinks: float = 0.0


@dataclass
class FarCall:
    """``wire.UpstreamCall`` of a script; keeps what it was sent."""

    name: str
    request: OutgoingRequest
    script: Script
    steps: Steps
    opened_at: float
    received: bytes = b""
    request_ended: bool = False
    whole: bool = False
    left: bool = False
    pieces: list[Piece] = field(default_factory=list)

    @property
    def sent_any(self) -> bool:
        return not self.script.untouched

    async def send(self, data: bytes) -> None:
        self.steps.append((self.name, "body"))
        self.received += data

    async def end(self) -> None:
        self.request_ended = True

    async def receive_head(self) -> UpstreamHead:
        await elapse(self.script.thinks)
        if self.script.breaks is not None:
            raise UpstreamFailed(self.script.breaks)
        self.steps.append((self.name, "head"))
        return UpstreamHead(status=self.script.status, headers=self.script.headers)

    async def receive(self) -> bytes:
        await anyio.lowlevel.checkpoint()
        while self.pieces:
            piece = self.pieces.pop(0)
            if isinstance(piece, bytes):
                return piece
            if isinstance(piece, str):
                raise UpstreamFailed(piece)
            if callable(piece):
                piece()
            else:
                await elapse(piece)
        self.whole = True
        return b""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *details: object) -> None:
        self.left = True
        self.steps.append((self.name, "done" if self.whole else "cancelled"))


class FarEnds:
    """``wire.Upstreams`` that follow scripts by upstream name; the last script of each repeats."""

    def __init__(self, steps: Steps) -> None:
        self.scripts: dict[str, list[Script]] = {}
        self.calls: list[FarCall] = []
        self._steps = steps

    def set(self, name: str, *scripts: Script) -> None:
        self.scripts[name] = list(scripts)

    async def open(
        self,
        upstream: Upstream,
        request: OutgoingRequest,
        *,
        first_byte_seconds_max: float,
        idle_seconds_max: float,
    ) -> FarCall:
        assert first_byte_seconds_max > 0
        assert idle_seconds_max > 0
        self._steps.append((upstream.name, "open"))
        await anyio.lowlevel.checkpoint()
        scripts = self.scripts.get(upstream.name) or [Script()]
        script = scripts.pop(0) if len(scripts) > 1 else scripts[0]
        if script.refuses is not None:
            raise UpstreamFailed(script.refuses)
        call = FarCall(
            upstream.name,
            request,
            script,
            self._steps,
            anyio.current_time(),
            pieces=list(script.body),
        )
        self.calls.append(call)
        return call
