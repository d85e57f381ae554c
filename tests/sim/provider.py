"""A simulated provider and tool server: counts what reaches it, answers in every bad way.

It speaks just enough of chat completions and of MCP ``tools/call``. Some answers are slow, some
are errors, some break off in the middle, and some never begin.
"""

from __future__ import annotations

import random
from typing import Final

import anyio
import msgspec

from gateway.call import Peer
from gateway.io.incoming import ServeOptions
from gateway.io.serve import serve_listener
from gateway.wire import Answer, Incoming
from tests.sim.ledger import Ledger
from tests.sim.net import Host

MODELS: Final = ("llm-1.example:443", "llm-2.example:443")
TOOLS: Final = ("tools-1.example:443", "tools-2.example:443")

_JSON: Final = (("content-type", "application/json"),)
_EVENTS: Final = (("content-type", "text/event-stream"),)
_BODY_BYTES_MAX: Final = 1024 * 1024
_PEER: Final = Peer(listener="provider", kind="tcp", uid=None, agent=None, attested_by=None)


class _Params(msgspec.Struct):
    name: str


class _Request(msgspec.Struct):
    """A chat completion or a JSON-RPC message; the other's members stay None."""

    model: str | None = None
    stream: bool = False
    id: int | None = None
    params: _Params | None = None


def answer_text(name: str) -> str:
    """What is answered to call ``name``; agents compare."""
    return f"this is the answer to {name}. " * (1 + int(name[-6:]) % 12)


class Provider:
    """All upstreams of one world. ``trouble``: the chance that an answer is not a good one."""

    def __init__(self, ledger: Ledger, chance: random.Random, trouble: float) -> None:
        self.trouble = trouble
        self._ledger = ledger
        self._chance = chance

    async def serve(self, host: Host) -> None:
        """Serve every address until cancelled."""
        options = ServeOptions(
            listener="provider",
            hosts=None,
            draining=lambda: False,
            turned_away=lambda code, listener: None,
            failed=lambda error: self._ledger.violate("world", f"provider: {error!r}"),
        )
        limiter = anyio.CapacityLimiter(1_000)
        async with anyio.create_task_group() as tasks:
            for address in (*MODELS, *TOOLS):
                listener = host.listen(address)
                tasks.start_soon(
                    serve_listener, listener, lambda _: _PEER, self._handle, options, limiter
                )

    async def _handle(self, incoming: Incoming) -> None:
        body = await incoming.read_body(_BODY_BYTES_MAX)
        request = msgspec.json.decode(body, type=_Request)
        name = request.params.name if request.params is not None else request.model
        assert name is not None
        self._ledger.arrived(name)
        mood = self._chance.random() / self.trouble if self.trouble else 1.0
        await anyio.sleep(self._chance.expovariate(2.0))
        if mood < 0.25:
            await anyio.sleep(self._chance.uniform(1.0, 40.0))
        elif mood < 0.5:
            await incoming.answer(Answer(status=503, headers=_JSON, body=b'{"error":{}}'))
            return
        elif mood < 0.6:
            incoming.abort()
            return
        await self._answer(incoming, request, name, cut=0.6 <= mood < 1.0)

    async def _answer(self, incoming: Incoming, request: _Request, name: str, *, cut: bool) -> None:
        if request.stream:
            await self._stream(incoming, name, cut=cut)
            return
        body = _tool_result(request.id, name) if request.params is not None else _chat(name)
        await incoming.send_head(200, _JSON, len(body))
        if cut:
            await incoming.send(body[: self._chance.randrange(1, len(body))])
            incoming.abort()
            return
        await incoming.send(body)
        await incoming.end()

    async def _stream(self, incoming: Incoming, name: str, *, cut: bool) -> None:
        await incoming.send_head(200, _EVENTS, None)
        text = answer_text(name)
        pieces = [text[at : at + 25] for at in range(0, len(text), 25)]
        last = self._chance.randrange(len(pieces)) if cut else len(pieces)
        for index, piece in enumerate(pieces[:last]):
            await incoming.send(_event({"index": 0, "delta": {"content": piece}}))
            if index % 4 == 0:
                await anyio.sleep(self._chance.random() * 0.2)
        if cut:
            # Some proxies end what was cut as if it were whole: only the last event tells.
            if self._chance.random() < 0.5:
                await incoming.end()
            incoming.abort()
            return
        await incoming.send(_event({"index": 0, "delta": {}, "finish_reason": "stop"}))
        await incoming.send(b"data: [DONE]\n\n")
        await incoming.end()


def _event(choice: dict[str, object]) -> bytes:
    chunk = {"id": "c1", "object": "chat.completion.chunk", "choices": [choice]}
    return b"data: " + msgspec.json.encode(chunk) + b"\n\n"


def _chat(name: str) -> bytes:
    message = {"role": "assistant", "content": answer_text(name)}
    return msgspec.json.encode(
        {
            "id": "c1",
            "object": "chat.completion",
            "model": name,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8},
        }
    )


def _tool_result(rpc_id: int | None, name: str) -> bytes:
    content = [{"type": "text", "text": answer_text(name)}]
    return msgspec.json.encode({"jsonrpc": "2.0", "id": rpc_id, "result": {"content": content}})
