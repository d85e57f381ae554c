"""Simulated connections keep the promises of a byte stream, and break them only when cut."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Awaitable, Callable

import anyio
import pytest

from tests.sim.loop import simulate
from tests.sim.net import Host, Refused, SimNetwork
from tests.sim.stream import SimStream, Wire

Script = Callable[[SimStream, SimStream], Awaitable[None]]


def between(script: Script, *, seed: int = 1, cut_rate: float = 0.0) -> None:
    """Run ``script`` with both ends of a connection."""

    async def world() -> None:
        wire = Wire(random.Random(seed), (0.001, 0.1), cut_rate)
        await script(*SimStream.pair(wire, uid=7))

    simulate(seed, world)


async def read_all(stream: SimStream) -> bytes:
    data = b""
    try:
        while True:
            data += await stream.receive(17)
    except anyio.EndOfStream:
        return data


@pytest.mark.parametrize("seed", range(10))
def test_bytes_arrive_whole_and_in_order(seed: int) -> None:
    sent = [bytes([number]) * (number * 11) for number in range(1, 60)]

    async def script(ours: SimStream, theirs: SimStream) -> None:
        async with anyio.create_task_group() as tasks:

            async def send() -> None:
                for part in sent:
                    await ours.send(part)
                await ours.send_eof()

            tasks.start_soon(send)
            assert await read_all(theirs) == b"".join(sent)

    between(script, seed=seed)


def test_a_half_closed_connection_still_answers() -> None:
    async def script(ours: SimStream, theirs: SimStream) -> None:
        await ours.send(b"question")
        await ours.send_eof()
        assert await read_all(theirs) == b"question"
        await theirs.send(b"answer")
        await theirs.aclose()
        assert await read_all(ours) == b"answer"

    between(script)


def test_a_cut_shows_to_both_ends_and_loses_only_the_end() -> None:
    async def script(ours: SimStream, theirs: SimStream) -> None:
        await ours.send(b"a" * 100)
        await anyio.sleep(1)
        await ours.send(b"b" * 100)
        ours.cut()
        received = b""
        with contextlib.suppress(anyio.BrokenResourceError):
            while True:
                received += await theirs.receive()
        assert received[:100] == b"a" * 100
        assert set(received[100:]) <= {ord("b")}
        assert len(received) < 200
        for end in (ours, theirs):
            with pytest.raises(anyio.BrokenResourceError):
                await end.send(b"c")

    between(script)


def test_a_sender_waits_for_a_reader_that_does_not_read() -> None:
    async def script(ours: SimStream, theirs: SimStream) -> None:
        with anyio.move_on_after(60) as waiting:
            for _ in range(100):
                await ours.send(bytes(16 * 1024))
        assert waiting.cancelled_caught

    between(script)


def test_the_kernel_knows_who_connected() -> None:
    async def script(ours: SimStream, theirs: SimStream) -> None:
        assert (ours.peer_uid, theirs.peer_uid) == (None, 7)

    between(script)


def test_a_killed_process_neither_sends_nor_connects_nor_listens() -> None:
    async def world() -> None:
        network = SimNetwork(random.Random(1))
        server, client = Host(network), Host(network)
        listener = server.listen("a:1")
        stream = await client.connect("a:1")
        accepted = await listener.accept()
        server.kill(cleanly=False)
        with pytest.raises(anyio.BrokenResourceError):
            await accepted.send(b"a ghost's last words")
        with pytest.raises(anyio.BrokenResourceError):
            await stream.receive()
        with pytest.raises(Refused):
            await client.connect("a:1")
        with pytest.raises(Refused):
            await server.connect("b:2")

    simulate(1, world)
