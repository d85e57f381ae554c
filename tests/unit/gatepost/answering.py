"""A server on loopback that gives one fixed answer, byte for byte, and keeps what it was asked."""

from __future__ import annotations

import socket
import threading
from typing import Self


class Answering:
    """Answers every connection with ``status``, ``headers`` and ``body``, or with ``raw``."""

    def __init__(
        self, status: int = 200, body: bytes = b"", headers: str = "", raw: bytes | None = None
    ) -> None:
        head = f"HTTP/1.1 {status} x\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        self._data = head.encode() + body if raw is None else raw
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.asked: list[str] = []
        self._thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self.asked.append(_request(connection))
                connection.sendall(self._data)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


def _request(connection: socket.socket) -> str:
    """A request with its whole body, so that closing resets nothing."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65_536)
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
    length = int(lengths[0].partition(b":")[2]) if lengths else 0
    while len(body) < length:
        body += connection.recv(65_536)
    return head.decode()
