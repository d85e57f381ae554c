"""Header hygiene: what crosses the gateway, in both directions, is an allow-list.

Owns: the lists that hold on every route, and the names that never pass whatever a configuration
allows: hop-by-hop fields, framing, credentials of either side (law 10). Refuses: reading heads
(``head.py``), choosing the company's credential (the caller hands it in as ``extra``).

A head that goes on is built anew from these functions' results; nothing else of the received one
survives. Names are lower-case. An entry of an allow-list that ends in ``*`` is a prefix.

Sources: RFC 9110 sections 7.6.1 (connection-specific fields), 7.6.3 (Via), 5.5 (field values),
11.6-11.7 (authentication fields).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from gateway import __version__
from gateway.call import Head, Protocol
from gateway.wire import UpstreamHead

Headers = tuple[tuple[str, str], ...]

REQUEST_HEADERS: Final = frozenset({"accept", "content-type", "traceparent", "tracestate"})
"""Pass to every upstream; a route's allow-list is added."""

RESPONSE_HEADERS: Final = frozenset(
    {
        "cache-control",
        "content-language",
        "content-type",
        "date",
        "openai-processing-ms",
        "openai-version",
        "request-id",
        "retry-after",
        "retry-after-ms",
        "x-amzn-errortype",
        "x-amzn-requestid",
        "x-request-id",
        "x-should-retry",
        "anthropic-ratelimit-*",
        "x-amzn-bedrock-*",
        "x-ratelimit-*",
    }
)
"""Come back from every upstream: what SDKs read to parse, retry and report."""

REQUEST_HEADERS_OF: Final[Mapping[Protocol, frozenset[str]]] = MappingProxyType(
    {
        "openai": frozenset({"idempotency-key", "openai-beta"}),
        "anthropic": frozenset({"anthropic-beta", "anthropic-version", "idempotency-key"}),
        "gemini": frozenset(),
        "bedrock": frozenset({"x-amzn-bedrock-*"}),
        "mcp": frozenset(
            {
                "last-event-id",
                "mcp-method",
                "mcp-name",
                "mcp-protocol-version",
                "mcp-session-id",
            }
        ),
        "http": frozenset(),
    }
)
"""What a protocol itself needs on requests; organisation and project headers are a route's."""

RESPONSE_HEADERS_OF: Final[Mapping[Protocol, frozenset[str]]] = MappingProxyType(
    {
        "openai": frozenset(),
        "anthropic": frozenset(),
        "gemini": frozenset(),
        "bedrock": frozenset(),
        "mcp": frozenset({"mcp-protocol-version", "mcp-session-id"}),
        "http": frozenset(),
    }
)

_HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "http2-settings",
    }
)
_FRAMING: Final = frozenset({"content-length", "content-encoding", "expect", "host"})
_CREDENTIALS: Final = frozenset(
    {
        "authorization",
        "api-key",
        "cookie",
        "cookie2",
        "ocp-apim-subscription-key",
        "x-amz-content-sha256",
        "x-amz-date",
        "x-amz-security-token",
        "x-api-key",
        "x-auth-token",
        "x-goog-api-key",
        "x-goog-iam-authorization-token",
    }
)
_NEVER_BACK: Final = frozenset(
    {
        "alt-svc",  # would lead the caller past the gateway
        "authentication-info",
        "clear-site-data",
        "location",
        "set-cookie",
        "set-cookie2",
        "strict-transport-security",
        "www-authenticate",
    }
)
_NEVER_PREFIXES: Final = ("proxy-", "x-gatepost-")
_NEVER_OUT: Final = _HOP_BY_HOP | _FRAMING | _CREDENTIALS | {"accept-encoding", "user-agent", "via"}
_NEVER_IN: Final = _HOP_BY_HOP | _FRAMING | _CREDENTIALS | _NEVER_BACK

_OWN: Final[Headers] = (
    ("accept-encoding", "identity"),
    ("user-agent", f"gatepost/{__version__}"),
    ("via", "1.1 gatepost"),
)
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_VALUE: Final = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")


def outgoing_headers(head: Head, allow: frozenset[str], extra: Headers) -> Headers:
    """The headers of the request that goes upstream, without ``host`` and framing.

    ``allow``: a route's own allow-list. ``extra``: ours, above all the company's credential; it
    replaces what the application sent under the same name. Raises ValueError for an ``extra``
    that is not a valid header: a fault of the configuration, never of the caller.
    """
    passing = _permitted(tuple(head.headers.items()), REQUEST_HEADERS, allow, _NEVER_OUT)
    for name, value in extra:
        _require_valid(name, value)
    own = (*_OWN, *extra)
    replaced = {name for name, _ in own}
    return (*(pair for pair in passing if pair[0] not in replaced), *own)


def returned_headers(head: UpstreamHead, allow: frozenset[str]) -> Headers:
    """The headers of an upstream's answer that the application gets, in their order."""
    return tuple(_permitted(head.headers, RESPONSE_HEADERS, allow, _NEVER_IN))


def _permitted(
    fields: Headers, base: frozenset[str], allow: frozenset[str], never: frozenset[str]
) -> list[tuple[str, str]]:
    names, prefixes = _allow_list(base, allow)
    named = _named_by_connection(fields)
    return [
        (name, value)
        for name, value in fields
        if (name in names or name.startswith(prefixes))
        and name not in never
        and name not in named
        and not name.startswith(_NEVER_PREFIXES)
        and _NAME.fullmatch(name) is not None
        and _VALUE.fullmatch(value) is not None
    ]


@lru_cache(maxsize=256)  # one entry per route and direction
def _allow_list(
    base: frozenset[str], allow: frozenset[str]
) -> tuple[frozenset[str], tuple[str, ...]]:
    every = {name.lower() for name in base | allow}
    prefixes = {name for name in every if name.endswith("*")}
    return frozenset(every - prefixes), tuple(sorted(name[:-1] for name in prefixes))


def _named_by_connection(fields: Headers) -> frozenset[str]:
    named = [value for name, value in fields if name == "connection"]
    if not named:
        return frozenset()
    return frozenset(option.strip(" \t").lower() for option in ",".join(named).split(","))


def _require_valid(name: str, value: str) -> None:
    if (
        _NAME.fullmatch(name) is None
        or _VALUE.fullmatch(value) is None
        or value != value.strip(" \t")
        or name in _HOP_BY_HOP | _FRAMING
        or not value.isascii()
    ):
        raise ValueError(f"{name!r} cannot be sent upstream: not a valid header name or value")
