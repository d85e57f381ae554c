"""Connections to upstreams, kept and reused, and one request on each.

Owns: the pool of idle connections, the deadlines of one upstream call, and the truth about what
was sent: law 11 hangs on it. Refuses: HTTP itself (``http1.py``), dialling (``ports.Dialer``),
choosing an upstream, and repeating a request. An idle connection that its server has closed is
found *before* it is used, and a request of which one byte was written is never sent again here.
"""

from __future__ import annotations

import select
from contextlib import suppress
from typing import Final, Self

import anyio
from anyio.abc import ByteStream, SocketAttribute

from gateway import limits
from gateway.call import Upstream
from gateway.errors import UpstreamFailed
from gateway.http1 import ClientSide
from gateway.ports import Dialer
from gateway.wire import OutgoingRequest, UpstreamHead

Key = tuple[str, int, bool]
"""host, port, TLS: what must be equal for a connection to be reused."""

_LOST: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError)


class Connection:
    """A connection to one upstream, and a cheap way to ask whether it can still be used."""

    def __init__(self, key: Key, stream: ByteStream) -> None:
        self.key = key
        self.stream = stream
        self._raw = stream.extra(SocketAttribute.raw_socket, None)  # noqa: S610 - not Django's
        self._poller = select.poll()
        if self._raw is not None:
            self._poller.register(self._raw.fileno(), select.POLLIN)

    def hung_up(self) -> bool:
        """Whether the server closed it or sent something unasked while it was idle.

        One poll(2), no allocation: asked before every reuse. False where there is no socket.
        """
        if self._raw is None:
            return False
        return self._raw.fileno() < 0 or bool(self._poller.poll(0))

    async def close(self) -> None:
        """Close at once; harmless when closed."""
        await anyio.aclose_forcefully(self.stream)


class UpstreamPool:
    """``wire.Upstreams`` over a dialer.

    Idle connections are taken newest first, so that the ones a quiet hour does not need grow old
    and go.
    """

    def __init__(
        self,
        dialer: Dialer,
        *,
        idle_max: int = limits.UPSTREAM_CONNECTIONS_IDLE_MAX,
        idle_seconds_max: float = limits.UPSTREAM_IDLE_SECONDS_MAX,
    ) -> None:
        self._dialer = dialer
        self._idle_max = idle_max
        self._idle_seconds_max = idle_seconds_max
        self._idle: list[tuple[float, Connection]] = []  # oldest first

    def __repr__(self) -> str:
        return f"UpstreamPool(idle={len(self._idle)})"

    @property
    def idle_connections(self) -> int:
        """How many connections wait for another request."""
        return len(self._idle)

    async def open(
        self,
        upstream: Upstream,
        request: OutgoingRequest,
        *,
        first_byte_seconds_max: float,
        idle_seconds_max: float,
    ) -> UpstreamConnectionCall:
        """See ``wire.Upstreams``. The head is sent together with the first of the body, so that
        most requests are one write; until then no byte of the request has left."""
        key = (upstream.host, upstream.port, upstream.tls)
        connection = await self._take(key)
        if connection is None:
            stream = await self._dialer.connect_tcp(
                upstream.host, upstream.port, tls_name=upstream.host if upstream.tls else None
            )
            connection = Connection(key, stream)
        return UpstreamConnectionCall(
            self,
            connection,
            request,
            first_byte_seconds_max=first_byte_seconds_max,
            idle_seconds_max=idle_seconds_max,
        )

    async def _take(self, key: Key) -> Connection | None:
        await self._close_expired()
        while (index := self._newest(key)) is not None:
            connection = self._idle.pop(index)[1]
            if not connection.hung_up():
                return connection
            await connection.close()
        return None

    def _newest(self, key: Key) -> int | None:
        fitting = (i for i in reversed(range(len(self._idle))) if self._idle[i][1].key == key)
        return next(fitting, None)

    async def give_back(self, connection: Connection) -> None:
        """Keep ``connection`` for another request; closes the oldest if there are too many."""
        self._idle.append((anyio.current_time(), connection))
        await self._close_expired()
        while len(self._idle) > self._idle_max:
            await self._idle.pop(0)[1].close()

    async def _close_expired(self) -> None:
        oldest = anyio.current_time() - self._idle_seconds_max
        while self._idle and self._idle[0][0] < oldest:
            await self._idle.pop(0)[1].close()

    async def aclose(self) -> None:
        """Close every idle connection; calls that are open go on."""
        while self._idle:
            await self._idle.pop()[1].close()


class UpstreamConnectionCall:
    """``wire.UpstreamCall``: one request on one connection, and its answer."""

    def __init__(
        self,
        pool: UpstreamPool,
        connection: Connection,
        request: OutgoingRequest,
        *,
        first_byte_seconds_max: float,
        idle_seconds_max: float,
    ) -> None:
        self._pool = pool
        self._connection = connection
        self._stream = connection.stream
        self._first_byte_seconds_max = first_byte_seconds_max
        self._idle_seconds_max = idle_seconds_max
        self._side = ClientSide(request, _host_header(connection.key))
        self._unsent = self._side.write_head()
        self._head: UpstreamHead | None = None
        self._failed: UpstreamFailed | None = None
        self._sent_any = False
        self._write_ended = False

    def __repr__(self) -> str:
        return f"UpstreamConnectionCall({self._side!r})"

    @property
    def sent_any(self) -> bool:
        return self._sent_any

    # -- the request

    async def send(self, data: bytes) -> None:
        """See ``wire.UpstreamCall``. Does nothing once the upstream has answered or closed: what
        it said then is found by ``receive_head``, and it reads no more."""
        await self._write(self._side.write_data(data), watch=len(data) > limits.CHUNK_BYTES)

    async def end(self) -> None:
        """See ``wire.UpstreamCall``."""
        await self._write(self._side.write_end(), watch=False)

    async def _write(self, data: bytes, *, watch: bool) -> None:
        if self._write_ended:
            return
        message = self._unsent + data
        self._unsent = b""
        if not message:
            return
        self._sent_any = True
        stopped = True  # until the write is known to be whole: nothing may follow half of one
        try:
            with anyio.move_on_after(self._idle_seconds_max):
                stopped = await self._send_all(message, watch=watch)
                return
        except _LOST:
            return
        finally:
            self._write_ended = stopped
        raise UpstreamFailed("upstream_timeout", "the upstream stopped reading the request")

    async def _send_all(self, message: bytes, *, watch: bool) -> bool:
        """Whether the upstream refused the rest; else all of ``message`` is sent."""
        if not watch:
            await self._stream.send(message)
            return False
        # Who refuses a large body early may answer and never read the rest: a write that does
        # not look at the answer would wait for its deadline.
        stopped = True
        async with anyio.create_task_group() as both:
            both.start_soon(self._watch_for_refusal, both.cancel_scope)
            with suppress(*_LOST):
                await self._stream.send(message)
                stopped = False
            both.cancel_scope.cancel()
        return stopped

    async def _watch_for_refusal(self, writing: anyio.CancelScope) -> None:
        try:
            while self._head is None and not self._side.ended:
                self._side.receive(await self._read())
                self._head = self._side.read_head()
        except UpstreamFailed as failed:
            self._failed = failed
        if self._head is None or self._head.status >= 400:
            writing.cancel()

    # -- the answer

    async def receive_head(self) -> UpstreamHead:
        """See ``wire.UpstreamCall``. The deadline is absolute: it covers the whole head."""
        if self._failed is not None:
            raise self._failed
        head = self._head or self._side.read_head()
        if head is None:
            with anyio.move_on_after(self._first_byte_seconds_max):
                while head is None:
                    self._side.receive(await self._read())
                    head = self._side.read_head()
        if head is None:
            raise UpstreamFailed("upstream_timeout", "no answer in time")
        return head

    async def receive(self) -> bytes:
        """See ``wire.UpstreamCall``. Everything that has arrived comes as one."""
        data = self._side.read_body()
        if data is None:
            with anyio.move_on_after(self._idle_seconds_max):
                while data is None:
                    self._side.receive(await self._read())
                    data = self._side.read_body()
        if data is None:
            raise UpstreamFailed("upstream_timeout", "the answer stopped arriving")
        return data

    async def _read(self) -> bytes:
        try:
            return await self._stream.receive(limits.CHUNK_BYTES)
        except anyio.EndOfStream:
            return b""
        except _LOST:
            self._side.receive_reset()
            return b""

    # -- the connection

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *details: object) -> None:
        if self._side.reusable and not self._write_ended:
            await self._pool.give_back(self._connection)
        else:
            await self._connection.close()


def _host_header(key: Key) -> str:
    host, port, tls = key
    name = f"[{host}]" if ":" in host else host
    return name if port == (443 if tls else 80) else f"{name}:{port}"
