from __future__ import annotations

import fcntl
import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

from gateway.errors import ListenFailed
from gateway.io.listen import UnixListener, listen_unix

pytestmark = pytest.mark.anyio


def exists(path: str) -> bool:
    return os.path.lexists(path)


def mode_of(path: str) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


@contextmanager
def umask(value: int) -> Iterator[None]:
    before = os.umask(value)
    try:
        yield
    finally:
        os.umask(before)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "agent" / "agent.sock")


async def talk(listener: UnixListener) -> None:
    async with (
        await anyio.connect_unix(listener.path) as client,
        await listener.accept() as served,
    ):
        await client.send(b"x")
        assert await served.receive() == b"x"


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o777])
@pytest.mark.parametrize("mode", [0o600, 0o660])
async def test_the_mode_is_exact_whatever_the_umask(path: str, mode: int, mask: int) -> None:
    with umask(mask):
        listener = await listen_unix(path, group=None, mode=mode)
    async with listener:
        assert mode_of(path) == mode
        assert mode_of(os.path.dirname(path)) == 0o750
        await talk(listener)


async def test_the_group_is_given_to_socket_and_directory(path: str) -> None:
    groups = [group for group in os.getgroups() if group != os.getegid()]
    group = 4_321 if os.geteuid() == 0 else (groups or [os.getegid()])[0]
    async with await listen_unix(path, group=group):
        assert os.lstat(path).st_gid == group
        assert os.lstat(os.path.dirname(path)).st_gid == group
        assert (mode_of(path), mode_of(os.path.dirname(path))) == (0o660, 0o750)
    # A restart finds its directory as it left it.
    async with await listen_unix(path, group=group):
        assert os.lstat(path).st_gid == group


async def test_a_live_socket_is_never_stolen(path: str) -> None:
    async with await listen_unix(path, group=None) as listener:
        with pytest.raises(ListenFailed, match="in use: another process is listening"):
            await listen_unix(path, group=None)
        # The probe of the one that failed is in the queue first.
        async with await listener.accept():
            pass
        await talk(listener)


async def test_a_stale_socket_is_removed(path: str) -> None:
    os.mkdir(os.path.dirname(path), 0o700)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
        dead.listen()
    async with await listen_unix(path, group=None) as listener:
        await talk(listener)


@pytest.mark.parametrize("kind", ["file", "directory", "symlink"])
async def test_only_a_socket_is_ever_removed(path: str, kind: str, tmp_path: Path) -> None:
    os.mkdir(os.path.dirname(path), 0o700)
    target = tmp_path / "precious"
    target.write_text("precious")
    match kind:
        case "file":
            os.link(target, path)
        case "directory":
            os.mkdir(path)
        case _:
            os.symlink(target, path)
    with pytest.raises(ListenFailed, match="is not a socket"):
        await listen_unix(path, group=None)
    assert exists(path)
    assert target.read_text() == "precious"


async def test_a_socket_of_another_kind_is_left_alone(path: str) -> None:
    os.mkdir(os.path.dirname(path), 0o700)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(path)
        with pytest.raises(ListenFailed, match="cannot tell whether"):
            await listen_unix(path, group=None)
    assert exists(path)


async def test_closing_removes_the_socket(path: str) -> None:
    listener = await listen_unix(path, group=None)
    await listener.aclose()
    assert not exists(path)
    await listener.aclose()
    with pytest.raises(anyio.ClosedResourceError):
        await listener.accept()


async def test_closing_leaves_a_successors_socket_alone(path: str) -> None:
    listener = await listen_unix(path, group=None)
    os.unlink(path)
    async with await listen_unix(path, group=None) as successor:
        await listener.aclose()
        await talk(successor)


async def test_closing_after_the_directory_is_gone_is_harmless(path: str) -> None:
    listener = await listen_unix(path, group=None)
    os.unlink(path)
    os.rmdir(os.path.dirname(path))
    await listener.aclose()


async def test_two_starts_at_once_do_not_race(path: str) -> None:
    directory = os.path.dirname(path)
    os.mkdir(directory, 0o700)
    descriptor = os.open(directory, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(ListenFailed, match="another process is starting"):
        await listen_unix(path, group=None)
    os.close(descriptor)
    await (await listen_unix(path, group=None)).aclose()


async def test_serve_runs_a_handler_for_each_connection(path: str) -> None:
    async def echo(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.send(await stream.receive())

    async with await listen_unix(path, group=None) as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, echo)
        for _ in range(2):
            async with await anyio.connect_unix(path) as client:
                await client.send(b"x")
                assert await client.receive() == b"x"
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("length", [107, 108])
async def test_a_path_of_107_bytes_is_the_longest(tmp_path: Path, length: int) -> None:
    # Bytes count, not characters: ä has two.
    directory = tmp_path / "ä"
    path = str(directory / "s")
    path += "s" * (length - len(os.fsencode(path)))
    if length <= 107:
        await (await listen_unix(path, group=None)).aclose()
        return
    with pytest.raises(ListenFailed, match="has 108 bytes; Unix sockets take at most 107"):
        await listen_unix(path, group=None)
    assert not directory.exists()


@pytest.mark.parametrize("path", ["", "\0abstract", "/run/a\0b"])
async def test_abstract_sockets_are_refused(path: str) -> None:
    with pytest.raises(ListenFailed, match="abstract"):
        await listen_unix(path, group=None)


async def test_a_missing_parent_is_named(tmp_path: Path) -> None:
    with pytest.raises(ListenFailed, match="its parent does not exist"):
        await listen_unix(str(tmp_path / "no" / "agent" / "s"), group=None)


async def test_a_directory_that_everybody_may_write_is_refused(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o1777)
    with pytest.raises(ListenFailed, match="everybody may write in"):
        await listen_unix(str(tmp_path / "s"), group=None)


async def test_a_directory_that_the_group_may_not_enter_is_refused(path: str) -> None:
    os.mkdir(os.path.dirname(path))
    os.chmod(os.path.dirname(path), 0o700)
    with pytest.raises(ListenFailed, match="group 4321 may not enter"):
        await listen_unix(path, group=4_321)


async def test_a_file_in_the_place_of_the_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "agent").write_text("")
    with pytest.raises(ListenFailed, match="is not a directory"):
        await listen_unix(str(tmp_path / "agent" / "s"), group=None)


@contextmanager
def no_privileges(directory: str) -> Iterator[None]:
    """Root may give files to every group, so become nobody, who owns ``directory``."""
    if os.geteuid() != 0:
        yield
        return
    os.chown(directory, 65_534, -1)
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)


async def test_a_group_we_are_no_member_of_is_named_and_nothing_stays() -> None:
    with tempfile.TemporaryDirectory() as directory, no_privileges(directory):
        agent = os.path.join(directory, "agent")
        path = os.path.join(agent, "agent.sock")
        with pytest.raises(ListenFailed, match="agent to group 4321: this process must be"):
            await listen_unix(path, group=4_321)
        assert not exists(agent)
        os.mkdir(agent)
        os.chmod(agent, 0o755)
        with pytest.raises(ListenFailed, match=r"agent\.sock to group 4321"):
            await listen_unix(path, group=4_321)
        assert not exists(path)
