"""A policy service at the far end of the simulated network that answers in every bad way.

It serves the documents of a publisher over raw bytes, so that it can do what no server library
would: answer byte by byte, never, without an end, or with a length that is not true. The daemon's
side is the product's: HTTP client, source, cache and disk port.
"""

from __future__ import annotations

import gzip
from typing import Final, Literal

import anyio
from anyio.abc import ByteStream

from gateway.errors import UpstreamFailed
from gateway.io.dial import TlsFailed
from gateway.io.service import CentralService
from gateway.ports import Dialer
from policy_cache.fetch import PolicySource, service_source
from tests.sim.net import Host, SimDialer, SimNetwork
from tests.sim.stream import SimStream
from tests.unit.policy_cache.policy_world import SCOPE, Source

ADDRESS: Final = "policy.example:80"
_BOMB: Final = gzip.compress(bytes(8 * 1024 * 1024))

Way = Literal[
    "whole", "silent", "drip", "endless", "too_long", "truncated", "bomb", "redirect", "garbage"
]


class PolicyEnd:
    """Serves what ``source`` holds. ``way``: how bodies come; ``status``: of every answer, if not
    200; ``spoils``: what is served in a bad way, the end of a path."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.way: Way = "whole"
        self.status = 200
        self.headers = ""
        self.spoils = ""
        self.asked: list[tuple[float, str]] = []
        self.sent_bytes = 0

    async def serve(self, host: Host) -> None:
        """Serve until cancelled."""
        listener = host.listen(ADDRESS)
        async with anyio.create_task_group() as tasks:
            while True:
                tasks.start_soon(self._connection, await listener.accept())

    async def _connection(self, stream: ByteStream) -> None:
        assert isinstance(stream, SimStream)
        try:
            await self._one(stream)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream):
            pass
        finally:
            stream.close()

    async def _one(self, stream: SimStream) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive()
        path = head.split(b" ", 2)[1].decode()
        self.asked.append((anyio.current_time(), path))
        body = await self._document(path)
        spoilt = self.spoils in path
        if body is None:
            await self._send(stream, 404, b"{}")
        elif spoilt and self.status != 200:
            await self._send(stream, self.status, b"{}", self.headers)
        else:
            await self._answer(stream, body, self.way if spoilt else "whole")

    async def _document(self, path: str) -> bytes | None:
        source, (above, _, last) = self.source, path.rpartition("/")
        if last == "head":
            return source.current
        if above.endswith("/root"):
            return await source.root(int(last))
        return source.bundles.get(f"sha256:{last}")

    async def _answer(self, stream: SimStream, body: bytes, way: Way) -> None:
        if way == "whole":
            await self._send(stream, 200, body)
        elif way == "silent":
            await anyio.sleep_forever()
        elif way == "drip":
            await self._put(stream, _head(200, len(body)))
            for byte in body:
                await anyio.sleep(1.0)
                await self._put(stream, bytes([byte]))
        elif way == "endless":
            await self._put(stream, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            while True:
                await self._put(stream, b"1000\r\n" + b" " * 0x1000 + b"\r\n")
        elif way == "too_long":
            await self._put(stream, _head(200, 2**40) + body)
            await anyio.sleep_forever()
        elif way == "truncated":
            await self._put(stream, _head(200, len(body)) + body[: len(body) // 2])
        elif way == "bomb":
            await self._send(stream, 200, _BOMB, "content-encoding: gzip\r\n")
        elif way == "redirect":
            await self._send(stream, 302, b"", "location: http://elsewhere.example/\r\n")
        else:
            await self._put(stream, b"\x16\x03\x01\x02\x00\x01" * 20)

    async def _send(self, stream: SimStream, status: int, body: bytes, more: str = "") -> None:
        await self._put(stream, _head(status, len(body), more) + body)

    async def _put(self, stream: SimStream, data: bytes) -> None:
        self.sent_bytes += len(data)
        await stream.send(data)


def _head(status: int, length: int, more: str = "") -> bytes:
    return f"HTTP/1.1 {status} -\r\ncontent-length: {length}\r\n{more}\r\n".encode()


class FailingDialer:
    """A dialer whose connections fail as ``how`` says: ``tls``, ``dns``, or (None) not at all."""

    def __init__(self, dialer: Dialer) -> None:
        self.how: str | None = None
        self._dialer = dialer

    async def connect_tcp(self, host: str, port: int, *, tls_name: str | None) -> ByteStream:
        if self.how == "tls":
            raise TlsFailed("upstream_unreachable", f"{host}: certificate verify failed")
        if self.how == "dns":
            raise UpstreamFailed("upstream_unreachable", f"{host}: name or service not known")
        return await self._dialer.connect_tcp(host, port, tls_name=tls_name)

    async def connect_unix(self, path: str) -> ByteStream:
        return await self._dialer.connect_unix(path)


def daemon_side(network: SimNetwork) -> tuple[PolicySource, FailingDialer]:
    """The source of one daemon, over the product's HTTP client, and its way into the network."""
    dialer = FailingDialer(SimDialer(Host(network)))
    service = CentralService(f"http://{ADDRESS}", dialer)
    return service_source(service, SCOPE), dialer
