"""One connection from an application, byte for byte, over real sockets."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import msgspec
import pytest
from anyio.abc import ByteStream, SocketAttribute, SocketListener, UNIXSocketStream

from gateway import limits
from gateway.call import Peer
from gateway.errors import TurnAway
from gateway.io.incoming import IncomingCall, ServeOptions
from gateway.io.serve import Handler, serve_connection, serve_listener
from gateway.wire import Answer, ApplicationGone, Incoming

pytestmark = pytest.mark.anyio

PEER = Peer(listener="agent", kind="uds", uid=1000, agent="a", attested_by="uds_uid")
OK = Answer(status=200, headers=(("content-type", "a/b"),), body=b"ok")
OK_BYTES = b"HTTP/1.1 200 OK\r\ncontent-type: a/b\r\ncontent-length: 2\r\n\r\nok"
GET = b"GET / HTTP/1.1\r\nHost: gw\r\n\r\n"
POST = b"POST /%d HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\n\r\nab"


class World:
    """What a listener reports, and the options that report here."""

    def __init__(self, **options: object) -> None:
        self.turned_away: list[tuple[str, str]] = []
        self.failed: list[Exception] = []
        self.draining = False
        options_of_all = ServeOptions(
            listener="agent",
            hosts=None,
            draining=lambda: self.draining,
            turned_away=lambda code, listener: self.turned_away.append((code, listener)),
            failed=self.failed.append,
            linger_seconds_max=0.2,
        )
        self.options = msgspec.structs.replace(options_of_all, **options)


@asynccontextmanager
async def connected(handler: Handler, world: World) -> AsyncIterator[ByteStream]:
    """The application's end of a connection that is being served."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    served = await UNIXSocketStream.from_socket(ours)
    client = await UNIXSocketStream.from_socket(theirs)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve_connection, served, PEER, handler, world.options)
        async with client:
            with anyio.fail_after(5):
                yield client
        # A connection whose client is gone ends by itself: nothing has to be cancelled.


async def all_bytes(client: ByteStream) -> bytes:
    """Everything until the connection ends."""
    data = b""
    while True:
        try:
            data += await client.receive()
        except anyio.EndOfStream:
            return data


async def exactly(client: ByteStream, wanted: bytes) -> None:
    data = b""
    while len(data) < len(wanted):
        data += await client.receive(len(wanted) - len(data))
    assert data == wanted


async def ok(incoming: Incoming) -> None:
    await incoming.answer(OK)


async def exchange(handler: Handler, world: World, data: bytes) -> bytes:
    """Send ``data``, then everything that comes until the server closes."""
    async with connected(handler, world) as client:
        await client.send(data)
        return await all_bytes(client)


def status(answer: bytes) -> int:
    return int(answer.split(b" ")[1])


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


# -- bodies ----------------------------------------------------------------------------------


def reading(bytes_max: int, bodies: list[bytes]) -> Handler:
    async def handler(incoming: Incoming) -> None:
        bodies.append(await incoming.read_body(bytes_max))
        assert incoming.bytes_in == len(bodies[-1])
        await incoming.answer(OK)

    return handler


CHUNKED = (
    b"POST / HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n"
)


async def test_bodies_come_whole_however_they_are_cut() -> None:
    bodies: list[bytes] = []
    async with connected(reading(5, bodies), World()) as client:
        for _ in range(2):
            for index in range(len(CHUNKED)):
                await client.send(CHUNKED[index : index + 1])
            await exactly(client, OK_BYTES)
            await client.send(CHUNKED)
            await exactly(client, OK_BYTES)
    assert bodies == [b"abcde"] * 4


@pytest.mark.parametrize("data", [CHUNKED, POST % 0])
async def test_a_body_over_its_bound_is_turned_away_and_the_answer_arrives(data: bytes) -> None:
    world = World()
    answer = await exchange(reading(1, []), world, data + b"x" * 100_000)
    assert status(answer) == 413
    assert b"\r\nconnection: close\r\n" in answer.lower()
    assert world.turned_away == [("body_too_large", "agent")]


async def test_a_slow_body_is_turned_away() -> None:
    world = World(body_seconds_max=0.01)
    assert status(await exchange(reading(9, []), world, (POST % 0)[:-1])) == 408
    assert world.turned_away == [("too_slow", "agent")]


async def test_continue_is_sent_only_when_the_body_is_read() -> None:
    expecting = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    bodies: list[bytes] = []
    async with connected(reading(9, bodies), World()) as client:
        await client.send(expecting)
        await exactly(client, b"HTTP/1.1 100 Continue\r\n\r\n")
        await client.send(b"ab")
        await exactly(client, OK_BYTES)
        await client.send(expecting + b"ab")  # whoever does not wait needs none
        await exactly(client, OK_BYTES)
        await client.send(expecting + b"a")  # nor one that has begun
        await anyio.wait_all_tasks_blocked()
        await client.send(b"b")
        await exactly(client, OK_BYTES)
    assert bodies == [b"ab"] * 3
    assert (await exchange(ok, World(), expecting)).startswith(b"HTTP/1.1 200")


async def test_an_unread_body_is_never_taken_for_a_request() -> None:
    smuggled = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 999\r\n\r\n" + GET
    answer = await exchange(ok, World(), smuggled)
    assert answer.count(b"HTTP/1.1") == 1
    assert b"\r\nconnection: close\r\n" in answer.lower()


async def test_an_upload_is_read_part_by_part() -> None:
    parts: list[bytes] = []

    async def handler(incoming: Incoming) -> None:
        while part := await incoming.read_chunk():
            parts.append(part)
        await incoming.answer(OK)

    async with connected(handler, World()) as client:
        await client.send(CHUNKED + GET)
        await exactly(client, OK_BYTES * 2)
    assert parts == [b"abcde"]


async def test_an_application_that_leaves_inside_its_body_is_gone() -> None:
    raised: list[Exception] = []

    async def handler(incoming: Incoming) -> None:
        try:
            await incoming.read_body(99)
        except ApplicationGone as gone:
            raised.append(gone)
            raise

    world = World()
    async with connected(handler, world) as client:
        await client.send((POST % 0)[:-1])
        await client.aclose()
    assert len(raised) == 1
    assert world.failed == []


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


# -- answers ---------------------------------------------------------------------------------


def streaming(*parts: bytes, length: int | None = None, end: bool = True) -> Handler:
    async def handler(incoming: Incoming) -> None:
        await incoming.send_head(200, (("content-type", "a/b"),), length)
        for part in parts:
            await incoming.send(part)
        if end:
            await incoming.end()
        else:
            incoming.abort()
        assert incoming.bytes_out == sum(map(len, parts))

    return handler


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: a/b\r\n"


async def test_the_head_of_a_stream_goes_out_before_its_first_byte() -> None:
    first = anyio.Event()

    async def handler(incoming: Incoming) -> None:
        await incoming.send_head(200, (), None)
        await first.wait()
        await incoming.send(b"x")
        await incoming.end()

    async with connected(handler, World()) as client:
        await client.send(GET)
        assert (await client.receive()).endswith(b"\r\n\r\n")
        first.set()
        await exactly(client, b"1\r\nx\r\n0\r\n\r\n")


async def test_a_stream_is_chunked_and_leaves_the_connection_usable() -> None:
    async with connected(streaming(b"ab", b"c"), World()) as client:
        for _ in range(2):
            await client.send(GET)
            await exactly(
                client,
                HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
            )


async def test_an_answer_with_a_length_is_one_message() -> None:
    writes: list[bytes] = []

    async def handler(incoming: Incoming) -> None:
        assert isinstance(incoming, IncomingCall)
        application = incoming._application

        async def write(data: bytes, send: Callable[[bytes], Awaitable[None]]) -> None:
            writes.append(data)
            await send(data)

        send = application.write
        application.write = lambda data: write(data, send)  # type: ignore[method-assign]  # a tap
        await streaming(b"abc", length=3)(incoming)

    async with connected(handler, World()) as client:
        await client.send(GET)
        await exactly(client, HEAD + b"content-length: 3\r\n\r\nabc")
    assert len(writes) == 1


async def test_http_1_0_gets_a_stream_that_ends_by_closing() -> None:
    answer = await exchange(streaming(b"ab", b"c"), World(), GET.replace(b"1.1", b"1.0"))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert body == b"abc"
    assert b"chunked" not in head


async def test_head_gets_no_body() -> None:
    async with connected(ok, World()) as client:
        for _ in range(2):
            await client.send(GET.replace(b"GET", b"HEAD"))
            await exactly(client, OK_BYTES[:-2])


async def test_an_aborted_stream_has_no_clean_end() -> None:
    chunked = await exchange(streaming(b"ab", end=False), World(), GET)
    assert chunked.endswith(b"\r\n\r\n2\r\nab\r\n")
    short = await exchange(streaming(b"ab", length=9, end=False), World(), GET)
    assert short.endswith(b"content-length: 9\r\n\r\nab")


async def test_an_answer_shorter_than_its_length_is_an_abort() -> None:
    world = World()
    short = await exchange(streaming(b"ab", length=9), world, GET + GET)
    assert short.endswith(b"content-length: 9\r\n\r\nab")
    assert len(world.failed) == 1


async def test_a_request_without_an_answer_ends_the_connection() -> None:
    async def handler(incoming: Incoming) -> None:
        pass

    assert await exchange(handler, World(), GET + GET) == b""


async def test_an_answer_after_a_begun_stream_only_aborts_it() -> None:
    async def handler(incoming: Incoming) -> None:
        await incoming.send_head(200, (), None)
        await incoming.send(b"ab")
        await incoming.answer(OK)

    assert (await exchange(handler, World(), GET)).endswith(b"2\r\nab\r\n")


async def test_a_reader_that_stops_holds_the_sender_and_not_its_memory() -> None:
    stopped = anyio.Event()

    async def handler(incoming: Incoming) -> None:
        await incoming.send_head(200, (), None)
        try:
            while incoming.bytes_out < 100_000_000:
                await incoming.send(b"x" * limits.CHUNK_BYTES)
        finally:
            stopped.set()

    world = World(send_seconds_max=0.02)
    async with connected(handler, world) as client:
        await client.send(GET)
        await stopped.wait()
        data = await all_bytes(client)
    assert len(data) < 10_000_000
    assert not data.endswith(b"0\r\n\r\n")
    assert world.failed == []


# -- hanging up ------------------------------------------------------------------------------


def waiting(noticed: anyio.Event) -> Handler:
    async def handler(incoming: Incoming) -> None:
        await incoming.wait_gone()
        noticed.set()
        with pytest.raises(ApplicationGone):
            await incoming.answer(OK)

    return handler


async def test_a_hang_up_is_noticed_while_the_upstream_is_awaited() -> None:
    noticed = anyio.Event()
    async with connected(waiting(noticed), World()) as client:
        await client.send(GET)
        await client.aclose()
        await noticed.wait()


async def test_a_hang_up_behind_pipelined_bytes_is_noticed() -> None:
    noticed = anyio.Event()
    async with connected(waiting(noticed), World()) as client:
        await client.send(GET + GET)
        await client.aclose()
        await noticed.wait()


async def test_waiting_for_a_hang_up_loses_no_pipelined_byte() -> None:
    async def handler(incoming: Incoming) -> None:
        async with anyio.create_task_group() as both:
            both.start_soon(incoming.wait_gone)
            for _ in range(5):  # rounds of the loop, so that it really reads ahead
                await anyio.lowlevel.checkpoint()
            await incoming.answer(OK)
            both.cancel_scope.cancel()

    async with connected(handler, World()) as client:
        await client.send(GET + GET[:9])
        await exactly(client, OK_BYTES)
        await client.send(GET[9:])
        await exactly(client, OK_BYTES)


async def test_reading_ahead_is_bounded() -> None:
    reading = anyio.Event()
    done = anyio.Event()

    async def handler(incoming: Incoming) -> None:
        assert isinstance(incoming, IncomingCall)
        async with anyio.create_task_group() as both:
            both.start_soon(incoming.wait_gone)
            await reading.wait()
            await anyio.wait_all_tasks_blocked()
            assert incoming._side.buffered < 2 * limits.READ_AHEAD_BYTES_MAX
            done.set()
            both.cancel_scope.cancel()

    async with connected(handler, World()) as client:
        await client.send(GET)
        with anyio.move_on_after(0.05):
            await client.send(b"x" * 10_000_000)
        reading.set()
        await done.wait()


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
