"""The application's end of a served connection, and what its listener reports."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import msgspec
from anyio.abc import ByteStream, UNIXSocketStream

from gateway.call import Peer
from gateway.io.incoming import ServeOptions
from gateway.io.serve import Handler, serve_connection
from gateway.wire import Answer, Incoming

PEER = Peer(listener="agent", kind="uds", uid=1000, agent="a", attested_by="uds_uid")
OK = Answer(status=200, headers=(("content-type", "a/b"),), body=b"ok")
OK_BYTES = b"HTTP/1.1 200 OK\r\ncontent-type: a/b\r\ncontent-length: 2\r\n\r\nok"
GET = b"GET / HTTP/1.1\r\nHost: gw\r\n\r\n"
POST = b"POST /%d HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\n\r\nab"


class World:
    """What a listener reports, and the options that report here."""

    def __init__(self, **options: object) -> None:
        self.turned_away: list[tuple[str, str]] = []
        self.failed: list[Exception] = []
        self.draining = False
        options_of_all = ServeOptions(
            listener="agent",
            hosts=None,
            draining=lambda: self.draining,
            turned_away=lambda code, listener: self.turned_away.append((code, listener)),
            failed=self.failed.append,
            linger_seconds_max=0.2,
        )
        self.options = msgspec.structs.replace(options_of_all, **options)


@asynccontextmanager
async def connected(handler: Handler, world: World) -> AsyncIterator[ByteStream]:
    """The application's end of a connection that is being served."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    served = await UNIXSocketStream.from_socket(ours)
    client = await UNIXSocketStream.from_socket(theirs)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve_connection, served, PEER, handler, world.options)
        async with client:
            with anyio.fail_after(5):
                yield client
        # A connection whose client is gone ends by itself: nothing has to be cancelled.


async def all_bytes(client: ByteStream) -> bytes:
    """Everything until the connection ends."""
    data = b""
    while True:
        try:
            data += await client.receive()
        except anyio.EndOfStream:
            return data


async def exactly(client: ByteStream, wanted: bytes) -> None:
    data = b""
    while len(data) < len(wanted):
        data += await client.receive(len(wanted) - len(data))
    assert data == wanted


async def ok(incoming: Incoming) -> None:
    await incoming.answer(OK)


async def exchange(handler: Handler, world: World, data: bytes) -> bytes:
    """Send ``data``, then everything that comes until the server closes."""
    async with connected(handler, world) as client:
        await client.send(data)
        return await all_bytes(client)


def status(answer: bytes) -> int:
    return int(answer.split(b" ")[1])


def streaming(*parts: bytes, length: int | None = None, end: bool = True) -> Handler:
    async def handler(incoming: Incoming) -> None:
        await incoming.send_head(200, (("content-type", "a/b"),), length)
        for part in parts:
            await incoming.send(part)
        if end:
            await incoming.end()
        else:
            incoming.abort()
        assert incoming.bytes_out == sum(map(len, parts))

    return handler
