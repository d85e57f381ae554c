"""The two ends of one call as the exchange sees them: the application's and the upstream's.

Owns: Protocols for a request that came in and a request that goes out, and the values they
carry. Refuses: HTTP itself (``http1.py``) and sockets (``io/incoming.py``, ``io/upstream.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, Self

import msgspec

from gateway.call import Head, Peer, Upstream


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer of our own: refusals and turn-aways. Header names are lower-case."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class UpstreamHead(msgspec.Struct, frozen=True, kw_only=True):
    """The checked head of an upstream's answer; every header, lower-case, in order."""

    status: int
    headers: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str | None:
        """The first value of ``name`` (lower-case), or None."""
        for have, value in self.headers:
            if have == name:
                return value
        return None


class OutgoingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request head rebuilt for an upstream, never copied. ``headers`` without host and framing.

    ``content_length`` None with ``streamed`` means chunked; bodies in memory always have one.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    content_length: int | None


class Incoming(Protocol):
    """One request on a connection from the application, and the answer to it.

    Exactly one of ``answer``, or ``send_head`` … ``end``, or ``abort`` ends it.
    """

    @property
    def head(self) -> Head: ...

    @property
    def peer(self) -> Peer: ...

    @property
    def bytes_in(self) -> int:
        """Body bytes received so far."""

    @property
    def bytes_out(self) -> int:
        """Body bytes sent so far."""

    async def read_body(self, bytes_max: int, hold: Callable[[int], None] | None = None) -> bytes:
        """The whole body; sends 100 Continue first if it was asked for.

        ``hold`` is told how many bytes are held before more are read, and may raise TurnAway.
        Raises TurnAway (``body_too_large``, ``too_slow``, ``malformed_request``), and
        ``ApplicationGone``.
        """

    async def read_chunk(self) -> bytes:
        """The next part of the body, ``b""`` at its end: for streamed uploads."""

    async def answer(self, answer: Answer) -> None:
        """Send a whole answer. Raises ApplicationGone."""

    async def send_head(
        self, status: int, headers: tuple[tuple[str, str], ...], content_length: int | None
    ) -> None:
        """Send the head of a passed-on answer. None: chunked (until close on 1.0), and at once;
        with a length it goes out together with the first bytes, or the end, that follow."""

    async def send(self, data: bytes) -> None:
        """Send body bytes; waits while the application does not read. Raises ApplicationGone."""

    async def end(self) -> None:
        """End the answer cleanly."""

    def abort(self) -> None:
        """End the answer as an error: the connection closes without a clean end of body."""

    def hung_up(self) -> bool:
        """Whether the application has closed its end. Reads nothing and never waits: asked now
        and then while an upstream is waited for. Writing finds out by itself."""


class ApplicationGone(Exception):
    """The application closed the connection or stopped reading; nothing can be answered."""


class UpstreamCall(Protocol):
    """One request to one upstream. An async context manager: leaving it cancels what is open.

    A connection goes back to the pool only after a clean end of both bodies.
    """

    @property
    def sent_any(self) -> bool:
        """Whether any byte of the request was written: decides if a retry is allowed."""

    async def send(self, data: bytes) -> None:
        """Send body bytes. Raises UpstreamFailed."""

    async def end(self) -> None:
        """End the request body."""

    async def receive_head(self) -> UpstreamHead:
        """The answer's head, 1xx skipped.

        Raises UpstreamFailed: ``upstream_unreachable`` (closed before a byte),
        ``upstream_timeout``, ``upstream_redirect`` (3xx, 101), ``upstream_invalid`` (bad HTTP,
        content encoding).
        """

    async def receive(self) -> bytes:
        """The next body bytes, ``b""`` only at the clean end.

        Raises UpstreamFailed: ``upstream_invalid`` where the body was cut, ``upstream_timeout``.
        """

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *details: object) -> None: ...


class Upstreams(Protocol):
    """The pool of upstream connections."""

    async def open(
        self,
        upstream: Upstream,
        request: OutgoingRequest,
        *,
        first_byte_seconds_max: float,
        idle_seconds_max: float,
    ) -> UpstreamCall:
        """Connect (or reuse) and send the head.

        Raises UpstreamFailed (``upstream_unreachable``, ``upstream_timeout``), in both cases with
        no byte of the request sent.
        """
