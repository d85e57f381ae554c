"""The loop of a connection and of a listener: order, turn-aways, faults, caps."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import ByteStream, SocketAttribute, SocketListener

from gateway import limits
from gateway.call import Peer
from gateway.errors import TurnAway
from gateway.io.serve import Handler, serve_listener
from gateway.wire import ApplicationGone, Incoming
from tests.unit.gateway_io.application_end import (
    GET,
    OK,
    OK_BYTES,
    PEER,
    POST,
    World,
    all_bytes,
    connected,
    exactly,
    exchange,
    ok,
    status,
    streaming,
)

pytestmark = pytest.mark.anyio


# -- keeping connections ---------------------------------------------------------------------


async def test_a_connection_serves_request_after_request() -> None:
    async with connected(ok, World()) as client:
        for _ in range(3):
            await client.send(GET)
            await exactly(client, OK_BYTES)


async def test_pipelined_requests_are_served_one_at_a_time_and_in_order() -> None:
    served: list[tuple[str, bytes]] = []
    running = 0

    async def handler(incoming: Incoming) -> None:
        nonlocal running
        running += 1
        assert running == 1
        served.append((incoming.head.target, await incoming.read_body(10)))
        await incoming.answer(OK)
        running -= 1

    async with connected(handler, World()) as client:
        await client.send(b"".join(POST % index for index in range(5)))
        await exactly(client, OK_BYTES * 5)
    assert served == [(f"/{index}", b"ab") for index in range(5)]


async def test_close_is_kept() -> None:
    answer = await exchange(ok, World(), GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert b"\r\nconnection: close\r\n" in answer.lower()


async def test_an_idle_connection_is_closed_without_a_word() -> None:
    world = World(idle_seconds_max=0.01)
    answer = await exchange(ok, world, GET)
    assert answer == OK_BYTES
    assert world.turned_away == []


async def test_a_body_that_nobody_read_is_not_the_beginning_of_a_request() -> None:
    """Else the deadline of a head runs, and its answer is taken for that of the next request."""
    world = World(idle_seconds_max=0.1, head_seconds_max=0.01)
    answer = await exchange(ok, world, POST % 1)
    assert answer == OK_BYTES
    assert world.turned_away == []


async def test_a_connection_that_says_nothing_is_closed() -> None:
    async with connected(ok, World(head_seconds_max=0.01)) as client:
        assert await all_bytes(client) == b""


async def test_a_slow_head_has_one_deadline_in_all() -> None:
    world = World(head_seconds_max=0.05)
    answer = b""
    async with connected(ok, world) as client:
        await client.send(b"GET / HTTP/1.1\r\n")
        while not answer:
            await client.send(b"X")  # a byte at a time keeps a per-read timeout from ever firing
            with anyio.move_on_after(0.01):
                answer = await client.receive()
    assert status(answer) == 408
    assert world.turned_away == [("too_slow", "agent")]


# -- turn-aways ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "code", "expected"),
    [
        (b"get / HTTP/1.1\r\n\r\n", "malformed_request", 400),
        (b"GET / HTTP/1.1\n", "malformed_request", 400),
        (
            (
                b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n"
            ),
            "ambiguous_framing",
            400,
        ),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * limits.HEAD_BYTES_MAX, "head_too_large", 431),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "unsupported_protocol", 501),
        (b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", "foreign_host", 421),
        (
            b"GET / HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\r\n",
            "foreign_host",
            421,
        ),
    ],
)
async def test_a_bad_head_is_answered_counted_and_the_connection_closed(
    data: bytes, code: str, expected: int
) -> None:
    async def never(incoming: Incoming) -> None:
        raise AssertionError("a turned-away request reached the handler")

    world = World(hosts=frozenset({"localhost"}))
    answer = await exchange(never, world, data + b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert status(answer) == expected
    assert code.encode() in answer
    assert answer.count(b"HTTP/1.1 %d " % expected) == 1
    assert world.turned_away == [(code, "agent")]
    assert world.failed == []


async def test_a_second_bad_head_is_answered_too() -> None:
    answer = await exchange(ok, World(), GET + b"get / HTTP/1.1\r\n\r\n")
    assert answer.startswith(OK_BYTES + b"HTTP/1.1 400 ")


async def test_a_turn_away_after_a_whole_request_keeps_the_connection() -> None:
    async def handler(incoming: Incoming) -> None:
        await incoming.read_body(9)
        if incoming.head.target == "/0":
            raise TurnAway("spool_full")
        await incoming.answer(OK)

    world = World()
    async with connected(handler, world) as client:
        await client.send(POST % 0 + POST % 1)
        answer = b""
        while not answer.endswith(OK_BYTES):
            answer += await client.receive()
    assert status(answer) == 503
    assert world.turned_away == [("spool_full", "agent")]


async def test_draining_ends_connections_and_turns_new_requests_away() -> None:
    world = World()

    async def handler(incoming: Incoming) -> None:
        world.draining = True
        await incoming.answer(OK)

    answer = await exchange(handler, world, GET)
    assert b"\r\nconnection: close\r\n" in answer.lower()
    assert world.turned_away == []
    assert status(await exchange(handler, world, GET)) == 503
    assert world.turned_away == [("draining", "agent")]


# -- faults ----------------------------------------------------------------------------------


async def test_a_fault_of_the_handler_ends_one_connection_and_is_reported() -> None:
    async def handler(incoming: Incoming) -> None:
        raise RuntimeError("boom")

    world = World()
    assert await exchange(handler, world, GET) == b""
    assert [str(error) for error in world.failed] == ["boom"]


async def test_a_fault_inside_a_stream_never_looks_like_its_end() -> None:
    async def handler(incoming: Incoming) -> None:
        await incoming.send_head(200, (), None)
        await incoming.send(b"ab")
        raise RuntimeError("boom")

    assert (await exchange(handler, World(), GET)).endswith(b"2\r\nab\r\n")


async def test_a_cancelled_write_leaves_nothing_that_could_be_continued() -> None:
    refused = anyio.Event()

    async def handler(incoming: Incoming) -> None:
        await incoming.send_head(200, (), None)
        with anyio.move_on_after(0.02):
            while True:
                await incoming.send(b"x" * 1_000_000)
        with pytest.raises(ApplicationGone):
            await incoming.end()
        refused.set()

    async with connected(handler, World()) as client:
        await client.send(GET)
        await refused.wait()
        assert not (await all_bytes(client)).endswith(b"0\r\n\r\n")


# -- listeners -------------------------------------------------------------------------------


@asynccontextmanager
async def listening(
    handler: Handler,
    world: World,
    *,
    connections_max: int = 10,
    identify: Callable[[ByteStream], Peer | None] = lambda _: PEER,
    secure: Callable[[ByteStream], Awaitable[ByteStream]] | None = None,
) -> AsyncIterator[Callable[[], Awaitable[ByteStream]]]:
    """A function that connects to a served TCP listener."""
    multi = await anyio.create_tcp_listener(local_host="127.0.0.1")
    listener = multi.listeners[0]
    assert isinstance(listener, SocketListener)
    port = listener.extra(SocketAttribute.local_port)
    limiter = anyio.CapacityLimiter(connections_max)

    async def connect() -> ByteStream:
        return await anyio.connect_tcp("127.0.0.1", port)

    async with anyio.create_task_group() as tasks, multi:
        tasks.start_soon(
            serve_listener, listener, identify, handler, world.options, limiter, secure
        )
        with anyio.fail_after(5):
            yield connect
            tasks.cancel_scope.cancel()


async def test_a_bad_connection_never_ends_the_listener() -> None:
    async def handler(incoming: Incoming) -> None:
        if incoming.head.target == "/boom":
            raise RuntimeError("boom")
        await incoming.read_body(99)
        await incoming.answer(OK)

    world = World()
    async with listening(handler, world) as connect:
        for bad in (b"", b"\x16\x03", (POST % 0)[:-1], b"GET /boom HTTP/1.1\r\nHost: a\r\n\r\n"):
            async with await connect() as client:
                await client.send(bad or b"G")
                # RST instead of FIN: what a crashed client leaves behind.
                raw = client.extra(SocketAttribute.raw_socket)
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        async with await connect() as client:
            await client.send(GET)
            await exactly(client, OK_BYTES)
    assert {str(error) for error in world.failed} <= {"boom"}


async def test_over_the_cap_the_answer_is_too_busy() -> None:
    world = World()
    async with listening(ok, world, connections_max=1) as connect, await connect() as first:
        await first.send(GET)
        await exactly(first, OK_BYTES)
        async with await connect() as second:
            await second.send(GET)
            answer = await all_bytes(second)
        assert status(answer) == 503
        assert world.turned_away == [("too_busy", "agent")]
        await first.send(GET)
        await exactly(first, OK_BYTES)
        await first.aclose()
        await anyio.wait_all_tasks_blocked()
        async with await connect() as third:
            await third.send(GET)
            await exactly(third, OK_BYTES)


async def test_an_unknown_peer_gets_nothing() -> None:
    world = World()
    async with listening(ok, world, identify=lambda _: None) as connect, await connect() as client:
        assert await all_bytes(client) == b""
    assert world.failed == []


async def test_a_peer_that_cannot_be_identified_is_refused_and_reported() -> None:
    def identify(stream: ByteStream) -> Peer | None:
        raise PermissionError("no sock_diag")

    world = World()
    async with listening(ok, world, identify=identify) as connect:
        for _ in range(2):
            async with await connect() as client:
                assert await all_bytes(client) == b""
    assert len(world.failed) == 2


async def test_a_failed_handshake_is_the_peers_fault() -> None:
    async def secure(stream: ByteStream) -> ByteStream:
        raise ssl.SSLError("no shared cipher")

    world = World()
    async with listening(ok, world, secure=secure) as connect, await connect() as client:
        assert await all_bytes(client) == b""
    assert world.failed == []


async def test_an_aborted_answer_without_framing_resets_a_tcp_connection() -> None:
    handler = streaming(b"ab", end=False)
    async with listening(handler, World()) as connect, await connect() as client:
        await client.send(GET.replace(b"1.1", b"1.0"))
        with pytest.raises(anyio.BrokenResourceError):
            await all_bytes(client)


class Exhausted:
    """A listener without file descriptors, then one that was closed."""

    def __init__(self) -> None:
        self.accepts = 0

    async def accept(self) -> ByteStream:
        self.accepts += 1
        if self.accepts == 1:
            raise OSError(24, "too many open files")
        raise anyio.ClosedResourceError


async def test_a_failed_accept_is_reported_and_tried_again() -> None:
    world = World()
    listener = Exhausted()
    await serve_listener(listener, lambda _: PEER, ok, world.options, anyio.CapacityLimiter(1))
    assert listener.accepts == 2
    assert len(world.failed) == 1
