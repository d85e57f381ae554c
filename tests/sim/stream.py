"""A connection in memory, as bytes on a wire: late, in pieces, and cut at any byte.

Each direction is a queue of pieces with their times of arrival, which never overtake each other.
What was sent and has not arrived is lost with a cut, but for a part of the first piece. A full
queue makes the sender wait, as a socket buffer would.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable

import anyio
from anyio.abc import ByteStream

from tests.sim.loop import now

_CAPACITY_BYTES = 64 * 1024
_NOW_SECONDS = 1e-6
"""Virtual times are floats: what is due within this is due."""


class Pipe:
    """One direction."""

    def __init__(self) -> None:
        self.broken = False
        self.reader_gone = False
        self._ended = False
        self._pieces: deque[tuple[float, bytes]] = deque()
        self._held_bytes = 0
        self._latest = 0.0
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()

    async def send(self, pieces: list[tuple[float, bytes]]) -> None:
        """Put ``pieces`` of (seconds on the way, bytes) on the wire, as there is room."""
        for seconds, data in pieces:
            while self._held_bytes >= _CAPACITY_BYTES and not (self.broken or self.reader_gone):
                self._writable.clear()
                await self._writable.wait()
            if self.broken or self.reader_gone:
                raise anyio.BrokenResourceError
            self._latest = max(self._latest, now() + seconds)
            self._pieces.append((self._latest, data))
            self._held_bytes += len(data)
            asyncio.get_running_loop().call_at(self._latest, self._readable.set)

    @property
    def has_arrived(self) -> bool:
        """Whether a reader gets something without waiting."""
        return bool(self._pieces) and self._pieces[0][0] <= now() + _NOW_SECONDS

    async def receive(self, bytes_max: int) -> bytes:
        while True:
            if self.has_arrived:
                return self._take(bytes_max)
            if not self._pieces and self.broken:
                raise anyio.BrokenResourceError
            if not self._pieces and self._ended:
                raise anyio.EndOfStream
            self._readable.clear()
            await self._readable.wait()

    def _take(self, bytes_max: int) -> bytes:
        arrives, data = self._pieces.popleft()
        if len(data) > bytes_max:
            self._pieces.appendleft((arrives, data[bytes_max:]))
        taken = data[:bytes_max]
        self._held_bytes -= len(taken)
        self._writable.set()
        return taken

    def end(self) -> None:
        """Nothing more is sent; what is on the way arrives."""
        self._ended = True
        self._readable.set()

    def stop_reading(self) -> None:
        self.reader_gone = True
        self._writable.set()

    def cut(self, chance: random.Random) -> None:
        """Both ends find the wire broken; at most a part of what is on the way arrives."""
        due = now() + _NOW_SECONDS
        arrived = [piece for piece in self._pieces if piece[0] <= due]
        late = [piece for piece in self._pieces if piece[0] > due]
        if late:
            arrived.append((due, late[0][1][: chance.randrange(len(late[0][1]))]))
        self._pieces = deque(piece for piece in arrived if piece[1])
        self.broken = True
        self._readable.set()
        self._writable.set()


class Wire:
    """How one connection treats what is sent. ``latency``: seconds from, to; ``cut_rate``: the
    chance that a send is cut somewhere inside, and the connection with it."""

    def __init__(
        self,
        chance: random.Random,
        latency: tuple[float, float] = (0.0002, 0.002),
        cut_rate: float = 0.0,
    ) -> None:
        self.chance = chance
        self.latency = latency
        self.cut_rate = cut_rate

    def pieces(self, data: bytes) -> list[tuple[float, bytes]]:
        """``data`` as the pieces that arrive one by one."""
        if len(data) > 1 and self.chance.random() < 0.2:
            cut = self.chance.randrange(1, len(data))
            return [(self._seconds(), data[:cut]), (self._seconds(), data[cut:])]
        return [(self._seconds(), data)]

    def _seconds(self) -> float:
        return self.chance.uniform(*self.latency)


class SimStream(ByteStream):
    """One end of a connection. ``peer_uid``: who the kernel says is at the other one.

    ``sending`` is told of every send, with the moment at which the bytes leave.
    """

    def __init__(self, incoming: Pipe, outgoing: Pipe, wire: Wire, peer_uid: int | None) -> None:
        self.peer_uid = peer_uid
        self.sending: Callable[[bytes], None] | None = None
        self.closed = False
        self._incoming = incoming
        self._outgoing = outgoing
        self._wire = wire
        self._ended = False

    @classmethod
    def pair(cls, wire: Wire, uid: int | None) -> tuple[SimStream, SimStream]:
        """(the end of the one who connected, whose uid this is; the end that was accepted)."""
        there, back = Pipe(), Pipe()
        return cls(back, there, wire, None), cls(there, back, wire, uid)

    async def send(self, item: bytes) -> None:
        await asyncio.sleep(0)
        if self.closed or self._ended:
            raise anyio.ClosedResourceError
        if self._outgoing.broken or self._outgoing.reader_gone:
            raise anyio.BrokenResourceError
        data = bytes(item)
        if self.sending is not None:
            self.sending(data)
        wire = self._wire
        if wire.cut_rate and wire.chance.random() < wire.cut_rate:
            await self._outgoing.send(wire.pieces(data))
            self.cut()
            raise anyio.BrokenResourceError
        await self._outgoing.send(wire.pieces(data))

    async def receive(self, max_bytes: int = 65536) -> bytes:
        if not self.closed and self._incoming.has_arrived:
            await asyncio.sleep(0)
        if self.closed:
            raise anyio.ClosedResourceError
        return await self._incoming.receive(max_bytes)

    async def send_eof(self) -> None:
        await asyncio.sleep(0)
        self._ended = True
        self._outgoing.end()

    async def aclose(self) -> None:
        self.close()
        await asyncio.sleep(0)

    def close(self) -> None:
        """What the kernel does with the sockets of a process that ended."""
        self.closed = True
        self._outgoing.end()
        self._incoming.stop_reading()
        # A reader of this end, in another task, must not wait for ever.
        self._incoming.end()

    def cut(self) -> None:
        """The connection breaks for both ends, now."""
        self._incoming.cut(self._wire.chance)
        self._outgoing.cut(self._wire.chance)
