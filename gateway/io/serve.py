"""Serves applications: the loop of one connection, and of one listener.

Owns: one request after the other, the deadline of each head, turn-aways that need no handler,
the cap on connections, and that nothing which happens on one connection reaches another.
Refuses: deciding anything about a call (``gateway.exchange``), making sockets and knowing who is
at their other end (handed in).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import anyio
from anyio.abc import ByteStream, TaskGroup

from gateway import limits, refusal
from gateway.call import Head, Peer
from gateway.errors import TurnAway
from gateway.head import names_listener
from gateway.io.incoming import Application, IncomingCall, ServeOptions
from gateway.wire import ApplicationGone, Incoming

Handler = Callable[[Incoming], Awaitable[None]]
"""Serves one request; may raise TurnAway and ApplicationGone, everything else is a fault."""

Identify = Callable[[ByteStream], Peer | None]
"""Who is at the other end, as the kernel or TLS says; None refuses the connection."""

Secure = Callable[[ByteStream], Awaitable[ByteStream]]
"""Wraps an accepted connection, for example in TLS."""

_ACCEPT_PAUSE_SECONDS: Final = 0.1
"""After an accept that failed, mostly for want of file descriptors: they are freed elsewhere."""


class Listener(Protocol):
    """What is needed of a listening socket; anyio's ``SocketListener`` is one."""

    async def accept(self) -> ByteStream: ...


# -- one connection --------------------------------------------------------------------------


async def serve_connection(
    stream: ByteStream, peer: Peer, handler: Handler, options: ServeOptions
) -> None:
    """Serve the requests of one connection until it ends, and close it.

    Nothing but cancellation escapes: a fault of the handler is reported to ``options.failed`` and
    ends this connection as an error.
    """
    application = Application(stream, options)
    fresh = True
    try:
        while (head := await _admit(application, fresh=fresh)) is not None:
            fresh = False
            if not await _serve_one(IncomingCall(application, head, peer), application, handler):
                return
    except ApplicationGone:
        pass
    except Exception as error:  # the boundary: one bad connection never ends a listener
        options.failed(error)
    finally:
        await application.close()


async def _serve_one(call: IncomingCall, application: Application, handler: Handler) -> bool:
    """Whether another request may follow."""
    options = application.options
    try:
        await handler(call)
    except TurnAway as turned_away:
        if call.unanswered:
            options.turned_away(turned_away.code, options.listener)
        await call.answer(refusal.turn_away(turned_away.code))
    except ApplicationGone:
        call.abort()
    finally:
        another = await call.finish()
    return another


async def _admit(application: Application, *, fresh: bool) -> Head | None:
    """The next request's head, or None where the connection is over."""
    options = application.options
    try:
        head = await _next_head(application, fresh=fresh)
        if head is None:
            return None
        if options.hosts is not None and not names_listener(head, options.hosts):
            raise TurnAway("foreign_host")
        if options.draining():
            raise TurnAway("draining")
    except TurnAway as turned_away:
        await _turn_away(application, turned_away.code)
        return None
    return head


async def _next_head(application: Application, *, fresh: bool) -> Head | None:
    side, options = application.side, application.options
    head = side.read_head() if side.buffered else None
    if head is not None:
        return head
    if not side.buffered:
        # A connection that was just opened should say something; a kept one may be idle.
        seconds = options.head_seconds_max if fresh else options.idle_seconds_max
        filled = False
        with anyio.move_on_after(seconds):
            filled = await application.fill()
        if not filled:
            return None
        head = side.read_head()
        if head is not None:
            return head
    with anyio.move_on_after(options.head_seconds_max):
        while await application.fill():
            head = side.read_head()
            if head is not None:
                return head
        return None
    raise TurnAway("too_slow", "the head did not arrive in time")


async def _turn_away(application: Application, code: str) -> None:
    options = application.options
    options.turned_away(code, options.listener)
    answer = application.side.write_answer(refusal.turn_away(code), close=True)
    await application.write(answer)
    await application.linger()


# -- one listener ----------------------------------------------------------------------------


async def serve_listener(
    listener: Listener,
    identify: Identify,
    handler: Handler,
    options: ServeOptions,
    limiter: anyio.CapacityLimiter,
    secure: Secure | None = None,
) -> None:
    """Accept connections until the listener is closed, then wait for those still open.

    ``limiter`` holds the connections of all listeners together (``limits.CONNECTIONS_MAX``);
    what is over it is answered ``too_busy``. ``secure`` runs before ``identify``, under the
    deadline of a head.
    """
    refusals = anyio.CapacityLimiter(limits.CONNECTIONS_REFUSED_MAX)
    async with anyio.create_task_group() as connections:
        while True:
            try:
                stream = await listener.accept()
            except anyio.ClosedResourceError:
                return
            except OSError as error:
                options.failed(error)
                await anyio.sleep(_ACCEPT_PAUSE_SECONDS)
                continue
            if _borrowed(limiter, stream):
                connections.start_soon(
                    _serve_accepted, stream, identify, handler, options, limiter, secure
                )
            else:
                await _refuse_busy(connections, stream, options, refusals)


def _borrowed(limiter: anyio.CapacityLimiter, stream: ByteStream) -> bool:
    try:
        limiter.acquire_on_behalf_of_nowait(stream)
    except anyio.WouldBlock:
        return False
    return True


async def _serve_accepted(
    accepted: ByteStream,
    identify: Identify,
    handler: Handler,
    options: ServeOptions,
    limiter: anyio.CapacityLimiter,
    secure: Secure | None,
) -> None:
    try:
        stream = accepted if secure is None else await _secured(accepted, secure, options)
        peer = None if stream is None else identify(stream)
        if stream is not None and peer is not None:
            await serve_connection(stream, peer, handler, options)
    except Exception as error:  # the boundary: one bad connection never ends a listener
        options.failed(error)
    finally:
        limiter.release_on_behalf_of(accepted)
        await anyio.aclose_forcefully(accepted)


async def _secured(
    accepted: ByteStream, secure: Secure, options: ServeOptions
) -> ByteStream | None:
    """None where the peer did not complete the handshake: its fault, not ours."""
    try:
        with anyio.move_on_after(options.head_seconds_max):
            return await secure(accepted)
    except (anyio.BrokenResourceError, anyio.EndOfStream, OSError):
        pass
    return None


async def _refuse_busy(
    connections: TaskGroup,
    stream: ByteStream,
    options: ServeOptions,
    refusals: anyio.CapacityLimiter,
) -> None:
    if _borrowed(refusals, stream):
        connections.start_soon(_say_busy, stream, options, refusals)
    else:
        options.turned_away("too_busy", options.listener)
        await anyio.aclose_forcefully(stream)


async def _say_busy(
    stream: ByteStream, options: ServeOptions, refusals: anyio.CapacityLimiter
) -> None:
    application = Application(stream, options)
    try:
        await _turn_away(application, "too_busy")
    except ApplicationGone:
        pass
    finally:
        refusals.release_on_behalf_of(stream)
        await application.close()
