"""The Model Context Protocol over streamable HTTP: one JSON-RPC message is one call.

Owns: mapping methods to operations, tool name and arguments of ``tools/call``, and comparing the
headers that mirror a message with the message itself. Refuses: what a tool server sends
(``server_requests.py``), and sessions: their ids are opaque headers.

Both forms are read: 2025-11-25 and older (initialize, session id, GET stream, DELETE) and
2026-07-28 (no session; ``mcp-method`` and ``mcp-name`` mirror the body). A server or proxy may
route by these headers, so a header that says anything else than the body is refused.

Source: MCP specification, base protocol and transports; header value encoding of its 2026-07-28
transport.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Final

from gateway.call import CallView, Head, Json, Route
from gateway.errors import RequestRefused, TurnAway
from gateway.jsonbody import parse
from gateway.protocols import jsonrpc, query
from gateway.protocols.dialect import CLIENT_RUN, Dialect
from gateway.protocols.extract import Extract
from gateway.protocols.jsonrpc import Message
from gateway.protocols.reading import (
    Reading,
    check_encoding,
    check_json_type,
    provider_path,
)
from gateway.vocabulary import Operation

OPERATIONS: Final[Mapping[str, Operation]] = {
    "tools/call": "tool_call",
    "tools/list": "tool_list",
    "initialize": "tool_session",
    "ping": "tool_session",
    "server/discover": "tool_session",
    "subscriptions/listen": "tool_session",
    "logging/setLevel": "tool_session",
    "tasks/get": "tool_session",
    "tasks/list": "tool_session",
    "tasks/result": "tool_session",
    "tasks/cancel": "tool_session",
    "tasks/update": "tool_session",
    "resources/list": "resource_list",
    "resources/templates/list": "resource_list",
    "resources/read": "resource_read",
    "resources/subscribe": "resource_read",
    "resources/unsubscribe": "resource_read",
    "prompts/get": "prompt_get",
    "prompts/list": "prompt_list",
    "completion/complete": "completion_list",
}
"""Method of a request → operation. Others are ``unknown``, which no policy grants by chance."""

_NAME_MEMBER: Final[Mapping[str, str]] = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
}
"""Method → the parameter that ``mcp-name`` mirrors."""
_METHODS: Final = ("DELETE", "GET", "POST")
_BASE64: Final = ("=?base64?", "?=")

DIALECT: Final = Dialect(
    roles={},
    free=frozenset(),
    read=frozenset(),
    references=frozenset(),
    tool=lambda _: [CLIENT_RUN],
)
"""Everything in a message is data that policy may read: keys are checked, nothing is hosted."""


def read(route: Route, head: Head, body: bytes) -> Reading:
    """The calls in one request to a tool server.

    Raises TurnAway (``unknown_route``, ``method_not_allowed``) and RequestRefused
    (``unreadable_body``, ``duplicate_keys``, ``content_encoding_unsupported``).
    """
    if provider_path(route, head) not in ("", "/"):
        raise TurnAway("unknown_route", "a tool server has one path")
    if head.method not in _METHODS:
        raise TurnAway("method_not_allowed", allow=_METHODS)
    check_encoding(head)
    parameters = query.parameters(head)
    if head.method != "POST":
        if body:
            raise RequestRefused("unreadable_body", "this method takes no body")
        return Reading(calls=(_session(route, head, parameters),))
    check_json_type(head)
    value = parse(body)
    messages, is_batch = jsonrpc.read_messages(value, body)
    for message in messages:
        _check_mirrors(head, message)
    calls = tuple(_call(route, message, parameters) for message in messages)
    return Reading(calls=calls, batch=is_batch)


def _session(route: Route, head: Head, parameters: dict[str, Json]) -> CallView:
    return CallView(
        protocol="mcp",
        operation="tool_session",
        provider=route.provider,
        model=None,
        stream=head.method == "GET",
        tool_server=route.server,
        segments=tuple(query.segments(parameters)),
    )


def _call(route: Route, message: Message, parameters: dict[str, Json]) -> CallView:
    extract = Extract(DIALECT)
    tool, args, exact = None, None, message.raw_params
    if message.kind == "answer":
        operation: Operation = "tool_notification"
        extract.data(message.payload, "", "user", "result")
    elif message.kind == "notification":
        operation = "tool_notification"
        extract.data(message.params, "/params", "user", "arguments")
    else:
        operation = OPERATIONS.get(message.method, "unknown")
        args = _without_meta(message.params)
        if operation == "tool_call":
            tool, args, exact = _tool(message), _arguments(message), message.raw_arguments
        extract.data(message.params, "/params", "user", "arguments")
    if operation == "unknown":
        extract.data(message.method, "/method", "user", "unknown")
    return CallView(
        protocol="mcp",
        operation=operation,
        provider=route.provider,
        model=None,
        stream=False,
        tool=tool,
        tool_server=route.server,
        tool_call_id=message.id if operation == "tool_call" else None,
        args=args,
        input=exact,
        segments=(*extract.segments, *query.segments(parameters)),
        opaque=tuple(extract.opaque),
        rpc_id=None if message.kind == "answer" else message.id,
        rpc_notification=message.kind != "request",
    )


def _tool(message: Message) -> str:
    name = message.params.get("name")
    if not isinstance(name, str) or not name:
        raise RequestRefused("unreadable_body", "/params/name must be a string")
    return name


def _arguments(message: Message) -> dict[str, Json]:
    arguments = message.params.get("arguments")
    if arguments is None:
        return {}
    if not isinstance(arguments, dict):
        raise RequestRefused("unreadable_body", "/params/arguments must be an object")
    return arguments


def _without_meta(params: dict[str, Json]) -> dict[str, Json]:
    return {key: value for key, value in params.items() if key != "_meta"}


# -- headers that mirror the body ----------------------------------------------------------


def _check_mirrors(head: Head, message: Message) -> None:
    method = head.headers.get("mcp-method")
    if method is not None and method != message.method:
        raise RequestRefused("unreadable_body", "the Mcp-Method header is not the body's method")
    name = head.headers.get("mcp-name")
    if name is None:
        return
    member = _NAME_MEMBER.get(message.method)
    if member is None or _header_text(name) != message.params.get(member):
        raise RequestRefused("unreadable_body", "the Mcp-Name header is not the body's name")


def _header_text(value: str) -> str | None:
    """The decoded header value, None where it claims to be base64 and is not canonical."""
    start, end = _BASE64
    if not (value.startswith(start) and value.endswith(end) and len(value) >= 11):
        return value
    payload = value[len(start) : -len(end)]
    try:
        data = base64.b64decode(payload, validate=True)
        canonical = base64.b64encode(data).decode() == payload
        return data.decode("utf-8") if canonical else None
    except (binascii.Error, UnicodeDecodeError):
        return None
