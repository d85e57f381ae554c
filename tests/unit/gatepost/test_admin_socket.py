"""Asking a daemon from the command line: whatever is at the other end, the end is clear."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

from gatepost.admin_socket import ask, follow
from gatepost.faults import InputOutputError
from gateway.wire import Incoming
from tests.unit.gatepost.running import admin_socket
from tests.unit.sidecar.operators_end import Daemon


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "a" / "s")


@contextmanager
def saying(path: str, data: bytes) -> Iterator[None]:
    """Whoever connects is sent ``data``, and the connection ends."""
    Path(path).parent.mkdir(exist_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4_096)
            connection.sendall(data)

    thread = threading.Thread(target=serve)
    thread.start()
    with listener:
        yield
        thread.join()


def test_an_answer_is_read_whole(path: str) -> None:
    daemon = Daemon()
    with admin_socket(daemon, path):
        assert ask(path, "/policy/refresh", "POST") == b'{"result":"refreshed"}\n'
    assert daemon.refreshed == 1


def test_a_refusal_is_told(path: str) -> None:
    with admin_socket(Daemon(), path):
        with pytest.raises(InputOutputError, match=r"/nothing: the daemon answered 404"):
            ask(path, "/nothing")
        with pytest.raises(InputOutputError, match=r"/nothing: the daemon answered 404"):
            next(follow(path, "/nothing"))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\0\0",
        b"SSH-2.0-x\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{",
        b"HTTP/1.1 " + b"9" * 70_000,
    ],
)
def test_what_is_no_whole_answer_is_an_error_and_no_traceback(path: str, data: bytes) -> None:
    with saying(path, data), pytest.raises(InputOutputError):
        list(ask(path, "/status"))
    Path(path).unlink()
    with saying(path, data), pytest.raises(InputOutputError):
        list(follow(path, "/status"))


def test_a_follower_gets_lines_without_the_empty_ones_until_the_daemon_ends(path: str) -> None:
    async def handle(incoming: Incoming) -> None:
        await incoming.read_body(10)
        await incoming.send_head(200, (), None)
        for line in (b"\n", b"1\n\n2", b"2\n", b"\n", b"3\n"):
            await incoming.send(line)
        incoming.abort()

    found: list[bytes] = []
    with (
        admin_socket(Daemon(), path, handle),
        pytest.raises(InputOutputError, match=r"the daemon has ended|reset"),
    ):
        found.extend(follow(path, "/decisions?follow=1"))
    assert found == [b"1\n", b"22\n", b"3\n"]


def test_an_answer_that_ends_cleanly_is_an_end_too(path: str) -> None:
    async def handle(incoming: Incoming) -> None:
        await incoming.read_body(10)
        await incoming.send_head(200, (), None)
        await incoming.end()

    with (
        admin_socket(Daemon(), path, handle),
        pytest.raises(InputOutputError, match="the daemon has ended"),
    ):
        list(follow(path, "/decisions?follow=1"))


def test_a_daemon_that_falls_silent_is_left(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatepost.admin_socket._SECONDS_MAX", 0.05)

    async def handle(incoming: Incoming) -> None:
        await anyio.sleep_forever()

    with admin_socket(Daemon(), path, handle):
        with pytest.raises(InputOutputError, match=r"silent for 0\.05 s"):
            ask(path, "/status")
        with pytest.raises(InputOutputError, match=r"silent for 0\.05 s"):
            next(follow(path, "/status"))


def test_nobody_there_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(InputOutputError, match="is the daemon running"):
        ask(str(tmp_path / "absent"), "/status")
    stale = tmp_path / "stale"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
        left.bind(str(stale))
    with pytest.raises(InputOutputError, match="the daemon has ended"):
        ask(str(stale), "/status")
    (tmp_path / "file").touch()
    with pytest.raises(InputOutputError):
        ask(str(tmp_path / "file"), "/status")
    with pytest.raises(InputOutputError):
        ask("x" * 200, "/status")
