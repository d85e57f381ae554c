"""Which agent is calling: by socket and uid as the kernel tells them, and by nothing else."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest
from anyio.abc import ByteStream

from gateway.io.listen import listen_loopback, listen_unix
from sidecar.callers import Callers, KernelCredentials
from sidecar.config import Listen, UidAgent, UnixListener
from tests.sim.stream import SimStream

STREAM: ByteStream = SimStream.__new__(SimStream)
"""Never looked at by what these tests hand in."""


class Kernel:
    """Answers with one uid for every stream."""

    def __init__(self, uid: int | None) -> None:
        self._uid = uid

    def unix_uid(self, stream: ByteStream) -> int | None:
        return self._uid

    def loopback_uid(self, stream: ByteStream) -> int | None:
        return self._uid


def listen(*, allow_uid_0: bool = False) -> Listen:
    return Listen(
        agents=(UidAgent(uid=1000, agent="by-uid"), UidAgent(uid=0, agent="root")),
        allow_uid_0=allow_uid_0,
    )


def callers(uid: int | None, *, allow_uid_0: bool = False) -> Callers:
    return Callers(listen(allow_uid_0=allow_uid_0), Kernel(uid))


SHARED = UnixListener(path="/s", name="shared")
BOUND = UnixListener(path="/b", name="bound", agent="by-socket")
LISTED = UnixListener(path="/l", name="listed", agent="by-socket", uids=(1000, 2000))
ROOTS = UnixListener(path="/r", name="roots", agent="by-socket", uids=(0,))


@pytest.mark.parametrize(
    ("listener", "uid", "agent"),
    [
        (SHARED, 1000, "by-uid"),
        (SHARED, 1001, None),
        (SHARED, 0, None),
        (SHARED, None, None),
        (BOUND, 1000, "by-socket"),
        (BOUND, 4242, "by-socket"),
        (BOUND, 0, None),
        (BOUND, None, None),
        (LISTED, 1000, "by-socket"),
        (LISTED, 2000, "by-socket"),
        (LISTED, 1001, None),
        (LISTED, 0, None),
        (LISTED, None, None),
        (ROOTS, 0, None),
        (ROOTS, 1000, None),
    ],
)
def test_who_a_unix_socket_knows(
    listener: UnixListener, uid: int | None, agent: str | None
) -> None:
    peer = callers(uid).unix(listener, STREAM)
    assert (peer.listener, peer.kind, peer.uid) == (listener.name, "uds", uid)
    assert peer.agent == agent
    assert peer.attested_by == ("uds_uid" if agent else None)


@pytest.mark.parametrize(
    ("listener", "agent"),
    [(SHARED, "root"), (BOUND, "by-socket"), (ROOTS, "by-socket"), (LISTED, None)],
)
def test_uid_0_is_a_caller_only_where_that_is_configured(
    listener: UnixListener, agent: str | None
) -> None:
    assert callers(0).unix(listener, STREAM).agent is None
    assert callers(0, allow_uid_0=True).unix(listener, STREAM).agent == agent


@pytest.mark.parametrize(
    ("uid", "allow_uid_0", "agent"),
    [(1000, False, "by-uid"), (1001, False, None), (0, False, None), (0, True, "root")],
)
def test_who_loopback_knows(uid: int, allow_uid_0: bool, agent: str | None) -> None:
    peer = callers(uid, allow_uid_0=allow_uid_0).tcp(STREAM)
    assert (peer.listener, peer.kind, peer.uid, peer.agent) == ("tcp", "tcp", uid, agent)
    assert peer.attested_by == ("tcp_uid" if agent else None)


def test_a_caller_whose_uid_is_not_known_may_still_bring_a_local_token() -> None:
    """``uid`` None is what ``identity`` takes for that; a uid without an agent is not."""
    peer = callers(None).tcp(STREAM)
    assert (peer.uid, peer.agent, peer.attested_by) == (None, None, None)
    assert callers(0).tcp(STREAM).uid == 0


# -- what the kernel says --------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_kernel_tells_the_uid_of_a_unix_peer(tmp_path: Path) -> None:
    credentials, path = KernelCredentials(), str(tmp_path / "a" / "s")
    async with (
        await listen_unix(path, group=None, mode=0o600) as listener,
        await anyio.connect_unix(path),
        await listener.accept() as stream,
    ):
        assert credentials.unix_uid(stream) == os.getuid()
        assert credentials.loopback_uid(stream) is None
    credentials.close()


@pytest.mark.anyio
async def test_the_kernel_tells_the_uid_of_a_loopback_peer() -> None:
    credentials = KernelCredentials()
    async with AsyncExitStack() as open_ones:
        listeners = await listen_loopback(0)
        for one in listeners:
            await open_ones.enter_async_context(one)
        raw = listeners[0].extra(anyio.abc.SocketAttribute.raw_socket)
        address = raw.getsockname()
        await open_ones.enter_async_context(await anyio.connect_tcp(address[0], address[1]))
        stream = await open_ones.enter_async_context(await listeners[0].accept())
        # None where the kernel has no sock_diag: then a local token is asked for.
        assert credentials.loopback_uid(stream) in (os.getuid(), None)
        assert credentials.unix_uid(stream) is None
    credentials.close()
