"""The call path over real sockets at both ends: what fakes could hide from it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import msgspec
import pytest
from anyio.abc import ByteStream

from gateway import record
from gateway.exchange import handle_exchange
from gateway.routes import RouteTable
from gateway.seal import Sealer, keyed_digest
from gateway.wire import Incoming
from spool.spool import Spool
from tests.sim.disk import SimDisk
from tests.unit.gateway.call_ends import Steps
from tests.unit.gateway.world_builder import (
    ALL,
    DIGEST_KEY,
    INSTANCE,
    KEY,
    SPOOL,
    Place,
    chat,
    policy_text,
    routes,
    snapshot,
)
from tests.unit.gateway_io.application_end import World as Listener
from tests.unit.gateway_io.application_end import all_bytes, connected
from tests.unit.gateway_io.upstream_end import Fake, Script, request_of, upstream

pytestmark = pytest.mark.anyio

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


class Gateway(msgspec.Struct, frozen=True):
    """A gateway that serves one connection: ``client`` is the application's end of it."""

    client: ByteStream
    place: Place
    far: Fake

    async def completion(self) -> record.Completion:
        """The one completion, once it is written."""
        changes = 0
        while not self.place.completions:
            changes = await self.place.spool.wait_change(changes)
        (one,) = self.place.completions
        return one

    async def received(self, ending: bytes) -> bytes:
        """Everything up to ``ending``."""
        data = b""
        while not data.endswith(ending):
            data += await self.client.receive()
        return data


@asynccontextmanager
async def gateway(script: Script | tuple[bytes, ...], text: str = ALL) -> AsyncIterator[Gateway]:
    async with upstream(script) as (far, pool, at), anyio.create_task_group() as tasks:
        spool = await Spool.open(SimDisk(1), SPOOL, Sealer(KEY, INSTANCE), INSTANCE)
        assert isinstance(spool.disk, SimDisk)
        place = Place(spool.disk, spool, snapshot(text))
        here = [msgspec.structs.replace(one, upstreams=(at,)) for one in routes()]
        place.change(routes=RouteTable(here), upstreams=pool)
        tasks.start_soon(spool.run)
        tasks.start_soon(place.in_flight.watch_hang_ups)

        async def handle(incoming: Incoming) -> None:
            await handle_exchange(incoming, place.world)

        async with connected(handle, Listener()) as client:
            yield Gateway(client, place, far)
        assert place.faults == []
        tasks.cancel_scope.cancel()


def request(
    target: str, body: bytes = b"", method: str = "POST", *, kind: str = "application/json"
) -> bytes:
    head = f"{method} {target} HTTP/1.1\r\nHost: gw\r\nContent-Type: {kind}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


UPLOAD = (
    b"POST /drop/files HTTP/1.1\r\nHost: gw\r\nContent-Type: x/y\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
CHAT = request("/openai/v1/chat/completions", chat())


async def test_a_call_goes_there_and_back_and_is_recorded() -> None:
    async with gateway((OK,)) as here:
        await here.client.send(CHAT + CHAT)
        answers = await here.received(b"{}") + await here.received(b"{}")
        assert answers.count(b"HTTP/1.1 200 OK") == 2
        decisions = here.place.decisions
        assert [answers.count(one.id.encode()) for one in decisions] == [1, 1]
        assert chat() in here.far.requests[0]


async def test_an_upload_passes_as_it_arrives() -> None:
    async def script(stream: ByteStream) -> None:
        data = b""
        while not data.endswith(b"0\r\n\r\n"):
            data += await stream.receive()
            if b"one" in data:
                arrived.set()
        await stream.send(OK)
        await stream.receive()

    arrived = anyio.Event()
    async with gateway(script) as here:
        await here.client.send(UPLOAD + chunk(b"part one"))
        await arrived.wait()
        await here.client.send(chunk(b"part two") + b"0\r\n\r\n")
        assert b" 200 OK" in await here.received(b"{}")
        completion = await here.completion()
        assert completion.outcome == "ok"
        assert completion.digest.request == keyed_digest(DIGEST_KEY, b"part onepart two")


async def test_who_hangs_up_inside_an_upload_ends_it() -> None:
    async def script(stream: ByteStream) -> None:
        data = b""
        try:
            while True:
                data += await stream.receive()
                if data.endswith(b"part one\r\n"):
                    arrived.set()
        finally:
            left.set()

    arrived, left = anyio.Event(), anyio.Event()
    async with gateway(script) as here:
        await here.client.send(UPLOAD + chunk(b"part one"))
        await arrived.wait()
        await here.client.aclose()
        completion = await here.completion()
        assert completion.outcome == "client_abort"
        assert completion.digest.request == keyed_digest(DIGEST_KEY, b"part one")
        await left.wait()


async def test_who_hangs_up_inside_an_answer_cancels_the_upstream_call() -> None:
    async def script(stream: ByteStream) -> None:
        await request_of(stream)
        await stream.send(HEAD + chunk(b"data: {}\n\n"))
        try:
            await stream.receive()
        finally:
            left.set()

    left = anyio.Event()
    async with gateway(script) as here:
        await here.client.send(CHAT)
        await here.received(b"\n\n\r\n")
        await here.client.aclose()
        assert (await here.completion()).outcome == "client_abort"
        await left.wait()


async def test_a_stream_that_is_cut_has_no_clean_end() -> None:
    async def script(stream: ByteStream) -> None:
        await request_of(stream)
        await stream.send(HEAD + chunk(b"data: {}\n\n"))

    async with gateway(script) as here:
        await here.client.send(CHAT)
        assert (await all_bytes(here.client)).endswith(chunk(b"data: {}\n\n"))
        assert (await here.completion()).outcome == "upstream_error"


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
    ],
)
async def test_an_answer_without_a_body_keeps_the_connection(method: str, answer: bytes) -> None:
    async with gateway((answer,)) as here:
        for _ in range(2):
            await here.client.send(request("/pay/x", method=method))
            head = await here.received(b"\r\n\r\n")
            assert head.startswith(answer[:12])
        assert [one.outcome for one in here.place.completions][:1] == ["ok"]


async def test_a_denied_upload_is_not_asked_to_continue() -> None:
    text = policy_text(restrictions=[{"id": "no", "effect": "deny", "actions": ["*"]}])
    async with gateway((OK,), text) as here:
        await here.client.send(UPLOAD.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
        answer = await here.received(b"}}")
        assert answer.startswith(b"HTTP/1.1 403 ")
        assert here.far.requests == []


async def test_a_refusal_keeps_the_connection_for_the_next_call() -> None:
    async with gateway((OK,)) as here:
        await here.client.send(request("/openai/v1/chat/completions", b"{"))
        assert (await here.received(b"}}")).startswith(b"HTTP/1.1 400 ")
        await here.client.send(CHAT)
        assert (await here.received(b"{}")).startswith(b"HTTP/1.1 200 ")
        steps: Steps = here.place.steps
        assert steps == [("gateway", "classify")]
