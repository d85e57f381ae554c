"""Plain HTTP tools: one request is one tool call, its JSON body and query the arguments.

Owns: making arguments of a request. Refuses: bodies that are not JSON (except on routes marked
for opaque uploads).

``args`` are the members of the body and the query parameters, with ``_method`` and ``_path`` (what
follows the route's prefix, decoded) beside them, so that policy can tell one endpoint of a tool
from another. A body that is not an object stands under ``_body``.
"""

from __future__ import annotations

from typing import Final

from gateway.call import CallView, Head, Json, Route
from gateway.errors import RequestRefused, TurnAway
from gateway.jsonbody import parse
from gateway.protocols import query
from gateway.protocols.extract import Extract
from gateway.protocols.mcp import DIALECT
from gateway.protocols.reading import check_encoding, check_json_type, decoded, provider_path

_METHODS: Final = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")


def read(route: Route, head: Head, body: bytes) -> CallView:
    """The call in one request to a tool.

    Raises TurnAway (``unknown_route``, ``method_not_allowed``) and RequestRefused
    (``unreadable_body``; ``duplicate_keys``, also where body and query give the same argument;
    ``content_encoding_unsupported``).
    """
    if head.method not in _METHODS:
        raise TurnAway("method_not_allowed", allow=_METHODS)
    check_encoding(head)
    parts = provider_path(route, head).split("/")
    path = "/".join(decoded(part) if part else "" for part in parts)
    parameters = query.parameters(head)
    extract = Extract(DIALECT)
    if path.strip("/"):
        extract.data(path, "?_path", "user", "arguments")
    args: dict[str, Json] = {"_method": head.method, "_path": path}
    _add(args, parameters)
    if route.opaque_upload:
        extract.opaque[""] = None
    elif body:
        check_json_type(head)
        value = parse(body)
        extract.data(value, "", "user", "arguments")
        _add(args, value if isinstance(value, dict) else {"_body": value})
    return CallView(
        protocol="http",
        operation="http_call",
        provider=route.provider,
        model=None,
        stream=False,
        tool=route.server,
        tool_server=route.server,
        args=args,
        input=body or head.query.encode("latin-1"),
        segments=(*extract.segments, *query.segments(parameters)),
        opaque=tuple(extract.opaque),
    )


def _add(args: dict[str, Json], more: dict[str, Json]) -> None:
    taken = {name.casefold() for name in args}
    for name, value in more.items():
        if name.casefold() in taken:
            raise RequestRefused("duplicate_keys", "an argument is given twice, or is reserved")
        args[name] = value
