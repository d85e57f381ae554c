"""One application's connection, and each request on it as the exchange sees it.

Owns: the bytes of one connection in both directions, deadlines, back-pressure, and the promise
that an answer which did not end cleanly never looks as if it had. Refuses: HTTP itself
(``http1.py``), the order of requests and what becomes of errors (``serve.py``).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Literal

import anyio
import msgspec
from anyio.abc import ByteStream, SocketAttribute

from gateway import limits
from gateway.body import LengthMismatch
from gateway.call import Head, Peer
from gateway.errors import TurnAway
from gateway.http1 import CONTINUE, ServerSide
from gateway.io.hangup import hang_up_check
from gateway.wire import Answer, ApplicationGone

_LOST: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError)
"""How a stream says that its other end is away; OSError is what TLS lets through."""

_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
"""``struct linger`` {on, 0 s}: close sends RST."""


class ServeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How one listener serves its connections.

    ``listener``: the configured name. ``hosts``: lower-case names, without port, that ``Host``
    and ``Origin`` may hold; None (Unix sockets) checks neither. ``draining``: whether new
    requests are turned away. ``turned_away(code, listener)`` counts; ``failed(error)`` reports a
    fault of ours that ended one connection. Seconds are defaults of ``limits``.
    """

    listener: str
    hosts: frozenset[str] | None
    draining: Callable[[], bool]
    turned_away: Callable[[str, str], None]
    failed: Callable[[Exception], None]
    head_seconds_max: float = limits.HEAD_SECONDS_MAX
    body_seconds_max: float = limits.BODY_SECONDS_MAX
    idle_seconds_max: float = limits.KEEP_ALIVE_IDLE_SECONDS_MAX
    send_seconds_max: float = limits.STREAM_IDLE_SECONDS_MAX
    linger_seconds_max: float = limits.LINGER_SECONDS_MAX


class Application:
    """The connection to one application: reading, writing, and knowing whether it is gone."""

    def __init__(self, stream: ByteStream, options: ServeOptions) -> None:
        self.side = ServerSide()
        self.options = options
        self.gone = False
        self._stream = stream
        self._check: Callable[[], bool] | None = None

    def __repr__(self) -> str:
        return f"Application({self.options.listener}, {self.side!r}, gone={self.gone})"

    def hung_up(self) -> bool:
        """Whether the other end is closed, pipelined bytes or not. False where nobody can tell.

        One poll(2): a task that waited in ``receive`` would have to be cancelled on every call.
        """
        if self._check is None:
            self._check = hang_up_check(self._stream)
        self.gone = self.gone or self._check()
        return self.gone

    async def fill(self) -> bool:
        """Receive once; False when the application has hung up."""
        try:
            self.side.receive(await self._stream.receive(limits.CHUNK_BYTES))
        except (anyio.EndOfStream, *_LOST):
            self.gone = True
        return not self.gone

    async def write(self, data: bytes) -> None:
        """Send ``data`` whole; waits while the application does not read.

        Raises ApplicationGone. A write that was cancelled half-way counts as gone too: what would
        follow it makes no sense to the reader.
        """
        if self.gone:
            raise ApplicationGone
        sent = False
        try:
            with anyio.move_on_after(self.options.send_seconds_max):
                await self._stream.send(data)
                sent = True
        except _LOST as error:
            raise ApplicationGone from error
        finally:
            self.gone = not sent
        if not sent:
            raise ApplicationGone("the application stopped reading")

    async def linger(self) -> None:
        """Let the answer arrive before closing: read and drop what is still being sent."""
        remaining = limits.LINGER_BYTES_MAX
        with anyio.move_on_after(self.options.linger_seconds_max):
            try:
                await self._send_eof()
                while remaining > 0:
                    remaining -= len(await self._stream.receive(limits.CHUNK_BYTES))
            except (anyio.EndOfStream, *_LOST):
                pass

    async def _send_eof(self) -> None:
        with suppress(NotImplementedError):  # TLS has no half-close
            await self._stream.send_eof()

    def reset_on_close(self) -> None:
        """Make closing visible as an error, where only closing ends the answer.

        Works on TCP. On a Unix socket the reader sees a plain end; there is no other signal.
        """
        raw = self._stream.extra(SocketAttribute.raw_socket, None)  # noqa: S610 - not Django's
        if raw is not None and raw.family in (socket.AF_INET, socket.AF_INET6):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)

    async def end(self) -> None:
        """Close cleanly: on TLS the other end must see that nothing was cut off."""
        self.gone = True
        with anyio.move_on_after(self.options.linger_seconds_max), suppress(*_LOST):
            await self._stream.aclose()

    async def close(self) -> None:
        """Close at once; harmless when closed."""
        await anyio.aclose_forcefully(self._stream)


class IncomingCall:
    """``wire.Incoming`` on a connection."""

    def __init__(self, application: Application, head: Head, peer: Peer) -> None:
        self._application = application
        self._side = application.side
        self._head = head
        self._peer = peer
        self._state: Literal["waiting", "answering", "ended", "aborted"] = "waiting"
        self._held = b""
        self._continued = not head.expect_continue
        self._keep_alive = head.keep_alive
        self._bytes_out = 0

    def __repr__(self) -> str:
        return f"IncomingCall({self._head.method}, {self._state}, out={self._bytes_out})"

    @property
    def head(self) -> Head:
        return self._head

    @property
    def peer(self) -> Peer:
        return self._peer

    @property
    def bytes_in(self) -> int:
        return self._side.body_bytes

    @property
    def bytes_out(self) -> int:
        return self._bytes_out

    @property
    def unanswered(self) -> bool:
        """Whether nothing of an answer was given yet, so that another may take its place."""
        return self._state == "waiting"

    # -- the request body

    async def read_body(self, bytes_max: int, hold: Callable[[int], None] | None = None) -> bytes:
        """See ``wire.Incoming``. The deadline is absolute, from the first wait on."""
        self._refuse_longer(self._head.content_length or 0, bytes_max)
        parts = self._side.read_body() or b""
        self._refuse_longer(self._side.body_bytes, bytes_max)
        if hold is not None:
            hold(self._side.body_bytes)
        if self._side.body_done:
            return parts
        collected = [parts]
        with anyio.move_on_after(self._application.options.body_seconds_max):
            while part := await self._next_part():
                collected.append(part)
                self._refuse_longer(self._side.body_bytes, bytes_max)
                if hold is not None:
                    hold(self._side.body_bytes)
            return b"".join(collected)
        raise TurnAway("too_slow", "the body did not arrive in time")

    async def read_chunk(self) -> bytes:
        """See ``wire.Incoming``. Here each part has the deadline of a body: how fast an upload
        goes is the upstream's back-pressure, and the call as a whole is bounded elsewhere."""
        part = self._side.read_body()
        if part is not None:
            return part
        with anyio.move_on_after(self._application.options.body_seconds_max):
            return await self._next_part()
        raise TurnAway("too_slow", "the body stopped arriving")

    async def _next_part(self) -> bytes:
        while (part := self._side.read_body()) is None:
            if not self._continued:
                self._continued = True
                # Whoever sent body bytes already does not wait for it (RFC 9110 10.1.1).
                if self._side.body_bytes == 0:
                    await self._application.write(CONTINUE)
            if not await self._application.fill():
                raise ApplicationGone("the application hung up inside the body")
        return part

    def _refuse_longer(self, bytes_now: int, bytes_max: int) -> None:
        if bytes_now > bytes_max:
            self._keep_alive = False
            raise TurnAway("body_too_large", f"the body is larger than {bytes_max} bytes")

    # -- the answer

    async def answer(self, answer: Answer) -> None:
        """See ``wire.Incoming``. If an answer has begun already, this aborts it instead."""
        if not self.unanswered:
            self.abort()
            return
        self._begin_answer()
        message = self._side.write_answer(answer, close=not self._keep_alive)
        self._state = "ended"
        await self._application.write(message)
        self._bytes_out += len(answer.body)

    async def send_head(
        self, status: int, headers: tuple[tuple[str, str], ...], content_length: int | None
    ) -> None:
        """See ``wire.Incoming``. A head with a length goes out together with what follows it."""
        assert self.unanswered, self._state
        if content_length is None and self._head.version == "1.0":
            self._keep_alive = False
        self._begin_answer()
        head = self._side.write_head(status, headers, content_length, close=not self._keep_alive)
        self._state = "answering"
        if content_length is None:
            await self._application.write(head)
        else:
            self._held = head

    async def send(self, data: bytes) -> None:
        """See ``wire.Incoming``."""
        await self._pass_on(self._side.write_data, data)
        self._bytes_out += len(data)

    async def end(self) -> None:
        """See ``wire.Incoming``."""
        await self._pass_on(self._side.write_end)
        self._state = "ended"

    async def _pass_on(self, write: Callable[..., bytes], *data: bytes) -> None:
        if self._state == "aborted":
            raise ApplicationGone("the answer was aborted")
        assert self._state == "answering", self._state
        try:
            message = self._held + write(*data)
        except LengthMismatch:
            self.abort()
            raise
        self._held = b""
        if message:
            await self._application.write(message)

    def abort(self) -> None:
        """See ``wire.Incoming``. The connection closes when the handler returns."""
        if self._state != "ended" or self._application.gone:
            self._state = "aborted"

    def _begin_answer(self) -> None:
        # A request body that was not read to its end would be taken for the next request.
        if not self._side.body_done or self._application.options.draining():
            self._keep_alive = False

    def hung_up(self) -> bool:
        """See ``wire.Incoming``."""
        return self._application.hung_up()

    async def finish(self) -> bool:
        """After the handler: whether another request may follow on this connection."""
        if self._state != "ended" or self._application.gone:
            if self._side.close_delimited:
                self._application.reset_on_close()
            return False
        if self._keep_alive:
            return True
        # Where we close and the application did not ask for it, it may still be sending.
        if self._head.keep_alive or not self._side.body_done:
            await self._application.linger()
        await self._application.end()
        return False
