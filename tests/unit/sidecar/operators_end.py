"""An admin socket or probe port that is really served, and a raw client for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import anyio
from anyio.abc import ByteStream

from gateway.call import Peer
from gateway.io.incoming import ServeOptions
from gateway.io.listen import listen_unix
from gateway.io.serve import serve_listener
from gateway.wire import Incoming
from sidecar.metrics import Metrics
from sidecar.operators import Operators, Probes
from sidecar.recent import RecentDecisions
from sidecar.status import DaemonStatus
from tests.unit.sidecar.status_specimen import STATUS

PEER = Peer(listener="admin", kind="uds", uid=0, agent=None, attested_by=None)


class Daemon:
    """What operators look at; a test changes it."""

    def __init__(self) -> None:
        self.status = STATUS
        self.recent = RecentDecisions()
        self.broken = False
        self.refreshed = 0
        self.faults: list[Exception] = []
        self.turned_away: list[str] = []
        self._changed = anyio.Event()

    def look(self) -> DaemonStatus:
        assert not self.broken
        return self.status

    async def refresh(self) -> str:
        self.refreshed += 1
        return "refreshed"

    async def wait_spool(self, seen: int) -> int:
        while self.status.spool.changes <= seen:
            await self._changed.wait()
        return self.status.spool.changes

    def change(self, status: DaemonStatus) -> None:
        self.status = status
        self._changed.set()
        self._changed = anyio.Event()

    def operators(self, follow_seconds: float = 60.0) -> Operators:
        return Operators(self.look, self.refresh, self.recent, self.wait_spool, follow_seconds)

    def probes(self) -> Probes:
        return Probes(self.look, Metrics(self.look))

    def options(self) -> ServeOptions:
        return ServeOptions(
            listener="admin",
            hosts=None,
            draining=lambda: False,
            turned_away=lambda code, _: self.turned_away.append(code),
            failed=self.faults.append,
        )


@asynccontextmanager
async def served(
    daemon: Daemon, handle: Callable[[Incoming], Awaitable[None]], path: str
) -> AsyncIterator[Callable[[], Awaitable[ByteStream]]]:
    """Serve ``handle`` on a Unix socket at ``path``; yields what connects to it."""
    listener = await listen_unix(path, group=None, mode=0o600)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(
            serve_listener,
            listener,
            lambda _: PEER,
            handle,
            daemon.options(),
            anyio.CapacityLimiter(10),
        )
        with anyio.fail_after(10):
            yield partial(anyio.connect_unix, path)
        tasks.cancel_scope.cancel()
    assert daemon.faults == []


class Reply:
    """One whole answer, read until the connection ends."""

    def __init__(self, data: bytes) -> None:
        head, _, self.body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }


async def ask(
    connect: Callable[[], Awaitable[ByteStream]], method: str, target: str, body: bytes = b""
) -> Reply:
    """The answer to one request."""
    async with await connect() as stream:
        await stream.send(
            f"{method} {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
            f"content-length: {len(body)}\r\n\r\n".encode()
            + body
        )
        data = b""
        while True:
            try:
                data += await stream.receive()
            except anyio.EndOfStream:
                return Reply(data)


class Follower:
    """Reads the lines of an endless answer; chunk framing is taken away."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._buffer = b""

    async def start(self, target: str) -> None:
        await self._stream.send(f"GET {target} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        head = await self._until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        assert b"transfer-encoding: chunked" in head.lower()

    async def chunk(self) -> bytes:
        """The next piece that was sent."""
        size = int((await self._until(b"\r\n")).strip(), 16)
        while len(self._buffer) < size + 2:
            self._buffer += await self._stream.receive()
        piece, self._buffer = self._buffer[:size], self._buffer[size + 2 :]
        return piece

    async def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            self._buffer += await self._stream.receive()
        found, _, self._buffer = self._buffer.partition(mark)
        return found + mark
