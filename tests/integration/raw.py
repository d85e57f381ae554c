"""Requests as bytes on a socket: what no SDK would send, and answers read without one.

Owns: connecting, sending exactly what is given, reading one answer. Refuses: repairing anything.
"""

from __future__ import annotations

import http.client
import io
import socket
import struct
from collections.abc import Mapping
from typing import Self, cast

import msgspec

SECONDS_MAX = 20.0


class Reply(msgspec.Struct, frozen=True):
    """One answer; header names are lower-case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str | None:
        """Our stable code, from whichever error shape the route has."""
        try:
            error = msgspec.json.decode(self.body)["error"]
        except (msgspec.DecodeError, KeyError, TypeError):
            return None
        for holder in (error.get("data"), error.get("details"), error):
            if isinstance(holder, dict) and isinstance(holder.get("code"), str):
                return str(holder["code"])
        return None

    @property
    def decision_id(self) -> str:
        return self.headers["x-gatepost-decision-id"]


class _Kept(io.BufferedReader):
    """What is read ahead of one answer belongs to the next: ``http.client`` may not close it."""

    def close(self) -> None:
        pass

    def makefile(self, _mode: str) -> Self:
        return self


def _connected(path: str) -> socket.socket:
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        opened.settimeout(SECONDS_MAX)
        opened.connect(path)
    except OSError:
        opened.close()
        raise
    return opened


class RawConnection:
    """One connection to a port of 127.0.0.1 or to a socket path."""

    def __init__(self, address: int | str, family: int = socket.AF_INET) -> None:
        if isinstance(address, str):
            self.socket = _connected(address)
        else:
            host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
            self.socket = socket.create_connection((host, address), timeout=SECONDS_MAX)
        self._reader = _Kept(socket.SocketIO(self.socket, "r"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def begin_reply(self, method: str = "POST") -> http.client.HTTPResponse:
        """The head of an answer is read; its body is still to come."""
        response = http.client.HTTPResponse(cast("socket.socket", self._reader), method=method)
        response.begin()
        return response

    def reply(self, method: str = "POST") -> Reply:
        """One whole answer."""
        response = self.begin_reply(method)
        body = response.read()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, headers, body)

    def hang_up(self) -> None:
        """Close with a reset, as a killed application does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def request(
    method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> bytes:
    """A well-formed request; ``headers`` are added, and replace the usual ones."""
    fields = {"Host": "localhost", "Content-Type": "application/json"}
    if body or method == "POST":
        fields["Content-Length"] = str(len(body))
    fields.update(headers or {})
    lines = [f"{method} {target} HTTP/1.1", *(f"{n}: {v}" for n, v in fields.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def chat(model: str, text: str = "Hello there", **members: object) -> bytes:
    """The body of a chat completion."""
    message = {"role": "user", "content": text}
    return msgspec.json.encode({"model": model, "messages": [message], **members})


def chat_request(
    model: str,
    *,
    route: str = "/openai",
    headers: Mapping[str, str] | None = None,
    text: str = "Hello there",
    stream: bool = False,
) -> bytes:
    """A whole chat request to ``route``."""
    body = chat(model, text, stream=stream)
    return request("POST", f"{route}/v1/chat/completions", body, headers)


def ask(address: int | str, data: bytes, method: str = "POST") -> Reply:
    """Send ``data`` on a connection of its own; the answer."""
    with RawConnection(address) as connection:
        connection.send(data)
        return connection.reply(method)
