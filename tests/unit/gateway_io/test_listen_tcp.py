from __future__ import annotations

import errno
import socket

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketListener

from gateway.errors import ListenFailed
from gateway.io.listen import listen_loopback, listen_tcp

pytestmark = pytest.mark.anyio


def _ipv6() -> bool:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError as error:
            return error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
    return True


needs_ipv6 = pytest.mark.skipif(not _ipv6(), reason="the kernel has no ::1")


def ports(listeners: list[SocketListener]) -> list[int]:
    return [listener.extra(SocketAttribute.local_port) for listener in listeners]


async def close(listeners: list[SocketListener]) -> None:
    for listener in listeners:
        await listener.aclose()


@needs_ipv6
async def test_port_zero_picks_one_port_that_is_free_on_both_families() -> None:
    listeners = await listen_loopback(0)
    hosts = [listener.extra(SocketAttribute.local_address)[0] for listener in listeners]
    assert hosts == ["127.0.0.1", "::1"]
    assert len(set(ports(listeners))) == 1
    assert ports(listeners)[0] > 0
    await close(listeners)


@needs_ipv6
async def test_both_families_accept_connections() -> None:
    listeners = await listen_loopback(0)
    for host, listener in zip(("127.0.0.1", "::1"), listeners, strict=True):
        async with (
            await anyio.connect_tcp(host, ports(listeners)[0]) as client,
            await listener.accept() as served,
        ):
            await client.send(b"x")
            assert await served.receive() == b"x"
    await close(listeners)


@needs_ipv6
@pytest.mark.parametrize(
    ("family", "bound", "named"),
    [
        (socket.AF_INET, "127.0.0.1", "127.0.0.1"),
        (socket.AF_INET6, "::1", "::1"),
        (socket.AF_INET, "0.0.0.0", "127.0.0.1"),
    ],
)
async def test_a_port_taken_on_either_family_stops_the_start_and_is_named(
    family: socket.AddressFamily, bound: str, named: str
) -> None:
    with socket.socket(family) as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind((bound, 0))
        stranger.listen()
        port = stranger.getsockname()[1]
        with pytest.raises(ListenFailed, match=f"port {port} on {named} is taken"):
            await listen_loopback(port)
    # And the half that was bound is given back.
    await close(await listen_loopback(port))


async def test_a_port_with_old_connections_can_be_listened_on_again() -> None:
    listeners = await listen_loopback(0)
    port = ports(listeners)[0]
    client = await anyio.connect_tcp("127.0.0.1", port)
    served = await listeners[0].accept()
    # The side that closes first keeps the port in TIME_WAIT.
    await served.aclose()
    await client.aclose()
    await close(listeners)
    again = await listen_loopback(port)
    assert ports(again)[0] == port
    await close(again)


async def test_one_address_is_listened_on() -> None:
    async with await listen_tcp("127.0.0.1", 0) as listener:
        port = listener.extra(SocketAttribute.local_port)
        with pytest.raises(ListenFailed, match=f"port {port} on 127.0.0.1 is taken"):
            await listen_tcp("127.0.0.1", port)


@needs_ipv6
async def test_the_ipv6_wildcard_takes_ipv4_too() -> None:
    async with await listen_tcp("::", 0) as listener:
        port = listener.extra(SocketAttribute.local_port)
        async with await anyio.connect_tcp("127.0.0.1", port), await listener.accept():
            pass


@pytest.mark.parametrize("host", ["localhost", "", "*", "example.com"])
async def test_a_name_is_no_address_to_listen_on(host: str) -> None:
    with pytest.raises(ListenFailed, match="give an address"):
        await listen_tcp(host, 0)


async def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(ListenFailed, match=r"cannot listen on port 0 of 192\.0\.2\.1"):
        await listen_tcp("192.0.2.1", 0)
