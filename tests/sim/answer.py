"""HTTP/1.1 as a simulated agent speaks it: the bytes of a request, and an answer read from bytes.

It knows nothing of the gateway's own reading and writing, and takes less than RFC 9112 allows:
exactly what a gateway may send to an agent that asked as these do. Owns: framing, and telling an
answer that was cut from one that is whole. Refuses: the connection (``agent.py``) and what an
answer says (``readings.py``).
"""

from __future__ import annotations

import re
from typing import Final

from tests.sim.faulty import Wire

_LINE: Final = re.compile(rb"HTTP/1\.1 ([2-5]\d\d) [ -~]*")
_FIELD: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9a-z-]+): ([ -~]*)", re.IGNORECASE)
_SIZE: Final = re.compile(rb"[0-9a-f]{1,8}", re.IGNORECASE)
_END: Final = b"\r\n\r\n"
_HEAD_BYTES_MAX: Final = 16 * 1024
_BODILESS: Final = frozenset({204, 304})


class Garbled(Exception):
    """Bytes that are no answer, nor the beginning of one."""


def request_bytes(wire: Wire) -> bytes:
    """``wire`` as it is sent."""
    headers = {"host": "localhost", **wire.headers}
    if wire.body or wire.method != "GET":
        headers["content-length"] = str(len(wire.body))
    lines = [f"{wire.method} {wire.target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + wire.body


class Answer:
    """The answer to one request, as its bytes come. ``status`` and ``headers``: once the head is
    there; ``body``: as far as whole chunks of it are there."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.headers: dict[bytes, bytes] = {}
        self.body = bytearray()
        self.is_whole = False
        self._came = bytearray()
        self._left: int | None = None

    @property
    def keeps_open(self) -> bool:
        """Whether another request may follow on the connection."""
        return self.headers.get(b"connection") != b"close"

    def feed(self, data: bytes) -> None:
        """Take in what came. Raises Garbled."""
        self._came += data
        if self.status is None:
            self._read_head()
        if self.status is not None and not self.is_whole:
            self._read_body()
        if self.is_whole and self._came:
            raise Garbled(f"behind its end comes {bytes(self._came[:40])!r}")

    def _read_head(self) -> None:
        end = self._came.find(_END)
        if end < 0:
            if len(self._came) > _HEAD_BYTES_MAX:
                raise Garbled("a head without an end")
            return
        first, *fields = bytes(self._came[:end]).split(b"\r\n")
        del self._came[: end + len(_END)]
        line = _LINE.fullmatch(first)
        if line is None:
            raise Garbled(f"it begins with {first!r}")
        for field in fields:
            found = _FIELD.fullmatch(field)
            if found is None or found[1].lower() in self.headers:
                raise Garbled(f"a header {field!r}")
            self.headers[found[1].lower()] = found[2]
        self.status = int(line[1])
        self._left = self._length()

    def _length(self) -> int | None:
        """Bytes of the body; None for one in chunks."""
        length = self.headers.get(b"content-length")
        if b"transfer-encoding" in self.headers:
            if self.headers[b"transfer-encoding"] != b"chunked" or length is not None:
                raise Garbled(f"it is framed in two ways or in an unknown one: {self.headers}")
            return None
        if self.status in _BODILESS:
            return 0
        if length is None or not length.isdigit():
            raise Garbled(f"a body of {length!r} bytes")
        return int(length)

    def _read_body(self) -> None:
        if self._left is None:
            while not self.is_whole and self._read_chunk():
                pass
            return
        part = self._came[: self._left]
        del self._came[: self._left]
        self.body += part
        self._left -= len(part)
        self.is_whole = self._left == 0

    def _read_chunk(self) -> bool:
        """One more chunk, if all of it is there."""
        end = self._came.find(b"\r\n")
        if end < 0:
            return False
        size = _SIZE.fullmatch(self._came, 0, end)
        if size is None:
            raise Garbled(f"a chunk of {bytes(self._came[:end])!r} bytes")
        length, start = int(size[0], 16), end + 2
        after = start + length + 2
        if len(self._came) < after:
            return False
        if self._came[after - 2 : after] != b"\r\n":
            raise Garbled("a chunk is longer than it says")
        self.body += self._came[start : after - 2]
        del self._came[:after]
        self.is_whole = length == 0
        return True
