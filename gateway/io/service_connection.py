"""One HTTP/1.1 connection to a central service, one request at a time.

Owns: h11 over a stream: sending a whole request, reading a whole bounded answer. Refuses:
pooling, retries and deadlines (``service.py``), redirects, content encodings and upgrades.
"""

from __future__ import annotations

from typing import Final

import anyio
import h11
from anyio.abc import ByteStream

from gateway import limits
from gateway.io.dial import hung_up
from gateway.ports import ServiceAnswer, ServiceUnreachable

_INFORMATIONAL_MAX: Final = 8


class DeadConnection(Exception):
    """The peer closed the connection before any byte of an answer."""


class ServiceConnection:
    """A connection that can be used again while ``reusable`` holds."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._http = h11.Connection(
            our_role=h11.CLIENT, max_incomplete_event_size=limits.HEAD_BYTES_MAX
        )
        self._answered = False
        self.idle_since = anyio.current_time()
        self.used = False

    def __repr__(self) -> str:
        return f"ServiceConnection({self._http.our_state}, used={self.used})"

    @property
    def reusable(self) -> bool:
        """Whether the next request may go here: young, quiet, and between two requests."""
        return (
            self._http.our_state is h11.IDLE
            # Bytes after the answer would be read as the answer to the next request.
            and not self._http.trailing_data[0]
            and anyio.current_time() - self.idle_since < limits.SERVICE_IDLE_SECONDS_MAX
            and not hung_up(self._stream)
        )

    async def exchange(
        self, request: h11.Request, body: bytes, answer_bytes_max: int
    ) -> ServiceAnswer:
        """Send ``request`` and read its answer.

        Raises DeadConnection (no answer byte came) and ServiceUnreachable (``protocol``). After
        any exception, and unless the connection is back in its idle state, it must be closed.
        """
        self._answered = False
        await self._send(request, body)
        try:
            answer = await self._read(answer_bytes_max)
        except h11.RemoteProtocolError as error:
            if not self._answered:
                raise DeadConnection("closed before an answer") from error
            raise ServiceUnreachable("protocol", f"the answer is not HTTP/1.1: {error}") from error
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        self.idle_since = anyio.current_time()
        self.used = True
        return answer

    async def close(self) -> None:
        """Close at once, without waiting for the peer."""
        await anyio.aclose_forcefully(self._stream)

    async def _send(self, request: h11.Request, body: bytes) -> None:
        wire = self._http.send(request) or b""
        if body:
            wire += self._http.send(h11.Data(data=body)) or b""
        wire += self._http.send(h11.EndOfMessage()) or b""
        try:
            await self._stream.send(wire)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            # A service may refuse (413) before it has read the body; its answer says more than
            # the broken pipe. If none came, reading says so.
            return

    async def _read(self, answer_bytes_max: int) -> ServiceAnswer:
        head = await self._read_head()
        headers: dict[str, str] = {}
        for name, value in head.headers:
            headers.setdefault(name.decode("ascii"), value.decode("latin-1"))
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise ServiceUnreachable(
                "protocol", "the answer has a content encoding; none was asked"
            )
        chunks: list[bytes] = []
        size = 0
        while not isinstance(event := await self._next_event(), h11.EndOfMessage):
            if not isinstance(event, h11.Data):
                raise ServiceUnreachable("protocol", "the answer was cut")
            chunks.append(bytes(event.data))
            size += len(event.data)
            if size > answer_bytes_max:
                raise ServiceUnreachable(
                    "protocol", f"the answer is larger than {answer_bytes_max} bytes"
                )
        return ServiceAnswer(status=head.status_code, headers=headers, body=b"".join(chunks))

    async def _read_head(self) -> h11.Response:
        for _ in range(_INFORMATIONAL_MAX + 1):
            event = await self._next_event()
            if isinstance(event, h11.Response):
                return event
            if not isinstance(event, h11.InformationalResponse):
                raise h11.RemoteProtocolError("closed before the head of an answer")
        raise ServiceUnreachable("protocol", "too many interim answers")

    async def _next_event(self) -> object:
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event
            data = await self._receive()
            self._answered = self._answered or bool(data)
            self._http.receive_data(data)

    async def _receive(self) -> bytes:
        try:
            return await self._stream.receive(limits.CHUNK_BYTES)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            return b""
        except OSError as error:
            # ssl.SSLError: with TLS 1.3 a refused client certificate shows here first.
            raise ServiceUnreachable("tls", str(error)) from error
