"""A central service that speaks raw bytes from a script, and a client for it.

Over real sockets; nothing of HTTP is known here but where a request ends.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
from anyio.abc import ByteStream, SocketAttribute

from gateway.documents import RequestOf
from gateway.io.dial import AnyioDialer
from gateway.io.listen import listen_tcp
from gateway.io.service import CentralService

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
CLOSE = b""
"""In a script: hang up instead of answering."""


class Script:
    """A service that answers each request of each connection with the next bytes of its script.

    Reads whole requests (head, then content-length bytes) and keeps them; hangs up on ``CLOSE``,
    and at the end of a connection's script waits for the client to hang up.
    """

    def __init__(self, *connections: list[bytes]) -> None:
        self.connections = list(connections)
        self.requests: list[bytes] = []
        self.accepted = 0
        self.hung_up = anyio.Event()

    async def handle(self, stream: ByteStream) -> None:
        answers = self.connections[self.accepted]
        self.accepted += 1
        async with stream:
            try:
                for answer in answers:
                    self.requests.append(await self.read(stream))
                    if answer == CLOSE:
                        return
                    await stream.send(answer)
                await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                self.hung_up.set()

    async def read(self, stream: ByteStream) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data:
            data += await stream.receive()
        head, _, body = data.partition(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        while len(body) < length:
            body += await stream.receive()
        return head + b"\r\n\r\n" + body


@asynccontextmanager
async def serving(handler: Callable[[ByteStream], Awaitable[None]]) -> AsyncIterator[str]:
    """A server of raw bytes on a free port; yields its base URL."""
    async with await listen_tcp("127.0.0.1", 0) as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, handler)
        yield f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def client(
    url: str,
    *,
    sign: Callable[[str, str, bytes, RequestOf | None], str] | None = None,
    idempotent: frozenset[tuple[str, str]] = frozenset(),
) -> AsyncIterator[CentralService]:
    service = CentralService(url, AnyioDialer(any_address=True), sign=sign, idempotent=idempotent)
    try:
        yield service
    finally:
        await service.aclose()
