"""Asking a daemon over its admin socket, from the command line.

Owns: one small blocking HTTP client over a Unix socket and the messages for the usual faults.
Refuses: everything that needs an event loop: a command that only looks should start fast.
"""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator

from gatepost.faults import InputOutputError

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
    connection = _open(path)
    try:
        connection.request(method, target)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise InputOutputError(f"{target}: the daemon answered {answer.status}")
        return body
    except OSError as error:
        raise InputOutputError(f"{path}: {error}") from error
    finally:
        connection.close()


def follow(path: str, target: str) -> Iterator[bytes]:
    """The lines of an endless answer, until the daemon ends it."""
    connection = _open(path)
    try:
        connection.request("GET", target)
        answer = connection.getresponse()
        if answer.status != 200:
            raise InputOutputError(f"{target}: the daemon answered {answer.status}")
        while line := answer.readline():
            yield line
    except TimeoutError as error:
        raise InputOutputError(
            f"{path}: the daemon has been silent for {_SECONDS_MAX:g} s"
        ) from error
    except OSError as error:
        raise InputOutputError(f"{path}: {error}") from error
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
