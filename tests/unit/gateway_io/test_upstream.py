"""One call to an upstream that misbehaves in every way it can, over real sockets."""

from __future__ import annotations

import socket
import ssl
from typing import Protocol

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import ByteStream, SocketAttribute

from gateway import limits
from gateway.errors import UpstreamFailed
from gateway.io.dial import AnyioDialer
from gateway.io.upstream import UpstreamPool
from gateway.wire import OutgoingRequest
from tests.unit.gateway_io.upstream_end import (
    GET,
    OK,
    Script,
    ask,
    body_of,
    failing,
    opened,
    request_of,
    upstream,
)

pytestmark = pytest.mark.anyio


class Authority(Protocol):
    """What is used of the ``authority`` fixture."""

    ca_file: str

    def server(self, *names: str) -> ssl.SSLContext: ...


# -- reuse -----------------------------------------------------------------------------------


async def test_a_connection_is_reused_after_clean_ends() -> None:
    async with upstream((OK,)) as (fake, pool, at):
        for _ in range(3):
            head, body = await ask(pool, at)
            assert (head.status, body) == (200, b"ok")
        assert fake.connections == 1
        assert fake.requests[2] == (
            b"POST /v1 HTTP/1.1\r\nhost: 127.0.0.1:%d\r\nx: y\r\ncontent-length: 2\r\n\r\nab"
            % at.port
        )


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        OK + b"surplus",
    ],
)
async def test_a_connection_that_may_not_be_reused_is_closed(answer: bytes) -> None:
    async with upstream((answer,)) as (fake, pool, at):
        for _ in range(2):
            assert (await ask(pool, at))[1] == b"ok"
        assert fake.connections == 2
        assert pool.idle_connections == 0


async def test_an_unread_answer_is_not_left_to_the_next_call() -> None:
    large = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + bytes(1_000_000)
    async with upstream((large,)) as (fake, pool, at):
        async with await opened(pool, at, GET) as call:
            await call.end()
            await call.receive_head()
        assert len((await ask(pool, at))[1]) == 1_000_000
        assert fake.connections == 2


async def test_a_connection_that_died_idle_is_found_before_a_byte_is_sent() -> None:
    closed = anyio.Event()

    async def script(stream: ByteStream) -> None:
        await request_of(stream)
        await stream.send(OK)
        await stream.aclose()
        closed.set()

    async with upstream(script) as (fake, pool, at):
        for _ in range(3):
            assert (await ask(pool, at))[1] == b"ok"
            await closed.wait()
            closed = anyio.Event()
        assert fake.connections == 3


async def test_unasked_bytes_on_an_idle_connection_are_never_an_answer() -> None:
    sent = anyio.Event()

    async def script(stream: ByteStream) -> None:
        await request_of(stream)
        await stream.send(OK)
        await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned")
        sent.set()
        await stream.receive()

    async with upstream(script) as (_, pool, at):
        assert (await ask(pool, at))[1] == b"ok"
        await sent.wait()
        assert (await ask(pool, at))[1] == b"ok"


async def test_idle_connections_are_bounded_in_number_and_age() -> None:
    async with upstream((OK,)) as (fake, _, at):
        few = UpstreamPool(AnyioDialer(frozenset({"127.0.0.1"})), idle_max=1)
        async with await opened(few, at, GET) as one, await opened(few, at, GET) as two:
            for call in (one, two):
                await call.end()
                await call.receive_head()
                await body_of(call)
        assert few.idle_connections == 1
        await few.aclose()
        young = UpstreamPool(AnyioDialer(frozenset({"127.0.0.1"})), idle_seconds_max=-1)
        await ask(young, at)
        assert young.idle_connections == 0
        assert fake.connections == 3


async def test_the_newest_idle_connection_is_taken_and_never_for_another_host() -> None:
    async with upstream((OK,)) as (fake, pool, at), upstream((OK,)) as (_, _, other):
        async with await opened(pool, at, GET) as one, await opened(pool, at, GET) as two:
            for call in (one, two):
                await call.end()
                await call.receive_head()
                await body_of(call)
        await ask(pool, other)
        assert pool.idle_connections == 3
        await ask(pool, at)
        assert fake.connections == 2
        assert pool.idle_connections == 3


async def test_leaving_a_call_early_closes_its_connection() -> None:
    async def script(stream: ByteStream) -> None:
        await request_of(stream)
        await stream.send(b"HTTP/1.1 200 OK\r\n\r\n")
        await stream.receive()

    async with upstream(script) as (fake, pool, at):
        async with await opened(pool, at) as call:
            await call.send(b"ab")
            await call.end()
            await call.receive_head()
        while not fake.closed:
            await anyio.lowlevel.checkpoint()
        assert pool.idle_connections == 0


# -- what was sent ---------------------------------------------------------------------------


async def test_opening_sends_nothing() -> None:
    async with upstream((OK,)) as (fake, pool, at):
        async with await opened(pool, at) as call:
            before = call.sent_any
            await call.send(b"ab")
            assert (before, call.sent_any) == (False, True)
            await call.end()
            await call.receive_head()
        assert len(fake.requests) == 1


async def test_nobody_listening_is_unreachable_with_no_byte_sent() -> None:
    async with upstream((OK,)) as (_, pool, at):
        pass
    with pytest.raises(UpstreamFailed) as failed:
        await opened(pool, at)
    assert failed.value.code == "upstream_unreachable"


async def test_a_request_that_may_have_been_read_is_never_sent_again() -> None:
    requests: list[bytes] = []

    async def script(stream: ByteStream) -> None:
        requests.append(await request_of(stream))
        if len(requests) == 1:
            await stream.send(OK)
            requests.append(await request_of(stream))  # and closes without an answer

    async with upstream(script) as (fake, pool, at):
        await ask(pool, at)
        async with await opened(pool, at) as call:
            await call.send(b"ab")
            await call.end()
            with pytest.raises(UpstreamFailed) as failed:
                await call.receive_head()
            assert call.sent_any
        assert failed.value.code == "upstream_unreachable"
        assert len(requests) == 2
        assert fake.connections == 1


async def test_a_chunked_upload_arrives_in_chunks() -> None:
    got = b""

    async def script(stream: ByteStream) -> None:
        nonlocal got
        while not got.endswith(b"0\r\n\r\n"):
            got += await stream.receive()
        await stream.send(OK)

    async with upstream(script) as (_, pool, at):
        request = OutgoingRequest(method="POST", target="/", headers=(), content_length=None)
        async with await opened(pool, at, request) as call:
            for part in (b"ab", b"cde"):
                await call.send(part)
            await call.end()
            assert (await call.receive_head()).status == 200
    assert got.endswith(b"transfer-encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n")


# -- early answers ---------------------------------------------------------------------------

LARGE = 20_000_000


def refusing(answer: bytes, done: anyio.Event) -> Script:
    async def script(stream: ByteStream) -> None:
        await stream.receive(10)
        await stream.send(answer)
        await done.wait()  # reads nothing more, and does not close either

    return script


async def test_a_refusal_of_a_large_body_is_heard_while_it_is_sent() -> None:
    done = anyio.Event()
    refusal = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"
    async with upstream(refusing(refusal, done)) as (_, pool, at):
        request = OutgoingRequest(method="POST", target="/", headers=(), content_length=LARGE)
        async with await opened(pool, at, request) as call:
            await call.send(b"x" * LARGE)
            await call.end()
            assert (await call.receive_head()).status == 413
            assert await body_of(call) == b"no"
        assert pool.idle_connections == 0
        done.set()


async def test_a_bad_early_answer_is_told_by_the_head() -> None:
    done = anyio.Event()
    async with upstream(refusing(b"HTTP/1.1 301 X\r\n\r\n", done)) as (_, pool, at):
        request = OutgoingRequest(method="POST", target="/", headers=(), content_length=LARGE)
        async with await opened(pool, at, request) as call:
            await call.send(b"x" * LARGE)
            with pytest.raises(UpstreamFailed) as failed:
                await call.receive_head()
        assert failed.value.code == "upstream_redirect"
        done.set()


async def test_an_answer_before_a_reset_is_still_heard() -> None:
    async def script(stream: ByteStream) -> None:
        await stream.receive(10)
        await stream.send(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")
        await stream.send_eof()

    async with upstream(script) as (_, pool, at):
        request = OutgoingRequest(method="POST", target="/", headers=(), content_length=4)
        async with await opened(pool, at, request) as call:
            await call.send(b"ab")
            assert (await call.receive_head()).status == 401
            await call.send(b"cd")
            await call.end()


async def test_a_large_body_is_sent_whole_where_nobody_refuses_it() -> None:
    async with upstream((OK,)) as (fake, pool, at):
        size = 3_000_000
        request = OutgoingRequest(method="POST", target="/", headers=(), content_length=size)
        async with await opened(pool, at, request) as call:
            await call.send(b"x" * size)
            await call.end()
            assert (await call.receive_head()).status == 200
            assert await body_of(call) == b"ok"
        assert fake.requests[0].endswith(b"\r\n\r\n" + b"x" * size)
        assert pool.idle_connections == 1


# -- answers that are none -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"HTTP/1.1 302 Found\r\nLocation: http://a/\r\n\r\n", "upstream_redirect"),
        (b"HTTP/1.1 101 Switching\r\n\r\n", "upstream_redirect"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n", "upstream_invalid"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: br, identity\r\n\r\n", "upstream_invalid"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
            "upstream_invalid",
        ),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * limits.HEAD_BYTES_MAX, "upstream_invalid"),
        (b"nonsense\r\n\r\n", "upstream_invalid"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "upstream_invalid"),
    ],
)
async def test_an_answer_that_may_not_be_passed_on_fails(answer: bytes, code: str) -> None:
    assert await failing((answer,)) == code


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        b"HTTP/1.1 200 O",
    ],
)
async def test_a_cut_answer_is_never_a_whole_one(answer: bytes) -> None:
    async def script(stream: ByteStream) -> None:
        await request_of(stream)
        await stream.send(answer)

    assert await failing(script) == "upstream_invalid"


async def test_a_reset_is_never_the_end_of_an_answer() -> None:
    async def script(stream: ByteStream) -> None:
        await request_of(stream)
        await stream.send(b"HTTP/1.1 200 OK\r\n\r\nok")
        raw = stream.extra(SocketAttribute.raw_socket)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    assert await failing(script) == "upstream_invalid"


async def test_a_close_without_an_answer_is_unreachable() -> None:
    async def script(stream: ByteStream) -> None:
        await request_of(stream)

    assert await failing(script) == "upstream_unreachable"


async def test_interim_answers_are_skipped() -> None:
    async with upstream((b"HTTP/1.1 100 Continue\r\n\r\n" + OK,)) as (_, pool, at):
        head, body = await ask(pool, at)
        assert (head.status, body) == (200, b"ok")
        assert pool.idle_connections == 1


async def test_what_an_upstream_says_unasked_is_not_taken_into_memory() -> None:
    opening = anyio.Event()
    ended = anyio.Event()
    sent = 0

    async def script(stream: ByteStream) -> None:
        nonlocal sent
        await opening.wait()
        with anyio.CancelScope() as stall:
            while sent < 100_000_000:
                stall.deadline = anyio.current_time() + 0.03
                await stream.send(bytes(limits.CHUNK_BYTES))
                sent += limits.CHUNK_BYTES
        ended.set()

    async with upstream(script) as (_, pool, at), await opened(pool, at):
        opening.set()
        await ended.wait()
    assert sent < 20_000_000  # what two socket buffers hold


# -- deadlines -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "beginning",
    [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"],
)
async def test_an_upstream_that_falls_silent_is_a_timeout(beginning: bytes) -> None:
    async def script(stream: ByteStream) -> None:
        await request_of(stream)
        if beginning:
            await stream.send(beginning)
        await stream.receive()

    assert await failing(script, seconds=0.02) == "upstream_timeout"


async def test_an_upstream_that_stops_reading_is_a_timeout() -> None:
    done = anyio.Event()

    async def script(stream: ByteStream) -> None:
        await stream.receive(10)
        await done.wait()

    async with upstream(script) as (_, pool, at):
        request = OutgoingRequest(method="POST", target="/", headers=(), content_length=LARGE)
        async with await opened(pool, at, request, seconds=0.02) as call:
            with pytest.raises(UpstreamFailed) as failed:
                await call.send(b"x" * LARGE)
        assert failed.value.code == "upstream_timeout"
        done.set()


# -- TLS -------------------------------------------------------------------------------------


async def test_tls_connections_are_reused_and_their_cuts_are_seen(authority: Authority) -> None:
    whole = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    context = authority.server("127.0.0.1")

    async def script(stream: ByteStream) -> None:
        await request_of(stream)
        await stream.send(whole)
        await request_of(stream)
        await stream.send(whole[:-5])

    async with upstream(script, tls=context, ca=authority.ca_file) as (fake, pool, at):
        assert (await ask(pool, at))[1] == b"ok"
        with pytest.raises(UpstreamFailed) as failed:
            await ask(pool, at)
        assert failed.value.code == "upstream_invalid"
        assert fake.connections == 1
