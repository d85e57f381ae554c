"""HTTP/1.1 without I/O: one connection from an application, one request to an upstream.

Owns: the order of heads and bodies on a connection, and turning values into the bytes of a
message. Refuses: sockets and deadlines; reading heads (``head.py``) and framing bodies
(``body.py``) are done beside it.

Rules of the file: bytes that came in are given to ``receive``; what was understood so far is taken
with ``read_head`` and ``read_body``; ``write_…`` return the bytes to send. Peer faults are raised
by the reading methods, never by ``receive``. A head is built from values, never copied, and what
was built is checked once more as a whole before it leaves.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from gateway import limits
from gateway.body import Body, BodyBroken, BodyWriter, ChunkedBody, ClosedBody, CountedBody
from gateway.call import Head
from gateway.errors import TurnAway, UpstreamFailed
from gateway.head import (
    NOT_CONTROL,
    AnswerFraming,
    answer_head_end,
    check_answer,
    check_head,
    request_head_end,
)
from gateway.wire import Answer, OutgoingRequest, UpstreamHead

_REASONS: Final = {status.value: status.phrase for status in HTTPStatus}
_BODILESS_METHODS: Final = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})
_BODILESS_STATUSES: Final = frozenset({204, 304})
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

Fields = tuple[tuple[str, str], ...]


class HeadInvalid(Exception):
    """A head of ours that must not be sent: a name or value would end its line."""


def _head_bytes(first_line: str, fields: list[tuple[str, str]]) -> bytes:
    lines = [first_line, *(f"{name}: {value}" for name, value in fields), "", ""]
    data = "\r\n".join(lines).encode("latin-1")
    # Whatever let a line break through, it ends here: exactly one CRLF per line, no control.
    if data.translate(None, NOT_CONTROL) != b"\r\n" * (len(lines) - 1):
        raise HeadInvalid("a header has a control character or a line break")
    return data


# -- the application's side ------------------------------------------------------------------


class ServerSide:
    """A connection from an application; one request after the other, whatever is pipelined."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._head: Head | None = None
        self._body: Body | None = None
        self._writer: BodyWriter | None = None
        self._drops_data = False

    def __repr__(self) -> str:
        return f"ServerSide(buffered={self.buffered}, body_done={self.body_done})"

    @property
    def buffered(self) -> int:
        """Bytes received of the next request. A body that nobody read is not among them."""
        return len(self._buffer)

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
        writer = self._writer
        return writer is not None and writer.framing == "closed" and not writer.done

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
        self._head = self._writer = None
        end = request_head_end(self._buffer, self._searched)
        if end is None:
            self._searched = len(self._buffer)
            return None
        head = check_head(bytes(self._buffer[:end]))
        rest = bytes(self._buffer[end:])
        self._buffer.clear()
        self._searched = 0
        self._head = head
        self._body = ChunkedBody() if head.chunked else CountedBody(head.content_length or 0)
        if rest:
            self._feed_body(rest)
        return head

    def _feed_body(self, data: bytes) -> None:
        assert self._body is not None
        self._body.feed(data)
        self._buffer += self._body.surplus
        self._body.surplus = b""

    def read_body(self) -> bytes | None:
        """The next part of the body, ``b""`` at its end, None where more bytes are needed.

        Raises TurnAway (``malformed_request``).
        """
        assert self._body is not None
        try:
            return self._body.take()
        except BodyBroken as error:
            raise TurnAway("malformed_request", f"the body: {error}") from error

    def write_answer(self, answer: Answer, *, close: bool) -> bytes:
        """A whole answer as one message. Also before any head was understood."""
        head = self.write_head(answer.status, answer.headers, len(answer.body), close=close)
        return head + self.write_data(answer.body) + self.write_end()

    def write_head(
        self, status: int, headers: Fields, content_length: int | None, *, close: bool
    ) -> bytes:
        """The head of an answer; ``content_length`` None is chunked, or until close on 1.0.

        Raises HeadInvalid.
        """
        fields = list(headers)
        head = self._head
        empty = status in _BODILESS_STATUSES
        self._drops_data = empty or (head is not None and head.method == "HEAD")
        if content_length is not None:
            self._writer = BodyWriter("counted", 0 if self._drops_data else content_length)
            if not empty:
                fields.append(("content-length", str(content_length)))
        elif self._drops_data:
            self._writer = BodyWriter("counted")
        elif head is None or head.version == "1.1":
            self._writer = BodyWriter("chunked")
            fields.append(("transfer-encoding", "chunked"))
        else:
            self._writer = BodyWriter("closed")
            close = True
        if close:
            fields.append(("connection", "close"))
        return _head_bytes(f"HTTP/1.1 {status} {_REASONS.get(status, '')}", fields)

    def write_data(self, data: bytes) -> bytes:
        """Body bytes as they go on the wire: nothing for HEAD, 204 and 304.

        Raises LengthMismatch.
        """
        assert self._writer is not None
        return b"" if self._drops_data else self._writer.write(data)

    def write_end(self) -> bytes:
        """The end of the answer. Raises LengthMismatch if fewer bytes came than were declared."""
        assert self._writer is not None
        return self._writer.end()


# -- the upstream's side ---------------------------------------------------------------------


class ClientSide:
    """One request on a connection to an upstream, and its answer."""

    def __init__(self, request: OutgoingRequest, host: str) -> None:
        """``host``: ``name`` or ``name:port``."""
        self._request = request
        self._host = host
        self._buffer = bytearray()
        self._searched = 0
        self._skipped = 0
        self._keep_alive = False
        self._ended = False
        self._reset = False
        self._body: Body | None = None
        if request.content_length is None:
            self._writer = BodyWriter("chunked")
        else:
            self._writer = BodyWriter("counted", request.content_length)

    def __repr__(self) -> str:
        return f"ClientSide({self._request.method} {self._host}, ended={self._ended})"

    @property
    def reusable(self) -> bool:
        """Whether both bodies ended cleanly and nothing else came: another request may follow."""
        body = self._body
        return (
            self._writer.done
            and self._keep_alive
            and not self._ended
            and body is not None
            and body.done
            and not body.surplus
        )

    @property
    def ended(self) -> bool:
        """Whether the connection ended: nothing more will come."""
        return self._ended

    def write_head(self) -> bytes:
        """The request head. Raises HeadInvalid."""
        request = self._request
        if request.target[:1] != "/" or " " in request.target:
            raise HeadInvalid("the target is not a path")
        fields = [("host", self._host), *request.headers]
        if request.content_length is None:
            fields.append(("transfer-encoding", "chunked"))
        elif request.content_length > 0 or request.method not in _BODILESS_METHODS:
            fields.append(("content-length", str(request.content_length)))
        return _head_bytes(f"{request.method} {request.target} HTTP/1.1", fields)

    def write_data(self, data: bytes) -> bytes:
        """Body bytes as they go on the wire. Raises LengthMismatch."""
        return self._writer.write(data)

    def write_end(self) -> bytes:
        """The end of the request body. Raises LengthMismatch."""
        return self._writer.end()

    def receive(self, data: bytes) -> None:
        """Take in bytes of the upstream; ``b""`` is the end of the connection."""
        self._ended = self._ended or not data
        if self._body is None:
            self._buffer += data
        else:
            self._body.feed(data)

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
        self._keep_alive = framing.keep_alive
        self._body = body = _answer_body(self._request.method, head, framing)
        if self._buffer:
            body.feed(bytes(self._buffer))
            self._buffer.clear()
        self._fail_if_reset()
        if self._ended:
            body.feed(b"")

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
        except BodyBroken as error:
            raise UpstreamFailed("upstream_invalid", f"the answer's body: {error}") from error


def _answer_body(method: str, head: UpstreamHead, framing: AnswerFraming) -> Body:
    """RFC 9112 section 6.3, in its order."""
    if method == "HEAD" or head.status in _BODILESS_STATUSES:
        return CountedBody(0)
    if framing.chunked:
        return ChunkedBody()
    if framing.content_length is not None:
        return CountedBody(framing.content_length)
    return ClosedBody()
