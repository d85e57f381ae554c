"""A simulated agent: calls through the daemon's socket, reads answers, and sometimes hangs up.

Each call is asked once and never repeated, so whatever reaches a provider twice was repeated by
somebody else.
"""

from __future__ import annotations

import random
from typing import Final

import anyio
import h11
import msgspec

from tests.sim.ledger import Call, Kind, Ledger
from tests.sim.net import Host, Refused
from tests.sim.provider import answer_text
from tests.sim.stream import SimStream

UID: Final = 1_000
PATHS: Final[dict[Kind, str]] = {
    "chat": "/openai/v1/chat/completions",
    "stream": "/openai/v1/chat/completions",
    "quick": "/quick/v1/chat/completions",
    "tool": "/mcp/orders",
}
_KINDS: Final[tuple[Kind, ...]] = ("chat", "chat", "stream", "stream", "quick", "tool")
_PATIENCE_SECONDS: Final = 200.0
_LOST: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError, h11.RemoteProtocolError)


class _Error(msgspec.Struct):
    code: str | int | None = None
    data: _Error | None = None


class _Body(msgspec.Struct):
    error: _Error | None = None


def draw_kind(chance: random.Random) -> Kind:
    return chance.choice(_KINDS)


def body_of(call: Call, chance: random.Random) -> bytes:
    """The JSON body of ``call``."""
    if call.kind == "tool":
        params = {"name": call.name, "arguments": {"order": chance.randrange(1_000)}}
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        return msgspec.json.encode(message)
    text = "tell me more " * chance.randrange(1, 60)
    messages = [{"role": "user", "content": text}]
    return msgspec.json.encode(
        {"model": call.name, "messages": messages, "stream": call.kind == "stream"}
    )


class Agent:
    """One client process with one connection at a time. ``hang_up``: the chance per call."""

    def __init__(
        self, host: Host, address: str, ledger: Ledger, chance: random.Random, hang_up: float
    ) -> None:
        self._host = host
        self._address = address
        self._ledger = ledger
        self._chance = chance
        self._hang_up = hang_up
        self._stream: SimStream | None = None
        self._http = h11.Connection(h11.CLIENT)

    async def call(self, call: Call) -> bool:
        """Make ``call`` and note what came of it; False if nobody could be asked."""
        if not await self._connect():
            return False
        patience = _PATIENCE_SECONDS
        if self._chance.random() < self._hang_up:
            patience = self._chance.choice((0.01, 0.5, 3.0)) * self._chance.random()
        answered = False
        with anyio.move_on_after(patience):
            answered = await self._exchange(call)
        call.hung_up = not answered and patience < _PATIENCE_SECONDS
        if not answered or self._http.our_state is h11.MUST_CLOSE or self._chance.random() < 0.1:
            self._drop()
        else:
            self._http.start_next_cycle()
        return True

    async def _connect(self) -> bool:
        if self._stream is None:
            try:
                self._stream = await self._host.connect(self._address, UID)
            except Refused:
                return False
            self._http = h11.Connection(h11.CLIENT)
        return True

    def _drop(self) -> None:
        if self._stream is not None:
            self._stream.close()
        self._stream = None

    async def _exchange(self, call: Call) -> bool:
        body = body_of(call, self._chance)
        headers = [("host", "localhost"), ("content-type", "application/json")]
        if call.kind == "tool":
            headers.append(("accept", "application/json, text/event-stream"))
        headers.append(("content-length", str(len(body))))
        target = PATHS[call.kind]
        wire = self._http.send(h11.Request(method="POST", target=target, headers=headers)) or b""
        wire += self._http.send(h11.Data(data=body)) or b""
        wire += self._http.send(h11.EndOfMessage()) or b""
        try:
            await self._send(wire)
            return await self._receive(call)
        except _LOST:
            return False

    async def _send(self, wire: bytes) -> None:
        assert self._stream is not None
        if self._chance.random() < 0.1:
            cut = self._chance.randrange(1, len(wire))
            await self._stream.send(wire[:cut])
            await anyio.sleep(self._chance.random())
            wire = wire[cut:]
        try:
            await self._stream.send(wire)
        except _LOST:
            # It may have been answered before all of it was read.
            return

    async def _receive(self, call: Call) -> bool:
        body = b""
        while True:
            event = await self._next_event()
            if isinstance(event, h11.Response):
                call.status = event.status_code
                found = dict(event.headers).get(b"x-gatepost-decision-id")
                call.decision_id = None if found is None else found.decode()
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                call.complete = True
                self._judge(call, body)
                return True
            else:
                return False

    async def _next_event(self) -> object:
        assert self._stream is not None
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event
            try:
                data = await self._stream.receive()
            except anyio.EndOfStream:
                data = b""
            self._http.receive_data(data)

    def _judge(self, call: Call, body: bytes) -> None:
        """A whole answer is a refusal of the gateway, the provider's error, or the right text."""
        if body.startswith(b"{"):
            error = msgspec.json.decode(body, type=_Body).error
            if error is not None:
                inner = error.data or error
                call.code = str(inner.code) if inner.code is not None else None
                return
        if call.status != 200:
            return
        if call.kind == "stream" and not body.endswith(b"data: [DONE]\n\n"):
            self._ledger.violate("answers", f"{call.name}: a cut stream ended cleanly")
        text = answer_text(call.name)
        if call.kind == "stream":
            body = b"".join(_pieces(body))
        if text.strip().encode() not in body:
            self._ledger.violate("answers", f"{call.name}: the answer is not its own: {body!r}")


class _Delta(msgspec.Struct):
    content: str = ""


class _Choice(msgspec.Struct):
    delta: _Delta


class _Chunk(msgspec.Struct):
    choices: list[_Choice]


def _pieces(body: bytes) -> list[bytes]:
    events = [part.removeprefix(b"data: ") for part in body.split(b"\n\n") if part]
    chunks = [msgspec.json.decode(one, type=_Chunk) for one in events if one != b"[DONE]"]
    return [choice.delta.content.encode() for chunk in chunks for choice in chunk.choices]
