"""A simulated provider and tool server: counts what reaches it, answers in every bad way.

It speaks the formats of ``replies.py``. Some answers are slow, some are errors, some break off in
the middle, and some never begin. It knows a call by its ``traceparent``, and it holds two laws of
its own: each request carries the company's credential, and nothing of the caller's.
"""

from __future__ import annotations

import random
from typing import Final

import anyio

from gateway.call import Peer
from gateway.io.incoming import ServeOptions
from gateway.io.serve import serve_listener
from gateway.wire import Answer, Incoming
from tests.sim.asking import CALLER_KEY, FORMS
from tests.sim.duties import fault_of
from tests.sim.ledger import Ledger
from tests.sim.net import Host
from tests.sim.replies import JSON, Reply, reply_to
from tests.sim.tokens import LOCAL_TOKEN
from tests.sim.twists import name_of

MODELS: Final = ("llm-1.example:443", "llm-2.example:443")
TOOLS: Final = ("tools-1.example:443", "tools-2.example:443")
COMPANY_KEY: Final = "company-key"

_JSON: Final = (("content-type", JSON),)
_BODY_BYTES_MAX: Final = 1024 * 1024
_PEER: Final = Peer(listener="provider", kind="tcp", uid=None, agent=None, attested_by=None)
_IDENTITY: Final = (CALLER_KEY, LOCAL_TOKEN, "eyJ", "x-gatepost")
"""Parts of what callers show of themselves; ``eyJ`` begins every token."""
_OWN: Final = (("set-cookie", "provider=1"), ("x-internal-host", "provider-7"))
"""In every answer: what must not come back to a caller."""


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
        head = incoming.head
        body = await incoming.read_body(_BODY_BYTES_MAX)
        name = name_of(head.headers.get("traceparent"))
        if name is None:
            self._ledger.violate("forwarding", f"{head.method} {head.target} is of no call")
            return
        self._ledger.arrived(name)
        self._check_credentials(name, incoming)
        self._check_body(name, body)
        mood = self._chance.random() / self.trouble if self.trouble else 1.0
        await anyio.sleep(self._chance.expovariate(2.0))
        if mood < 0.25:
            await anyio.sleep(self._chance.uniform(1.0, 40.0))
        elif mood < 0.5:
            await self._fail(incoming, mood)
            return
        elif mood < 0.6:
            incoming.abort()
            return
        reply = reply_to(name, head.method, head.target, body)
        await self._answer(incoming, name, reply, cut=0.6 <= mood < 1.0)

    def _check_credentials(self, name: str, incoming: Incoming) -> None:
        """Ours and nothing of the caller's, in heads and targets alike."""
        head = incoming.head
        shown = f"{head.target} " + " ".join(
            f"{key}: {value}" for key, value in head.headers.items()
        )
        if shown.count(COMPANY_KEY) != 1:
            self._ledger.violate("credentials", f"{name} came without the company's key: {shown}")
        if any(one in shown for one in _IDENTITY):
            self._ledger.violate("credentials", f"{name} came with its caller's own: {shown}")

    def _check_body(self, name: str, body: bytes) -> None:
        """What was asked, but for what policy obliges a daemon to change."""
        call = self._ledger.calls.get(name)
        if call is None:
            return
        call.got = body
        fault = fault_of(call, FORMS[call.kind].family, body)
        if fault is not None:
            self._ledger.violate("obligations", f"{name} ({call.kind}): {fault}")
        self._ledger.counts["bodies changed"] += body != call.asked

    async def _fail(self, incoming: Incoming, mood: float) -> None:
        """An error, or an answer that no gateway may pass on."""
        if mood < 0.42:
            await incoming.answer(Answer(status=503, headers=_JSON, body=b'{"error":{}}'))
        elif mood < 0.46:
            elsewhere = (("location", "https://elsewhere.example/"),)
            await incoming.answer(Answer(status=307, headers=elsewhere, body=b""))
        else:
            encoded = (*_JSON, ("content-encoding", "gzip"))
            await incoming.answer(Answer(status=200, headers=encoded, body=b"\x1f\x8b"))

    async def _answer(self, incoming: Incoming, name: str, reply: Reply, *, cut: bool) -> None:
        headers = ((("content-type", reply.kind),) if reply.kind else ()) + _OWN
        # Of an answer without a body nothing is left to cut once its head has left.
        cut = cut and any(reply.parts)
        if not cut:
            # Noted first: the last byte may arrive although the connection breaks as it leaves.
            self._ledger.calls[name].sent = reply.sent
        if reply.streamed:
            await self._stream(incoming, headers, reply, cut=cut)
        else:
            body = b"".join(reply.parts)
            await incoming.send_head(reply.status, headers, len(body))
            if cut:
                await incoming.send(body[: self._chance.randrange(1, len(body))])
                incoming.abort()
                return
            await incoming.send(body)
            await incoming.end()

    async def _stream(
        self, incoming: Incoming, headers: tuple[tuple[str, str], ...], reply: Reply, *, cut: bool
    ) -> None:
        await incoming.send_head(reply.status, headers, None)
        last = self._chance.randrange(len(reply.parts)) if cut else len(reply.parts)
        for index, part in enumerate(reply.parts[:last]):
            await incoming.send(part)
            if index % 4 == 0:
                await anyio.sleep(self._chance.random() * 0.2)
        if not cut:
            await incoming.end()
            return
        # Some proxies end what was cut as if it were whole: only the last event tells, where the
        # format has one.
        if reply.has_last_event and self._chance.random() < 0.5:
            await incoming.end()
        incoming.abort()
