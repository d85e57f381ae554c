"""Upstreams that do what a script says, and calls to them."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import ByteStream, SocketAttribute, SocketListener
from anyio.streams.tls import TLSListener

from gateway.call import Upstream
from gateway.errors import UpstreamFailed
from gateway.io.dial import AnyioDialer
from gateway.io.upstream import UpstreamPool
from gateway.wire import OutgoingRequest, UpstreamCall, UpstreamHead

Script = Callable[[ByteStream], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
POST = OutgoingRequest(method="POST", target="/v1", headers=(("x", "y"),), content_length=2)
GET = OutgoingRequest(method="GET", target="/v1", headers=(), content_length=0)


async def request_of(stream: ByteStream) -> bytes:
    """One request as it comes in: its head, and as much body as its length says."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += await stream.receive()
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        if line.startswith(b"content-length: "):
            length = int(line[16:])
    while len(body) < length:
        body += await stream.receive()
    return head + b"\r\n\r\n" + body


class Fake:
    """An upstream that does what its script says with each connection."""

    def __init__(self, script: Script | tuple[bytes, ...]) -> None:
        self.script = script
        self.connections = 0
        self.requests: list[bytes] = []
        self.closed = 0

    async def serve(self, stream: ByteStream) -> None:
        self.connections += 1
        async with stream:
            try:
                if isinstance(self.script, tuple):
                    await self.answering(stream, *self.script)
                else:
                    await self.script(stream)
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                pass
            finally:
                self.closed += 1

    async def answering(self, stream: ByteStream, *answers: bytes) -> None:
        """The answers in turn, the last one again and again, each after a whole request."""
        turn = 0
        while True:
            self.requests.append(await request_of(stream))
            await stream.send(answers[min(turn, len(answers) - 1)])
            turn += 1


@asynccontextmanager
async def upstream(
    script: Script | tuple[bytes, ...], *, tls: ssl.SSLContext | None = None, ca: str | None = None
) -> AsyncIterator[tuple[Fake, UpstreamPool, Upstream]]:
    multi = await anyio.create_tcp_listener(local_host="127.0.0.1")
    listener = multi.listeners[0]
    assert isinstance(listener, SocketListener)
    port = listener.extra(SocketAttribute.local_port)
    fake = Fake(script)
    dialer = AnyioDialer(frozenset({"127.0.0.1"}), ca)
    pool = UpstreamPool(dialer)
    at = Upstream(
        name="fake",
        host="127.0.0.1",
        port=port,
        tls=tls is not None,
        base_path="",
        region="local",
        credential_id=None,
    )
    serving = listener if tls is None else TLSListener(listener, tls, standard_compatible=False)
    async with multi, anyio.create_task_group() as tasks:
        tasks.start_soon(serving.serve, fake.serve)
        with anyio.fail_after(5):
            yield fake, pool, at
        await pool.aclose()
        tasks.cancel_scope.cancel()


async def opened(
    pool: UpstreamPool, at: Upstream, request: OutgoingRequest = POST, seconds: float = 5
) -> UpstreamCall:
    return await pool.open(at, request, first_byte_seconds_max=seconds, idle_seconds_max=seconds)


async def body_of(call: UpstreamCall) -> bytes:
    data = b""
    while part := await call.receive():
        data += part
    return data


async def ask(
    pool: UpstreamPool, at: Upstream, request: OutgoingRequest = POST, seconds: float = 5
) -> tuple[UpstreamHead, bytes]:
    async with await opened(pool, at, request, seconds) as call:
        if request.content_length:
            await call.send(b"ab")
        await call.end()
        return await call.receive_head(), await body_of(call)


async def failing(script: Script | tuple[bytes, ...], seconds: float = 5) -> str:
    """The code that a call to this upstream ends with; its connection must not be kept."""
    async with upstream(script) as (_, pool, at):
        with pytest.raises(UpstreamFailed) as failed:
            await ask(pool, at, seconds=seconds)
        assert pool.idle_connections == 0
        return failed.value.code
