"""Requests that are turned away: no ruling is possible on them, so none may be made.

Each stands with the code and status of its answer. An intruder sends them over connections of its
own, some of them slowly, and checks what comes back. Its requests carry no call's trace, so
whatever of them reached a provider would be noticed there. Owns: these requests. Refuses: faults
of bodies that a ruling is made on (``faulty.py``).
"""

from __future__ import annotations

import random
import re
from typing import Final

import anyio
import msgspec

from tests.sim.agent import UID
from tests.sim.ledger import Ledger
from tests.sim.net import Host, Refused
from tests.sim.parents import TOO_MANY_HOPS, link_header
from tests.sim.stream import SimStream
from tests.sim.weather import AGENT_PORT, AGENT_SOCKET

_PATIENCE_SECONDS: Final = 150.0
_CODE: Final = re.compile(rb'"code":"([a-z_]+)"')
_LOST: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)
_OURS: Final = frozenset({"draining", "too_busy", "identity_rate_limited", "no_key"})
"""Codes of the daemon's own condition, which may come before any other."""
_CHAT: Final = "POST /openai/v1/chat/completions HTTP/1.1"
_BODY: Final = b'{"model":"sim-a-999999","messages":[]}'


class Intrusion(msgspec.Struct, frozen=True):
    """``request``: what is sent; ``stops``: it is never finished, and the deadline must end it;
    ``over_tcp``: only a listener of loopback TCP turns it away; ``allow``: methods that are named
    in the answer."""

    request: bytes
    status: int
    code: str
    stops: bool = False
    over_tcp: bool = False
    allow: str | None = None


def _head(line: str = _CHAT, *fields: str, host: str = "localhost") -> bytes:
    return "\r\n".join([line, f"Host: {host}", *fields, "", ""]).encode("latin-1")


def _posted(*fields: str, body: bytes = _BODY) -> bytes:
    return _head(_CHAT, *fields, f"Content-Length: {len(body)}") + body


def _get(path: str, method: str = "GET") -> bytes:
    return _head(f"{method} {path} HTTP/1.1")


_CHUNKED: Final = "Transfer-Encoding: chunked"
INTRUSIONS: Final = {
    "a TLS hello": Intrusion(b"\x16\x03\x01\x02\x00\x01\x00\x01", 400, "malformed_request"),
    "no request line": Intrusion(b"HELLO\r\n\r\n", 400, "malformed_request"),
    "a bare LF": Intrusion(b"GET / HTTP/1.1\nHost: x\n\n", 400, "malformed_request"),
    "no host": Intrusion(b"GET / HTTP/1.1\r\n\r\n", 400, "malformed_request"),
    "two hosts": Intrusion(_head(_CHAT, "Host: other"), 400, "malformed_request"),
    "a whole URL": Intrusion(_get("http://localhost/openai"), 400, "malformed_request"),
    "dot segments": Intrusion(_get("/openai/%2e%2e/admin"), 400, "malformed_request"),
    "a fragment": Intrusion(_get("/openai/v1/models#x"), 400, "malformed_request"),
    "a folded line": Intrusion(_head(_CHAT, "a: b", " c"), 400, "malformed_request"),
    "a control character": Intrusion(_head(_CHAT, "a: b\x00c"), 400, "malformed_request"),
    "an underscore": Intrusion(_head(_CHAT, "x_gatepost_delegation: x"), 400, "malformed_request"),
    "another expectation": Intrusion(_posted("Expect: 200-ok"), 400, "malformed_request"),
    "no plain length": Intrusion(_head(_CHAT, "Content-Length: +5"), 400, "malformed_request"),
    "a list of lengths": Intrusion(_head(_CHAT, "Content-Length: 5, 5"), 400, "ambiguous_framing"),
    "two lengths": Intrusion(_posted("Content-Length: 5"), 400, "ambiguous_framing"),
    "length and chunks": Intrusion(_posted(_CHUNKED), 400, "ambiguous_framing"),
    "another coding": Intrusion(
        _head(_CHAT, "Transfer-Encoding: gzip, chunked"), 400, "ambiguous_framing"
    ),
    "chunks on 1.0": Intrusion(
        _head(_CHAT.replace("1.1", "1.0"), _CHUNKED), 400, "ambiguous_framing"
    ),
    "a broken chunk": Intrusion(
        _head(_CHAT, _CHUNKED) + b"5\r\nhellohello\r\n", 400, "malformed_request"
    ),
    "no size of a chunk": Intrusion(_head(_CHAT, _CHUNKED) + b"x\r\n", 400, "malformed_request"),
    "a large head": Intrusion(_head(_CHAT, f"a: {'x' * 40_000}"), 431, "head_too_large"),
    "many headers": Intrusion(
        _head(_CHAT, *(f"a{number}: b" for number in range(300))), 431, "head_too_large"
    ),
    "a long target": Intrusion(_get(f"/openai/{'x' * 9_000}"), 431, "head_too_large"),
    "another version": Intrusion(
        _head(_CHAT.replace("HTTP/1.1", "HTTP/2.0")), 501, "unsupported_protocol"
    ),
    "CONNECT": Intrusion(_get("/openai", "CONNECT"), 501, "unsupported_protocol"),
    "a WebSocket": Intrusion(
        _head(_CHAT, "Upgrade: websocket", "Connection: upgrade"), 501, "unsupported_protocol"
    ),
    "gRPC": Intrusion(_posted("Content-Type: application/grpc"), 501, "unsupported_protocol"),
    "an unknown path": Intrusion(_get("/nowhere"), 404, "unknown_route"),
    "an empty segment": Intrusion(_get("/openai//v1/models"), 404, "unknown_route"),
    "an encoded slash": Intrusion(_get("/openai/v1%2fmodels"), 404, "unknown_route"),
    "a path that is not for agents": Intrusion(
        _get("/openai/v1/organization/users"), 404, "unknown_route"
    ),
    "a name that is none": Intrusion(_get("/openai/v1/models/%ff"), 404, "unknown_route"),
    "no such action": Intrusion(_get("/gemini/v1beta/models/m:dream"), 404, "unknown_route"),
    "below a tool server": Intrusion(_get("/mcp/orders/more"), 404, "unknown_route"),
    "another method": Intrusion(
        _get("/openai/v1/responses", "DELETE"), 405, "method_not_allowed", allow="POST"
    ),
    "another method of MCP": Intrusion(
        _get("/mcp/orders", "PUT"), 405, "method_not_allowed", allow="DELETE, GET, POST"
    ),
    "too many gateways": Intrusion(
        _posted(f"X-Gatepost-Parent: {link_header(1, _BODY, hops=TOO_MANY_HOPS)}"),
        400,
        "malformed_request",
    ),
    "a foreign host": Intrusion(
        _head(_CHAT, host="evil.example"), 421, "foreign_host", over_tcp=True
    ),
    "a foreign page": Intrusion(
        _posted("Origin: https://evil.example"), 421, "foreign_host", over_tcp=True
    ),
    "a slow head": Intrusion(_head()[:40], 408, "too_slow", stops=True),
    "a slow body": Intrusion(_posted()[:-5], 408, "too_slow", stops=True),
    "a slow body that waits": Intrusion(
        _head(_CHAT, "Expect: 100-continue", "Content-Length: 9"), 408, "too_slow", stops=True
    ),
}
_INTERIM: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Intruder:
    """Sends what must be turned away, about every ``think_seconds``, until cancelled."""

    def __init__(
        self, host: Host, ledger: Ledger, chance: random.Random, think_seconds: float
    ) -> None:
        self._host = host
        self._ledger = ledger
        self._chance = chance
        self._think_seconds = think_seconds

    async def run(self) -> None:
        names = list(INTRUSIONS)
        while True:
            await anyio.sleep(self._chance.expovariate(1 / self._think_seconds))
            name = self._chance.choice(names)
            intrusion = INTRUSIONS[name]
            over_tcp = intrusion.over_tcp or self._chance.random() < 0.5
            try:
                stream = await self._host.connect(AGENT_PORT if over_tcp else AGENT_SOCKET, UID)
            except Refused:
                continue
            answer = b""
            with anyio.move_on_after(_PATIENCE_SECONDS):
                answer = await self._ask(stream, intrusion)
            stream.close()
            self._judge(name, intrusion, answer)

    async def _ask(self, stream: SimStream, intrusion: Intrusion) -> bytes:
        """Everything that is answered, until the connection ends or the answer is whole."""
        answer, request = b"", intrusion.request
        try:
            if not intrusion.stops and self._chance.random() < 0.2:
                cut = self._chance.randrange(1, len(request))
                await stream.send(request[:cut])
                await anyio.sleep(self._chance.random())
                request = request[cut:]
            await stream.send(request)
        except _LOST:
            pass  # turned away before all of it was sent: the answer is there all the same
        try:
            while not _is_whole(answer):
                answer += await stream.receive()
        except _LOST:
            pass
        return answer

    def _judge(self, name: str, intrusion: Intrusion, answer: bytes) -> None:
        answer = answer.removeprefix(_INTERIM)
        if not _is_whole(answer):
            self._ledger.counts["intrusion without an answer"] += 1
            return
        head, _, body = answer.partition(b"\r\n\r\n")
        found = _CODE.search(body)
        code = "" if found is None else found[1].decode()
        self._ledger.counts[f"intrusion {code}"] += 1
        if b"x-gatepost-decision-id" in head.lower():
            self._ledger.violate("turned_away", f"{name}: a ruling was made: {answer!r}")
        if code in _OURS:
            return
        if (int(head[9:12]), code) != (intrusion.status, intrusion.code):
            wanted = f"{intrusion.status} {intrusion.code}"
            self._ledger.violate("turned_away", f"{name}: {answer!r}, not {wanted}")
        named = intrusion.allow is None or f"allow: {intrusion.allow}".encode() in head
        if not named and code == intrusion.code:
            self._ledger.violate("turned_away", f"{name}: the methods are not named: {head!r}")


def _is_whole(answer: bytes) -> bool:
    """Whether a final answer of stated length is there."""
    head, end, body = answer.removeprefix(_INTERIM).partition(b"\r\n\r\n")
    found = re.search(rb"content-length: (\d+)", head)
    return bool(end) and found is not None and len(body) >= int(found[1])
