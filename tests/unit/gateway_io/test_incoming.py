"""One request on a connection, byte for byte: its body, its answer, and hanging up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
import pytest

from gateway import limits
from gateway.io.incoming import IncomingCall
from gateway.io.serve import Handler
from gateway.wire import ApplicationGone, Incoming
from tests.unit.gateway_io.application_end import (
    GET,
    OK,
    OK_BYTES,
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


# -- answers ---------------------------------------------------------------------------------


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
    """Looks again after every round of the loop until the client is gone."""

    async def handler(incoming: Incoming) -> None:
        while not incoming.hung_up():
            await anyio.lowlevel.checkpoint()
        noticed.set()
        with pytest.raises(ApplicationGone):
            await incoming.answer(OK)

    return handler


@pytest.mark.parametrize("sent", [GET, GET + GET], ids=["alone", "behind pipelined bytes"])
async def test_a_hang_up_is_noticed_while_the_upstream_is_awaited(sent: bytes) -> None:
    noticed = anyio.Event()
    async with connected(waiting(noticed), World()) as client:
        await client.send(sent)
        await client.aclose()
        await noticed.wait()


async def test_looking_for_a_hang_up_reads_nothing() -> None:
    looked: list[bool] = []

    async def handler(incoming: Incoming) -> None:
        for _ in range(5):  # rounds of the loop, so that pipelined bytes have come
            await anyio.lowlevel.checkpoint()
            looked.append(incoming.hung_up())
        await incoming.answer(OK)

    async with connected(handler, World()) as client:
        await client.send(GET + GET[:9])
        await exactly(client, OK_BYTES)
        await client.send(GET[9:])
        await exactly(client, OK_BYTES)
    assert looked == [False] * 10
