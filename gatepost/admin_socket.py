"""Asking a daemon over its admin socket, from the command line.

Owns: one small blocking HTTP client over a Unix socket and the messages for the usual faults.
Refuses: everything that needs an event loop: a command that only looks should start fast.
"""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import msgspec

from gatepost.faults import InputOutputError
from gateway.errors import UNREADABLE
from sidecar.status import DaemonStatus

ShapeT = TypeVar("ShapeT", bound=msgspec.Struct)

_SECONDS_MAX = 10.0


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_SECONDS_MAX)
        self._path = path

    def connect(self) -> None:
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            opened.settimeout(_SECONDS_MAX)
            opened.connect(self._path)
        except OSError:
            opened.close()
            raise
        self.sock = opened


def ask(path: str, target: str, method: str = "GET") -> bytes:
    """The whole answer to one request. Raises InputOutputError."""
    with _asked(path, target, method) as answer:
        return answer.read()


def ask_status(path: str) -> DaemonStatus:
    """The state of the daemon whose admin socket is ``path``. Raises InputOutputError."""
    return decode(path, ask(path, "/status"), DaemonStatus)


def decode(path: str, body: bytes, shape: type[ShapeT]) -> ShapeT:
    """An answer of the socket ``path`` as ``shape``. Raises InputOutputError."""
    try:
        return msgspec.json.decode(body, type=shape)
    except UNREADABLE as error:
        raise InputOutputError(
            f"{path}: the answer is not a daemon's of this version: {error}"
        ) from error


def follow(path: str, target: str) -> Iterator[bytes]:
    """The lines of an endless answer, without the empty ones that only say that it goes on.

    Raises InputOutputError when the daemon ends or falls silent.
    """
    with _asked(path, target, "GET") as answer:
        while line := answer.readline():
            if line.strip():
                yield line
    raise InputOutputError(f"{path}: the daemon has ended")


@contextmanager
def _asked(path: str, target: str, method: str) -> Iterator[http.client.HTTPResponse]:
    """The answer to one request, while the connection is open."""
    connection = _open(path)
    try:
        connection.request(method, target)
        answer = connection.getresponse()
        if answer.status != 200:
            raise InputOutputError(f"{target}: the daemon answered {answer.status}")
        yield answer
    except TimeoutError as error:
        raise InputOutputError(
            f"{path}: the daemon has been silent for {_SECONDS_MAX:g} s"
        ) from error
    except http.client.IncompleteRead as error:
        raise InputOutputError(f"{path}: the daemon has ended") from error
    except (OSError, http.client.HTTPException) as error:
        raise InputOutputError(f"{path}: {str(error) or type(error).__name__}") from error
    finally:
        connection.close()


def _open(path: str) -> _UnixConnection:
    connection = _UnixConnection(path)
    try:
        connection.connect()
    except FileNotFoundError as error:
        raise InputOutputError(f"there is no socket at {path}; is the daemon running?") from error
    except PermissionError as error:
        raise InputOutputError(f"{path}: only the daemon's own user may ask") from error
    except ConnectionRefusedError as error:
        raise InputOutputError(f"{path}: nobody is listening; the daemon has ended") from error
    except OSError as error:
        raise InputOutputError(f"{path}: {error}") from error
    return connection
