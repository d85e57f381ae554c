"""The world outside the daemon: clock, chance, disk and network, as one replaceable value.

Owns: the set of ports that a simulation replaces, and the real ones. Refuses: everything else;
the daemon above it is the same in both worlds.
"""

from __future__ import annotations

import socket
from typing import Protocol

import msgspec
from anyio.abc import ByteStream, SocketAttribute, SocketListener

from gateway.io.clock import SystemClock
from gateway.io.dial import AnyioDialer
from gateway.io.disk import ThreadDisk
from gateway.io.entropy import SystemEntropy
from gateway.io.listen import UnixListener, listen_loopback, listen_tcp, listen_unix
from gateway.ports import Dialer, Disk, Entropy, WallClock
from sidecar.callers import KernelCredentials
from sidecar.config import SidecarConfig


class Listening(Protocol):
    """A listening socket that can be closed; ``address`` is a path or host:port."""

    @property
    def address(self) -> str: ...

    async def accept(self) -> ByteStream: ...

    async def aclose(self) -> None: ...


class Network(Protocol):
    """Sockets in both directions, and who is at the other end of one.

    ``upstreams`` refuses private addresses that are not listed; ``services`` does not, because
    central services live on them.
    """

    @property
    def upstreams(self) -> Dialer: ...

    @property
    def services(self) -> Dialer: ...

    async def listen_unix(self, path: str, *, group: int | None, mode: int) -> Listening: ...

    async def listen_loopback(self, port: int) -> list[Listening]: ...

    async def listen_tcp(self, host: str, port: int) -> Listening: ...

    def unix_uid(self, stream: ByteStream) -> int | None: ...

    def loopback_uid(self, stream: ByteStream) -> int | None: ...


class Outside(msgspec.Struct, frozen=True, kw_only=True):
    """The four ports of a daemon. ``threads``: whether worker threads may be used. ``host_name``:
    of the machine or pod, which survives a restart of the daemon."""

    clock: WallClock
    entropy: Entropy
    disk: Disk
    network: Network
    host_name: str
    threads: bool = True


class SystemNetwork(KernelCredentials):
    """Real sockets."""

    def __init__(self, config: SidecarConfig) -> None:
        super().__init__()
        access = config.upstream_access
        self.upstreams: Dialer = AnyioDialer(
            allowed_private=frozenset(access.allowed_private_hosts), ca_file=access.ca_file
        )
        self.services: Dialer = AnyioDialer(ca_file=config.central.ca_file, any_address=True)

    async def listen_unix(self, path: str, *, group: int | None, mode: int) -> Listening:
        return _Named(await listen_unix(path, group=group, mode=mode), path)

    async def listen_loopback(self, port: int) -> list[Listening]:
        return [_Named.of_tcp(listener) for listener in await listen_loopback(port)]

    async def listen_tcp(self, host: str, port: int) -> Listening:
        return _Named.of_tcp(await listen_tcp(host, port))


class _Named:
    """A listener that knows its address."""

    def __init__(self, listener: SocketListener | UnixListener, address: str) -> None:
        self._listener = listener
        self.address = address

    @classmethod
    def of_tcp(cls, listener: SocketListener) -> _Named:
        bound = listener.extra(SocketAttribute.raw_socket).getsockname()  # noqa: S610 - anyio
        host = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
        return cls(listener, f"{host}:{bound[1]}")

    async def accept(self) -> ByteStream:
        return await self._listener.accept()

    async def aclose(self) -> None:
        await self._listener.aclose()


def real_outside(config: SidecarConfig) -> Outside:
    """The ports of a real machine."""
    return Outside(
        clock=SystemClock(),
        entropy=SystemEntropy(),
        disk=ThreadDisk(),
        network=SystemNetwork(config),
        host_name=socket.gethostname(),
    )
