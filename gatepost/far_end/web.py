"""A small HTTP/1.1 server that can also misbehave: cut an answer, stall, close without a word.

Owns: connections, one request after another on each, and the ways to end an answer. Refuses:
knowing what is asked; a handler does. A server framework would repair exactly the faults that
have to be shown here, so this one is h11 on plain sockets.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

import anyio
import h11
import msgspec
from anyio.abc import SocketStream

BODY_BYTES_MAX: Final = 64 * 1024 * 1024
"""Above what the gateway passes on, so that its bound is met first."""
_READ_BYTES: Final = 64 * 1024


class Cut(Exception):
    """The handler wants the connection closed as it is."""


class Request(msgspec.Struct, frozen=True):
    """A whole request; header names are lower-case, ``target`` as it stood."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    def header(self, name: str) -> str | None:
        """The first value of ``name`` (lower-case), or None."""
        return next((value for have, value in self.headers if have == name), None)


class Exchange:
    """One request and the answer to it: ``answer``, or ``start``, ``send`` …, ``end``."""

    def __init__(self, request: Request, stream: SocketStream, connection: h11.Connection) -> None:
        self.request = request
        self._stream = stream
        self._connection = connection

    async def answer(self, status: int, headers: list[tuple[str, str]], body: bytes = b"") -> None:
        """A whole answer with its length."""
        await self.start(status, [*headers, ("content-length", str(len(body)))])
        await self.send(body)
        await self.end()

    async def start(self, status: int, headers: list[tuple[str, str]]) -> None:
        """The head of an answer; without a content-length its body is chunked."""
        reason = HTTPStatus(status).phrase.encode()
        await self._put(h11.Response(status_code=status, headers=headers, reason=reason))

    async def send(self, data: bytes) -> None:
        """Body bytes, on the wire before this returns."""
        await self._put(h11.Data(data=data))

    async def end(self) -> None:
        """The clean end of the answer."""
        await self._put(h11.EndOfMessage())

    async def wait_gone(self) -> None:
        """Answer nothing more; return when the caller has hung up."""
        try:
            while await self._stream.receive(_READ_BYTES):
                pass
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return

    async def _put(self, event: h11.Event) -> None:
        data = self._connection.send(event)
        if data:
            await self._stream.send(data)


Handler = Callable[[Exchange], Awaitable[None]]


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=128)
    listener.setblocking(False)
    return listener


async def serve(listener: socket.socket, handler: Handler) -> None:
    """Answer every connection of ``listener`` with ``handler`` until cancelled."""
    server = await anyio.abc.SocketListener.from_socket(listener)

    async def connected(stream: SocketStream) -> None:
        try:
            async with stream:
                await _answer_all(stream, handler)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, h11.ProtocolError, Cut):
            return

    async with server:
        await server.serve(connected)


async def _answer_all(stream: SocketStream, handler: Handler) -> None:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_READ_BYTES)
    while True:
        request = await _read(stream, connection)
        if request is None:
            return
        await handler(Exchange(request, stream, connection))
        if connection.our_state is not h11.DONE:
            return
        connection.start_next_cycle()


async def _read(stream: SocketStream, connection: h11.Connection) -> Request | None:
    """The next whole request, or None where the caller has no more."""
    head: h11.Request | None = None
    body = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            if connection.they_are_waiting_for_100_continue:
                await stream.send(_continue(connection))
            connection.receive_data(await _receive(stream))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > BODY_BYTES_MAX:
                raise Cut
        elif isinstance(event, h11.EndOfMessage):
            assert head is not None
            return Request(
                method=head.method.decode(),
                target=head.target.decode("latin-1"),
                headers=tuple((n.decode(), v.decode("latin-1")) for n, v in head.headers),
                body=bytes(body),
            )
        else:
            return None


async def _receive(stream: SocketStream) -> bytes:
    try:
        return await stream.receive(_READ_BYTES)
    except anyio.EndOfStream:
        return b""


def _continue(connection: h11.Connection) -> bytes:
    answer = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
    return connection.send(answer) or b""
