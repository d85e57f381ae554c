"""TCP listeners: loopback on both families, and single addresses.

Owns: binding, and saying plainly why it failed. Refuses: accepting, TLS, peers, and names in the
place of addresses.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final

from anyio.abc import SocketListener

from gateway import limits
from gateway.errors import ListenFailed

LOOPBACK_HOSTS: Final = ("127.0.0.1", "::1")
# What bind or socket say where the kernel has no IPv6, or has it switched off.
_FAMILY_MISSING: Final = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})


async def listen_loopback(port: int) -> list[SocketListener]:
    """Listeners on 127.0.0.1 and, wherever the kernel has it, ::1, both on ``port``.

    A port that is taken on either family fails: half of the clients would reach a stranger.
    Port 0 picks one port that is free on both. Raises ListenFailed.
    """
    if port != 0:
        return await _wrap(_bind_loopback(port))
    taken = None
    for _ in range(limits.FREE_PORT_ATTEMPTS_MAX):
        first = bind_tcp("127.0.0.1", 0)
        try:
            second = _bind_second(first.getsockname()[1])
        except _PortTaken as error:
            first.close()
            taken = error
            continue
        except ListenFailed:
            first.close()
            raise
        return await _wrap([first] if second is None else [first, second])
    raise ListenFailed(f"no port is free on both 127.0.0.1 and ::1; last: {taken}")


async def listen_tcp(host: str, port: int) -> SocketListener:
    """One listener on the address literal ``host``; ``::`` takes IPv4 too. Raises ListenFailed."""
    return await SocketListener.from_socket(bind_tcp(host, port))


def bind_tcp(host: str, port: int) -> socket.socket:
    """A listening, non-blocking socket on the literal ``host``. Raises ListenFailed."""
    try:
        version = ip_address(host).version
    except ValueError as error:
        raise ListenFailed(
            f"cannot listen on {host!r}: give an address such as 127.0.0.1 or ::, not a name"
        ) from error
    try:
        return _bind(socket.AF_INET if version == 4 else socket.AF_INET6, host, port)
    except OSError as error:
        raise _failure(host, port, error) from error


class _PortTaken(ListenFailed):
    pass


def _bind_loopback(port: int) -> list[socket.socket]:
    first = bind_tcp("127.0.0.1", port)
    try:
        second = _bind_second(port)
    except ListenFailed:
        first.close()
        raise
    return [first] if second is None else [first, second]


def _bind_second(port: int) -> socket.socket | None:
    try:
        return _bind(socket.AF_INET6, "::1", port)
    except OSError as error:
        if error.errno in _FAMILY_MISSING:
            return None
        raise _failure("::1", port, error) from error


def _bind(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        # Without it a restart waits a minute for the TIME_WAIT of its last connections; a port
        # somebody listens on stays taken all the same.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != "::"))
        listener.setblocking(False)
        listener.bind((host, port))
        # The second place where a taken port shows: both sides may have bound before.
        listener.listen(limits.LISTEN_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _failure(host: str, port: int, error: OSError) -> ListenFailed:
    if error.errno == errno.EADDRINUSE:
        return _PortTaken(
            f"port {port} on {host} is taken by another process; stop it or choose another port"
        )
    if error.errno == errno.EACCES:
        return ListenFailed(
            f"port {port} on {host} may not be bound by this user; choose one from 1024 up"
        )
    return ListenFailed(f"cannot listen on port {port} of {host}: {error.strerror or error}")


async def _wrap(sockets: Iterable[socket.socket]) -> list[SocketListener]:
    return [await SocketListener.from_socket(listener) for listener in sockets]
