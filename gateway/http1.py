"""HTTP/1.1 without I/O: one connection from an application, one to an upstream.

Owns: turning bytes into checked heads and body parts and back, with h11 as the state machine for
framing. Refuses: sockets, deadlines, and reading a head the lenient way: a head is read once, by
``head.py``, and h11 gets one that is rebuilt from the result and says nothing but the framing. So
there is one reading of every head, and h11's tolerance for others never matters.

The only importer of h11. Rules of the file: bytes that came in are given to ``receive``; what was
understood so far is taken with ``read_head`` and ``read_body``; ``write_…`` return the bytes to
send. Peer faults are raised by the reading methods, never by ``receive``.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import h11

from gateway import limits
from gateway.call import Head
from gateway.errors import TurnAway, UpstreamFailed
from gateway.head import (
    AnswerFraming,
    answer_head_end,
    check_answer,
    check_head,
    request_head_end,
)
from gateway.wire import Answer, OutgoingRequest, UpstreamHead

_REASONS: Final = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}
_BODILESS: Final = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})
_END_OF_CHUNKED: Final = b"\r\n\r\n"


class LengthMismatch(Exception):
    """We sent more or less than the length we declared: the connection has no clean end."""


class _BodyBroken(Exception):
    """The body was cut, or its framing is not valid."""


class _BodyReader:
    """Body parts out of an ``h11.Connection``, taken apart as they come in."""

    def __init__(self, http: h11.Connection) -> None:
        self.http = http
        self.done = False
        self.bytes_read = 0
        self._parts: list[bytearray | bytes] = []
        self._failure: str | None = None

    @property
    def waiting(self) -> int:
        """Bytes that were received and not yet taken."""
        return sum(map(len, self._parts))

    def feed(self, data: bytes) -> None:
        """Take in ``data`` (``b""`` is the end of the connection)."""
        if self._failure is not None or self.done:
            return
        self.http.receive_data(data)
        self.pump()

    def pump(self) -> None:
        """Take apart what h11 holds."""
        try:
            while True:
                event = self.http.next_event()
                if isinstance(event, h11.Data):
                    self._parts.append(event.data)
                    self.bytes_read += len(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    self.done = True
                    return
                else:
                    return
        except h11.RemoteProtocolError as error:
            self.fail(str(error))

    def fail(self, detail: str) -> None:
        """The parts so far stand; what follows is an error, ``detail``, and no end."""
        self.done = False
        self._failure = self._failure or detail

    def take(self) -> bytes | None:
        """All parts so far; ``b""`` at the clean end; None where more must come.

        Raises _BodyBroken where it does not end cleanly, after the parts before that were taken.
        """
        if self._parts:
            data = b"".join(self._parts)
            self._parts.clear()
            return data
        if self._failure is not None:
            raise _BodyBroken(self._failure)
        return b"" if self.done else None


# -- the application's side ------------------------------------------------------------------


class ServerSide:
    """A connection from an application; one request after the other, whatever is pipelined."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._http = h11.Connection(h11.SERVER)
        self._body: _BodyReader | None = None
        self._head: Head | None = None
        self._wire_bytes = 0
        self._tail = b""
        self._closes_body = False
        self._drops_data = False

    def __repr__(self) -> str:
        return f"ServerSide({self._http.states}, buffered={self.buffered})"

    @property
    def buffered(self) -> int:
        """Bytes received and not yet taken, of this request or the next."""
        return len(self._buffer) + (0 if self._body is None else self._body.waiting)

    @property
    def body_done(self) -> bool:
        """Whether the whole request body was received."""
        return self._body is not None and self._body.done

    @property
    def body_bytes(self) -> int:
        """Body bytes of the current request received so far."""
        return 0 if self._body is None else self._body.bytes_read

    @property
    def close_delimited(self) -> bool:
        """Whether only closing the connection ends the answer that has begun (HTTP/1.0)."""
        return self._http.our_state is h11.SEND_BODY and self._closes_body

    def receive(self, data: bytes) -> None:
        """Take in bytes of the application."""
        if self._body is None or self._body.done:
            self._buffer += data
        else:
            self._feed_body(data)

    def read_head(self) -> Head | None:
        """The next request's head, or None while it is incomplete.

        Only between requests: before the first, or after the body and the answer of the last.
        Raises TurnAway (``head.check_head``).
        """
        self._head = None
        end = request_head_end(self._buffer, self._searched)
        if end is None:
            self._searched = len(self._buffer)
            return None
        head = check_head(bytes(self._buffer[:end]))
        rest = bytes(self._buffer[end:])
        self._buffer.clear()
        self._searched = 0
        self._begin(head, rest)
        return head

    def _begin(self, head: Head, rest: bytes) -> None:
        # A new connection per request: h11 keeps no state between requests that we need, and
        # start_next_cycle would let it read the next head.
        self._http = h11.Connection(
            h11.SERVER, max_incomplete_event_size=limits.CHUNK_LINE_BYTES_MAX
        )
        self._http.receive_data(_framing_only(head))
        self._http.next_event()
        self._head = head
        self._wire_bytes = 0
        self._tail = b""
        self._body = _BodyReader(self._http)
        self._feed_body(rest)

    def _feed_body(self, data: bytes) -> None:
        assert self._body is not None
        assert self._head is not None
        body = self._body
        if data:
            body.feed(data)
        else:
            body.pump()
        unread = self._http.trailing_data[0] if body.done else b""
        if self._head.chunked:
            self._check_chunks(data, len(unread))
        self._buffer += unread

    def _check_chunks(self, data: bytes, unread_bytes: int) -> None:
        assert self._body is not None
        self._wire_bytes += len(data) - unread_bytes
        read = self._body.bytes_read
        if self._wire_bytes > 2 * read + limits.CHUNK_OVERHEAD_BYTES_MAX:
            self._body.fail("the chunks are mostly framing")
        seen = self._tail + data
        if self._body.done and not seen[: len(seen) - unread_bytes].endswith(_END_OF_CHUNKED):
            # h11 also takes a bare LF there; a stricter reader in front would see a longer body.
            self._body.fail("the chunked body does not end with CRLF CRLF")
        self._tail = seen[-4:]

    def read_body(self) -> bytes | None:
        """The next part of the body, ``b""`` at its end, None where more bytes are needed.

        Raises TurnAway (``malformed_request``).
        """
        assert self._body is not None
        try:
            return self._body.take()
        except _BodyBroken as error:
            raise TurnAway("malformed_request", f"the body: {error}") from error

    def write_continue(self) -> bytes:
        """``100 Continue``: we are about to read the body."""
        return self._http.send(
            h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
        )

    def write_answer(self, answer: Answer, *, close: bool) -> bytes:
        """A whole answer as one message. Also before any head was understood."""
        head = self.write_head(answer.status, answer.headers, len(answer.body), close=close)
        return head + self.write_data(answer.body) + self.write_end()

    def write_head(
        self,
        status: int,
        headers: tuple[tuple[str, str], ...],
        content_length: int | None,
        *,
        close: bool,
    ) -> bytes:
        """The head of an answer; ``content_length`` None is chunked, or until close on 1.0."""
        fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        empty = status in (204, 304)
        if content_length is not None and not empty:
            fields.append((b"content-length", b"%d" % content_length))
        if close:
            fields.append((b"connection", b"close"))
        head = self._head
        if head is None:  # no request was understood: nothing that h11 knows is about this answer
            self._http = h11.Connection(h11.SERVER)
        without_body = empty or (head is not None and head.method == "HEAD")
        version = "1.1" if head is None else head.version
        self._drops_data = without_body
        self._closes_body = version == "1.0" and content_length is None and not without_body
        return self._http.send(
            h11.Response(status_code=status, headers=fields, reason=_REASONS.get(status, b""))
        )

    def write_data(self, data: bytes) -> bytes:
        """Body bytes as they go on the wire: nothing for HEAD, 204 and 304."""
        if self._drops_data or not data:
            return b""
        return _sent(self._http, h11.Data(data=data))

    def write_end(self) -> bytes:
        """The end of the answer. Raises LengthMismatch if fewer bytes came than were declared."""
        return _sent(self._http, h11.EndOfMessage())


def _framing_only(head: Head) -> bytes:
    framing = ""
    if head.chunked:
        framing = "transfer-encoding: chunked\r\n"
    elif head.content_length is not None:
        framing = f"content-length: {head.content_length}\r\n"
    if not head.keep_alive:
        framing += "connection: close\r\n"
    return f"{head.method} / HTTP/{head.version}\r\nhost: a\r\n{framing}\r\n".encode("ascii")


# -- the upstream's side ---------------------------------------------------------------------


class ClientSide:
    """One request on a connection to an upstream, and its answer."""

    def __init__(self) -> None:
        self._http = h11.Connection(
            h11.CLIENT, max_incomplete_event_size=limits.CHUNK_LINE_BYTES_MAX
        )
        self._buffer = bytearray()
        self._searched = 0
        self._ended = False
        self._reset = False
        self._skipped = 0
        self._body: _BodyReader | None = None

    def __repr__(self) -> str:
        return f"ClientSide({self._http.states}, buffered={len(self._buffer)})"

    @property
    def reusable(self) -> bool:
        """Whether both bodies ended cleanly and nothing else came: another request may follow."""
        return (
            self._http.our_state is h11.DONE
            and self._http.their_state is h11.DONE
            and not self._ended
            and not self._http.trailing_data[0]
        )

    def write_head(self, request: OutgoingRequest, host: str) -> bytes:
        """The request head. ``host``: ``name`` or ``name:port``."""
        fields = [("host", host), *request.headers]
        if request.content_length is None:
            fields.append(("transfer-encoding", "chunked"))
        elif request.content_length > 0 or request.method not in _BODILESS:
            fields.append(("content-length", str(request.content_length)))
        return self._http.send(
            h11.Request(
                method=request.method.encode("ascii"),
                target=request.target.encode("ascii"),
                headers=[(name.encode("ascii"), value.encode("latin-1")) for name, value in fields],
            )
        )

    def write_data(self, data: bytes) -> bytes:
        """Body bytes as they go on the wire. Raises LengthMismatch."""
        return _sent(self._http, h11.Data(data=data)) if data else b""

    def write_end(self) -> bytes:
        """The end of the request body. Raises LengthMismatch."""
        return _sent(self._http, h11.EndOfMessage())

    def receive(self, data: bytes) -> None:
        """Take in bytes of the upstream; ``b""`` is the end of the connection."""
        self._ended = self._ended or not data
        if self._body is None:
            self._buffer += data
        elif self._body.done:
            self._ended = True  # nobody asked for more: what follows belongs to no request
        else:
            self._body.feed(data)

    @property
    def ended(self) -> bool:
        """Whether the connection ended: nothing more will come."""
        return self._ended

    def receive_reset(self) -> None:
        """The connection broke: what came so far stands, and no end after it is a clean one."""
        self._ended = self._reset = True
        self._fail_if_reset()

    def read_head(self) -> UpstreamHead | None:
        """The answer's head, 1xx skipped, or None while it is incomplete.

        Raises UpstreamFailed: ``upstream_unreachable`` if the connection ended before any byte,
        and as ``head.check_answer``.
        """
        while (end := answer_head_end(self._buffer, self._searched)) is not None:
            raw = bytes(self._buffer[:end])
            del self._buffer[:end]
            self._searched = 0
            head, framing = check_answer(raw)
            if head.status >= 200:
                self._begin_body(head, framing)
                return head
            self._skipped += 1
            if self._skipped > limits.INFORMATIONAL_ANSWERS_MAX:
                raise UpstreamFailed("upstream_invalid", "too many 1xx answers")
        self._searched = len(self._buffer)
        if self._ended:
            if self._buffer or self._skipped:
                raise UpstreamFailed("upstream_invalid", "the connection ended inside the head")
            raise UpstreamFailed("upstream_unreachable", "the connection ended before an answer")
        return None

    def _begin_body(self, head: UpstreamHead, framing: AnswerFraming) -> None:
        self._http.receive_data(_answer_framing_only(head, framing))
        event = self._http.next_event()
        assert isinstance(event, h11.Response)
        rest = bytes(self._buffer)
        self._buffer.clear()
        self._body = _BodyReader(self._http)
        if rest:
            self._http.receive_data(rest)
        self._body.pump()
        self._fail_if_reset()
        if self._ended:
            self._body.feed(b"")

    def _fail_if_reset(self) -> None:
        if self._reset and self._body is not None and not self._body.done:
            self._body.fail("the connection was reset")

    def read_body(self) -> bytes | None:
        """The next part of the answer, ``b""`` only at its clean end, None where more is needed.

        Raises UpstreamFailed (``upstream_invalid``) where the body was cut or its framing broken.
        """
        assert self._body is not None
        try:
            return self._body.take()
        except _BodyBroken as error:
            raise UpstreamFailed("upstream_invalid", f"the answer's body: {error}") from error


def _answer_framing_only(head: UpstreamHead, framing: AnswerFraming) -> bytes:
    text = ""
    if framing.chunked:
        text = "transfer-encoding: chunked\r\n"
    elif framing.content_length is not None:
        text = f"content-length: {framing.content_length}\r\n"
    if not framing.keep_alive:
        text += "connection: close\r\n"
    return f"HTTP/{framing.version} {head.status} \r\n{text}\r\n".encode("ascii")


def _sent(http: h11.Connection, event: h11.Data | h11.EndOfMessage) -> bytes:
    try:
        return http.send(event)
    except h11.LocalProtocolError as error:
        raise LengthMismatch(str(error)) from error
