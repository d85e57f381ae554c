from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest
from anyio.abc import SocketAttribute
from anyio.streams.stapled import StapledByteStream
from anyio.streams.tls import TLSStream

from gateway.io.dial import AnyioDialer, hung_up
from gateway.io.listen import listen_tcp
from gateway.io.peer import LoopbackPeers, PeerCredentials, unix_peer
from gateway.io.sockdiag import FourTuple, SockDiag, sock_diag_available
from tests.unit.gateway_io.authority import Authority

pytestmark = pytest.mark.anyio

needs_sock_diag = pytest.mark.skipif(
    not sock_diag_available(), reason="this kernel or sandbox has no sock_diag"
)


async def test_a_unix_peer_is_known_by_uid_and_gid(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    async with (
        await anyio.create_unix_listener(path) as listener,
        await anyio.connect_unix(path),
        await listener.accept() as served,
    ):
        assert unix_peer(served) == PeerCredentials(uid=os.geteuid(), gid=os.getegid())


async def test_a_unix_peer_keeps_its_identity_after_it_hung_up(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    async with await anyio.create_unix_listener(path) as listener:
        async with await anyio.connect_unix(path):
            pass
        async with await listener.accept() as served:
            assert unix_peer(served) == PeerCredentials(uid=os.geteuid(), gid=os.getegid())


class RecordingDiag(SockDiag):
    """Keeps what was asked, and answers as the kernel does."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[FourTuple] = []

    def owner_uid(self, connection: FourTuple) -> int | None:
        self.asked.append(connection)
        return super().owner_uid(connection)


@contextmanager
def as_somebody_else() -> Iterator[int]:
    """Become another user if that is possible; yields the uid that new sockets get."""
    if os.geteuid() != 0:
        yield os.geteuid()
        return
    os.seteuid(12_345)
    try:
        yield 12_345
    finally:
        os.seteuid(0)


@needs_sock_diag
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_the_callers_socket_is_asked_for_and_not_our_own(host: str) -> None:
    diag = RecordingDiag()
    peers = LoopbackPeers(diag)
    async with await listen_tcp(host, 0) as listener:
        port = listener.extra(SocketAttribute.local_port)
        with as_somebody_else() as uid:
            client = await anyio.connect_tcp(host, port)
        async with client, await listener.accept() as served:
            theirs = client.extra(SocketAttribute.local_port)
            assert peers.uid_of(served) == uid
    assert diag.asked == [FourTuple(host, theirs, host, port)]
    peers.close()


@needs_sock_diag
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_loopback_caller_is_known_by_uid(host: str) -> None:
    peers = LoopbackPeers()
    async with await listen_tcp(host, 0) as listener:
        port = listener.extra(SocketAttribute.local_port)
        async with (
            await anyio.connect_tcp(host, port) as client,
            await listener.accept() as served,
        ):
            assert peers.uid_of(served) == os.geteuid()
            assert peers.uid_of(served) == os.geteuid()
            await client.aclose()
            assert peers.uid_of(served) is None
    peers.close()
    assert repr(peers) == "LoopbackPeers(None)"


async def test_streams_of_another_kind_have_no_such_identity(tmp_path: Path) -> None:
    sender, receiver = anyio.create_memory_object_stream[bytes](1)
    memory = StapledByteStream(sender, receiver)  # type: ignore[arg-type]  # bytes are bytes
    peers = LoopbackPeers()
    assert unix_peer(memory) is None
    assert peers.uid_of(memory) is None
    path = str(tmp_path / "s")
    async with (
        await anyio.create_unix_listener(path) as listener,
        await anyio.connect_unix(path),
        await listener.accept() as served,
    ):
        assert peers.uid_of(served) is None
    async with await listen_tcp("127.0.0.1", 0) as tcp:
        port = tcp.extra(SocketAttribute.local_port)
        async with await anyio.connect_tcp("127.0.0.1", port), await tcp.accept() as accepted:
            assert unix_peer(accepted) is None
    await memory.aclose()


@pytest.mark.parametrize(
    "anyio_backend",
    [("asyncio", {"use_uvloop": False}), ("asyncio", {"use_uvloop": True})],
    ids=["asyncio", "uvloop"],
)
async def test_a_closed_stream_has_no_peer() -> None:
    peers = LoopbackPeers()
    async with await listen_tcp("127.0.0.1", 0) as listener:
        port = listener.extra(SocketAttribute.local_port)
        async with await anyio.connect_tcp("127.0.0.1", port):
            served = await listener.accept()
            await served.aclose()
            assert peers.uid_of(served) is None
            assert unix_peer(served) is None
            assert hung_up(served)


@needs_sock_diag
async def test_the_socket_is_found_through_tls(authority: Authority) -> None:
    peers = LoopbackPeers()
    uids: list[int | None] = []

    async def serve(stream: anyio.abc.SocketStream) -> None:
        context = authority.server("model.test")
        async with await TLSStream.wrap(
            stream, server_side=True, ssl_context=context, standard_compatible=False
        ) as tls:
            uids.append(peers.uid_of(tls))

    async with await listen_tcp("127.0.0.1", 0) as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        dialer = AnyioDialer(frozenset({"127.0.0.1"}), authority.ca_file)
        port = listener.extra(SocketAttribute.local_port)
        client = await dialer.connect_tcp("127.0.0.1", port, tls_name="model.test")
        async with client:
            with pytest.raises(anyio.EndOfStream):
                await client.receive()
        tasks.cancel_scope.cancel()
    assert uids == [os.geteuid()]
    peers.close()
