"""The network of a simulated world: addresses, listeners, outages, and the daemon's view of it.

An address is a socket path or ``host:port``. A ``Host`` is one process as the network knows it:
when the process dies, every connection and listener of it goes at that very moment, whatever its
ghost still does. ``DaemonNetwork`` implements ``sidecar.outside.Network``.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Final

import anyio
from anyio.abc import ByteStream
from anyio.lowlevel import checkpoint

from gateway import limits
from gateway.errors import UpstreamFailed
from gateway.ports import Dialer
from sidecar.outside import Listening
from tests.sim.stream import SimStream, Wire

LOOPBACK: Final = "127.0.0.1"
_SILENT_SECONDS: Final = 120.0
"""Longer than anybody waits for a connection."""

Sending = Callable[[SimStream, bytes], None]
"""Told of bytes at the moment at which they leave."""


class Refused(ConnectionError):
    """Nobody listens there, or an outage says so."""


class SimListener:
    """Implements ``sidecar.outside.Listening``."""

    def __init__(self, network: SimNetwork, host: Host, address: str) -> None:
        self.address = address
        self._network = network
        self._host = host
        self._waiting: deque[SimStream] = deque()
        self._event = anyio.Event()
        self._closed = False

    async def accept(self) -> ByteStream:
        await checkpoint()
        while not self._waiting:
            if self._closed:
                raise anyio.ClosedResourceError
            await self._event.wait()
        return self._waiting.popleft()

    def offer(self, stream: SimStream) -> None:
        self._host.own(stream, self.address)
        self._waiting.append(stream)
        self._wake()

    async def aclose(self) -> None:
        self.close()
        await checkpoint()

    def close(self) -> None:
        self._closed = True
        self._network.forget(self)
        while self._waiting:
            self._waiting.popleft().cut()
        self._wake()

    def _wake(self) -> None:
        self._event.set()
        self._event = anyio.Event()


class Host:
    """One process on the network. ``sending`` is told of every send of its, by address."""

    def __init__(self, network: SimNetwork, sending: dict[str, Sending] | None = None) -> None:
        self._killed = False
        self._network = network
        self._sending = sending or {}
        self._streams: list[SimStream] = []
        self._listeners: list[SimListener] = []

    def own(self, stream: SimStream, address: str) -> None:
        """``stream`` lives and dies with this process; ``address``: of its listening end."""
        sending = self._sending.get(address)
        if sending is not None:
            told = sending
            stream.sending = lambda data: told(stream, data)
        self._streams = [one for one in self._streams if not one.closed]
        self._streams.append(stream)

    def listen(self, address: str) -> SimListener:
        if self._killed:
            raise OSError("the process is gone")
        listener = self._network.listen(self, address)
        self._listeners.append(listener)
        return listener

    async def connect(self, address: str, uid: int | None = 0) -> SimStream:
        """Raises Refused."""
        self._check_alive()
        stream = await self._network.connect(address, uid)
        self._check_alive()
        self.own(stream, address)
        return stream

    def _check_alive(self) -> None:
        if self._killed:
            raise Refused("the process is gone")

    def kill(self, *, cleanly: bool) -> None:
        """The process is gone. ``cleanly``: the kernel lives on and ends its connections."""
        self._killed = True
        for listener in self._listeners:
            listener.close()
        for stream in self._streams:
            if cleanly:
                stream.close()
            else:
                stream.cut()


class SimNetwork:
    """Who listens where, and what is wrong with the way there.

    ``refused``: addresses of which every connection is refused; ``silent``: those that never
    answer; ``latency`` and ``cut_rate``: by address, for connections made from then on.
    """

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.refused: set[str] = set()
        self.silent: set[str] = set()
        self.latency: dict[str, tuple[float, float]] = {}
        self.cut_rate: dict[str, float] = {}
        self.cuts = 0
        self._listeners: dict[str, SimListener] = {}
        self._connections: dict[str, list[SimStream]] = {}

    def listen(self, host: Host, address: str) -> SimListener:
        if address in self._listeners:
            raise OSError(f"{address} is taken")
        self._listeners[address] = SimListener(self, host, address)
        return self._listeners[address]

    def forget(self, listener: SimListener) -> None:
        if self._listeners.get(listener.address) is listener:
            del self._listeners[listener.address]

    async def connect(self, address: str, uid: int | None) -> SimStream:
        wire = Wire(self.chance)
        if address in self.latency:
            wire.latency = self.latency[address]
        wire.cut_rate = self.cut_rate.get(address, 0.0)
        await anyio.sleep(self.chance.uniform(*wire.latency))
        if address in self.silent:
            await anyio.sleep(_SILENT_SECONDS)
            raise Refused(f"{address}: no answer")
        listener = self._listeners.get(address)
        if listener is None or address in self.refused:
            raise Refused(f"{address}: connection refused")
        ours, theirs = SimStream.pair(wire, uid)
        known = self._connections.get(address, [])
        self._connections[address] = [one for one in known if not one.closed] + [ours]
        listener.offer(theirs)
        return ours

    def sever(self, address: str, share: float = 1.0) -> None:
        """Cut connections to ``address`` that are open."""
        for stream in self._connections.get(address, []):
            if not stream.closed and self.chance.random() < share:
                self.cuts += 1
                stream.cut()


class SimDialer:
    """``ports.Dialer`` of one process."""

    def __init__(self, host: Host) -> None:
        self._host = host

    async def connect_tcp(self, host: str, port: int, *, tls_name: str | None) -> ByteStream:
        return await self._connect(f"{host}:{port}")

    async def connect_unix(self, path: str) -> ByteStream:
        return await self._connect(path)

    async def _connect(self, address: str) -> ByteStream:
        try:
            with anyio.fail_after(limits.UPSTREAM_CONNECT_SECONDS_MAX):
                return await self._host.connect(address)
        except TimeoutError as error:
            raise UpstreamFailed("upstream_timeout", address) from error
        except Refused as error:
            raise UpstreamFailed("upstream_unreachable", str(error)) from error


class DaemonNetwork:
    """``sidecar.outside.Network`` of one life of the daemon."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.upstreams: Dialer = SimDialer(host)
        self.services: Dialer = SimDialer(host)

    async def listen_unix(self, path: str, *, group: int | None, mode: int) -> Listening:
        await checkpoint()
        return self._host.listen(path)

    async def listen_loopback(self, port: int) -> list[Listening]:
        await checkpoint()
        return [self._host.listen(f"{LOOPBACK}:{port}")]

    async def listen_tcp(self, host: str, port: int) -> Listening:
        await checkpoint()
        return self._host.listen(f"{host}:{port}")

    def unix_uid(self, stream: ByteStream) -> int | None:
        assert isinstance(stream, SimStream)
        return stream.peer_uid

    def loopback_uid(self, stream: ByteStream) -> int | None:
        return self.unix_uid(stream)
