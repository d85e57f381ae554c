"""Routes and heads for tests of what comes in on them."""

from __future__ import annotations

import json
from typing import Final

from gateway.call import CallView, Head, Protocol, Route
from gateway.protocols import read_calls

PREFIXES: Final[dict[Protocol, str]] = {
    "openai": "/openai",
    "anthropic": "/anthropic",
    "gemini": "/gemini",
    "bedrock": "/bedrock",
    "mcp": "/mcp/files",
    "http": "/tool/payments",
}


def route_for(protocol: Protocol, *, opaque_upload: bool = False) -> Route:
    server = {"mcp": "files", "http": "payments"}.get(protocol)
    return Route(
        name=protocol,
        prefix=PREFIXES[protocol],
        protocol=protocol,
        provider=protocol,
        server=server,
        upstreams=(),
        request_headers=frozenset(),
        response_headers=frozenset(),
        body_bytes_max=1 << 24,
        idempotent=False,
        opaque_upload=opaque_upload,
        first_byte_seconds_max=1.0,
        stream_idle_seconds_max=1.0,
        call_seconds_max=1.0,
    )


def head_for(method: str, target: str, **headers: str) -> Head:
    given = {"content-type": "application/json"}
    given.update({name.replace("_", "-"): value for name, value in headers.items()})
    return Head(
        method=method,
        target=target,
        headers={name: value for name, value in given.items() if value},
        content_length=None,
        chunked=False,
        expect_continue=False,
        keep_alive=True,
    )


def call_of(
    protocol: Protocol, path: str, body: object = b"", method: str = "POST", **headers: str
) -> CallView:
    """The one call of a request; ``path`` follows the route's prefix."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    route = route_for(protocol)
    reading = read_calls(route, head_for(method, route.prefix + path, **headers), data)
    (call,) = reading.calls
    return call


def texts_of(call: CallView) -> list[str]:
    return [segment.text for segment in call.segments]
