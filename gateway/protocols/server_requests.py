"""What a tool server sends to the agent: its events, and the requests inside them.

Owns: finding, in an MCP event stream or a whole JSON answer, each JSON-RPC request that the server
makes of the agent (sampling, elicitation, roots, ping), as a CallView for a decision of stage
``server``. Refuses: deciding and sending; the events keep their exact bytes.

Answers and notifications pass as they are, read leniently: a tool's result may hold numbers of any
size. A message that could be a request and has no single reading is ``upstream_invalid``: the
agent's reader might see a request where ours does not.

Source: MCP specification, client features (sampling, elicitation, roots) and transports.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from gateway.call import CallView, Route
from gateway.errors import RequestRefused, UpstreamFailed
from gateway.jsonbody import Loose, Pairs, parse, parse_embedded
from gateway.limits import BODY_BYTES_MAX
from gateway.protocols import jsonrpc
from gateway.protocols.extract import Extract
from gateway.protocols.jsonrpc import Message
from gateway.protocols.mcp import DIALECT
from gateway.protocols.sse import EventSplitter, EventTooLarge, event_data, event_type
from gateway.vocabulary import Operation

OPERATIONS: Final[Mapping[str, Operation]] = {
    "sampling/createMessage": "sampling",
    "elicitation/create": "elicitation",
    "roots/list": "roots_list",
    "ping": "tool_session",
}


class Event(msgspec.Struct, frozen=True):
    """One event of the stream: ``raw`` is released as it is once ``server_call`` is allowed.

    ``server_call`` is None for events that ask nothing of the agent.
    """

    raw: bytes
    server_call: CallView | None


class EventGate:
    """The events of one MCP stream, one by one."""

    def __init__(self, route: Route) -> None:
        self._route = route
        self._splitter = EventSplitter(bytes_max=BODY_BYTES_MAX)

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that ``chunk`` completes. Raises UpstreamFailed ``upstream_invalid``."""
        try:
            raws = self._splitter.feed(chunk)
        except EventTooLarge as error:
            raise UpstreamFailed("upstream_invalid", str(error)) from None
        return [Event(raw, self._server_call(raw)) for raw in raws]

    def rest(self) -> bytes:
        """Bytes after the last whole event: a stream that ends there never sent that event."""
        return self._splitter.rest()

    def _server_call(self, raw: bytes) -> CallView | None:
        data = event_data(raw)
        if data is None or not data.strip():
            return None
        try:
            calls = server_calls(self._route, data)
        except UpstreamFailed:
            # Clients hand on events of type ``message`` only; others need not be JSON.
            if event_type(raw) == b"message":
                raise
            return None
        if len(calls) > 1:
            raise UpstreamFailed("upstream_invalid", "a batch of requests in one event")
        return calls[0] if calls else None


def server_calls(route: Route, body: bytes) -> tuple[CallView, ...]:
    """The requests of a tool server in one whole message (an event's data, a JSON answer).

    Raises UpstreamFailed ``upstream_invalid``.
    """
    try:
        loose = parse_embedded(body.decode("utf-8"))
    except (ValueError, UnicodeDecodeError):
        raise UpstreamFailed("upstream_invalid", "a message is not UTF-8 JSON") from None
    if not any(map(_may_ask, loose if isinstance(loose, list) else [loose])):
        return ()
    try:
        messages, _ = jsonrpc.read_messages(parse(body), body)
        return tuple(_call(route, message) for message in messages if message.kind == "request")
    except RequestRefused as error:
        raise UpstreamFailed("upstream_invalid", error.detail) from None


def _may_ask(message: Loose) -> bool:
    """Whether any reader could take ``message`` for a request: it has a method and an id."""
    if not isinstance(message, Pairs):
        return False
    keys = {key.casefold() for key, _ in message.members}
    return "method" in keys and "id" in keys


def _call(route: Route, message: Message) -> CallView:
    operation = OPERATIONS.get(message.method, "unknown")
    extract = Extract(DIALECT)
    extract.data(message.params, "/params", "server", "arguments")
    if operation == "unknown":
        extract.data(message.method, "/method", "server", "unknown")
    return CallView(
        protocol="mcp",
        operation=operation,
        provider=route.provider,
        model=None,
        stream=False,
        tool_server=route.server,
        args={key: value for key, value in message.params.items() if key != "_meta"},
        input=message.raw_params,
        segments=tuple(extract.segments),
        opaque=tuple(extract.opaque),
        rpc_id=message.id,
    )
