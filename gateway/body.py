"""Where a message body ends, when reading and when writing it (RFC 9112 sections 6 and 7).

Owns: the three framings: a counted length, chunks, and closing the connection. Refuses: heads
(``head.py``), limits on size, sockets.

Chunked bodies are read by h11, which is the hard part of HTTP/1.1 to read right, and checked for
the two things that h11 tolerates and a smuggler needs. A counted body needs no parser: counting
it here takes a fifth of the time that two state machines take, and nearly every SDK call is one.

The only importer of h11 beside the clients of our own services.
"""

from __future__ import annotations

from typing import Final, Literal

import h11

from gateway import limits

_CHUNKED_HEAD: Final = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
"""Puts h11 into the state in which it reads chunks; requests and answers do not differ there."""

_END_OF_CHUNKED: Final = b"\r\n\r\n"


class BodyBroken(Exception):
    """The body was cut, or its framing is not valid."""


class LengthMismatch(Exception):
    """We sent more or less than the length we declared: the message has no clean end."""


class Body:
    """A body as it comes in: given to ``feed``, taken with ``take``.

    ``done``: its clean end was seen. ``bytes_read``: without framing. ``surplus``: what was fed
    behind its end. What came before a fault stands; the fault is raised after it was taken.
    """

    def __init__(self) -> None:
        self.done = False
        self.bytes_read = 0
        self.surplus = b""
        self._parts: list[bytes | bytearray] = []
        self._fault: str | None = None

    def feed(self, data: bytes) -> None:
        """Take in ``data``; ``b""`` is the end of the connection."""
        if self.done:
            self.surplus += data
        elif self._fault is None:
            self._take_apart(data)

    def fail(self, detail: str) -> None:
        """The parts so far stand; what follows is an error, ``detail``, and no end."""
        self.done = False
        self._fault = self._fault or detail

    def take(self) -> bytes | None:
        """All parts so far; ``b""`` at the clean end; None where more must come.

        Raises BodyBroken where it does not end cleanly, after the parts before that were taken.
        """
        if self._parts:
            data = b"".join(self._parts)
            self._parts.clear()
            return data
        if self._fault is not None:
            raise BodyBroken(self._fault)
        return b"" if self.done else None

    def _take_apart(self, data: bytes) -> None:
        raise NotImplementedError

    def _add(self, data: bytes | bytearray) -> None:
        if data:
            self._parts.append(data)
            self.bytes_read += len(data)


class CountedBody(Body):
    """As many bytes as the head said; none for messages without a body."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self._length = length
        self.done = length == 0

    def _take_apart(self, data: bytes) -> None:
        missing = self._length - self.bytes_read
        if not data:
            self.fail(f"{missing} bytes are missing at the end of the connection")
            return
        self._add(data if len(data) <= missing else data[:missing])
        if len(data) >= missing:
            self.done = True
            self.surplus = data[missing:]


class ClosedBody(Body):
    """Everything until the connection is closed: answers only."""

    def _take_apart(self, data: bytes) -> None:
        self._add(data)
        self.done = not data


class ChunkedBody(Body):
    """Chunks; their extensions and the trailers are dropped."""

    def __init__(self) -> None:
        super().__init__()
        self._http = h11.Connection(
            h11.SERVER, max_incomplete_event_size=limits.CHUNK_LINE_BYTES_MAX
        )
        self._http.receive_data(_CHUNKED_HEAD)
        self._http.next_event()
        self._wire_bytes = 0
        self._tail = b""

    def _take_apart(self, data: bytes) -> None:
        self._http.receive_data(data)
        try:
            while isinstance(event := self._http.next_event(), h11.Data):
                self._add(event.data)
        except h11.RemoteProtocolError as error:
            self.fail(str(error))
            return
        self.done = isinstance(event, h11.EndOfMessage)
        self.surplus = self._http.trailing_data[0] if self.done else b""
        self._check(data)

    def _check(self, data: bytes) -> None:
        surplus = len(self.surplus)
        self._wire_bytes += len(data) - surplus
        if self._wire_bytes > 2 * self.bytes_read + limits.CHUNK_OVERHEAD_BYTES_MAX:
            self.fail("the chunks are mostly framing")
        seen = self._tail + data
        if self.done and not seen[: len(seen) - surplus].endswith(_END_OF_CHUNKED):
            # h11 also takes a bare LF there; a stricter reader in front would see a longer body.
            self.fail("the chunked body does not end with CRLF CRLF")
        self._tail = seen[-4:]


class BodyWriter:
    """Frames the body that we send. ``length`` matters for ``counted`` only."""

    def __init__(self, framing: Literal["counted", "chunked", "closed"], length: int = 0) -> None:
        self.framing = framing
        self.done = False
        self._missing = length

    def write(self, data: bytes) -> bytes:
        """``data`` as it goes on the wire. Raises LengthMismatch if it is more than declared."""
        if self.framing == "chunked":
            # An empty chunk would be the end of the body.
            return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        if self.framing == "counted":
            self._missing -= len(data)
            if self._missing < 0:
                raise LengthMismatch("more bytes than were declared")
        return data

    def end(self) -> bytes:
        """The end of the body. Raises LengthMismatch if it is less than declared."""
        if self._missing > 0:
            raise LengthMismatch(f"{self._missing} bytes fewer than were declared")
        self.done = True
        return b"0\r\n\r\n" if self.framing == "chunked" else b""
