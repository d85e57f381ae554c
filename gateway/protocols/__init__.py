"""Provider requests in, the calls they make out.

Owns: choosing the protocol's reader by the route. Refuses: everything about any one protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from gateway.call import CallView, Head, Protocol, Route
from gateway.protocols import anthropic, bedrock, gemini, http, mcp, openai
from gateway.protocols.reading import Reading

__all__ = ["Reading", "read_calls"]

_READERS: Final[Mapping[Protocol, Callable[[Route, Head, bytes], CallView]]] = {
    "openai": openai.read,
    "anthropic": anthropic.read,
    "gemini": gemini.read,
    "bedrock": bedrock.read,
    "http": http.read,
}


def read_calls(route: Route, head: Head, body: bytes) -> Reading:
    """The calls that a request on ``route`` makes: one, or each message of a JSON-RPC batch.

    ``body`` is whole, or empty on routes marked ``opaque_upload``. Raises TurnAway
    (``unknown_route``, ``method_not_allowed``) where the provider's API has no such path or
    method, and RequestRefused (``unreadable_body``, ``duplicate_keys``,
    ``content_encoding_unsupported``) where the body cannot be read in exactly one way.
    """
    if route.protocol == "mcp":
        return mcp.read(route, head, body)
    return Reading(calls=(_READERS[route.protocol](route, head, body),))
