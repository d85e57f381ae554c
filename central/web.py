"""The HTTP edge that all central services share.

Owns: turning ``Refused`` and the framework's errors into the one error body, reading a request
exactly as it was signed, and the application class. Refuses: routes (each service's ``api.py``).

Paths are matched percent-encoded: a policy scope is one segment though it holds slashes, and
decoding before the match would turn it into several.
"""

from __future__ import annotations

import logging
import re
from typing import Final, TypeVar
from urllib.parse import unquote

import msgspec
from litestar import Litestar, Request, Response
from litestar.datastructures import State
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException
from litestar.types import ExceptionHandlersMap, Receive, Scope, Send

from central.errors import CODES, Refused
from gateway import __version__, signed_request
from gateway.errors import UNREADABLE

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"

HttpRequest = Request[None, None, State]
StructT = TypeVar("StructT", bound=msgspec.Struct)

_log: Final = logging.getLogger("gatepost.central")
VERSION: Final = __version__
_VERSION_HEADERS: Final = {"Gatepost-Version": __version__}
_CODE_OF_STATUS: Final = {
    401: "token_missing",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "content_encoding_unsupported",
}
_RETRY_AFTER_SECONDS: Final = "5"
_PREFER_WAIT: Final = re.compile(r"(?:^|[,;\s])wait=([0-9]{1,4})(?:$|[,;\s])")


class CentralApp(Litestar):
    """Litestar, matching paths as they came on the wire."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # type: ignore[override]  # Litestar narrows ASGI's types, its own annotation is the same
        if scope["type"] == ScopeType.HTTP:
            raw = scope.get("raw_path") or scope["path"].encode()
            scope["path"] = raw.partition(b"?")[0].decode("latin-1")
        await super().__call__(scope, receive, send)


def answer(
    body: bytes, *, media_type: str = JSON, status: int = 200, headers: dict[str, str] | None = None
) -> Response[bytes]:
    """A whole answer of exact bytes."""
    return Response(
        body,
        status_code=status,
        # As a media type, text would be given a charset: a second one, or one that does not belong.
        headers={"content-type": media_type, **_VERSION_HEADERS, **(headers or {})},
    )


def path_as_sent(request: HttpRequest) -> str:
    """The request target as ``Gatepost-Signed`` binds it: percent-encoded, with the query."""
    raw = request.scope.get("raw_path", b"").partition(b"?")[0]
    query = request.scope.get("query_string", b"")
    return (raw + (b"?" + query if query else b"")).decode("latin-1")


def segment(text: str) -> str:
    """One path segment, decoded."""
    return unquote(text)


def signed_header(request: HttpRequest) -> str | None:
    """The ``Gatepost-Signed`` header, unread."""
    return request.headers.get(signed_request.HEADER)


def wait_seconds(request: HttpRequest) -> int:
    """N of ``Prefer: wait=N`` (RFC 7240 section 4.3), 0 for none."""
    found = _PREFER_WAIT.search(request.headers.get("prefer", ""))
    return int(found[1]) if found else 0


def decode_body(body: bytes, shape: type[StructT]) -> StructT:
    """The JSON body as ``shape``. Raises Refused (``malformed_request``)."""
    try:
        return msgspec.json.decode(body, type=shape)
    except UNREADABLE as error:
        raise Refused("malformed_request", str(error)) from error


def _error(code: str, detail: str) -> Response[bytes]:
    spec = CODES[code]
    message = f"{spec.message}: {detail}" if detail else spec.message
    body = {
        "type": "gatepost",
        "code": code,
        "message": message,
        "retryable": spec.retryable,
    }
    headers = {}
    if spec.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if spec.status == 503:
        headers["Retry-After"] = _RETRY_AFTER_SECONDS
    return answer(msgspec.json.encode({"error": body}), status=spec.status, headers=headers)


def _on_refused(_: HttpRequest, error: Refused) -> Response[bytes]:
    return _error(error.code, error.detail)


def _on_http(_: HttpRequest, error: HTTPException) -> Response[bytes]:
    code = _CODE_OF_STATUS.get(error.status_code)
    if code is None:
        code = "internal_error" if error.status_code >= 500 else "malformed_request"
    return _error(code, "")


def _on_fault(request: HttpRequest, error: Exception) -> Response[bytes]:
    # The last boundary: a fault of ours is one failed request, never a dead service.
    _log.error("request_failed", exc_info=error, extra={"path": request.url.path})
    return _error("internal_error", "")


EXCEPTION_HANDLERS: Final[ExceptionHandlersMap] = {
    Refused: _on_refused,
    HTTPException: _on_http,
    Exception: _on_fault,
}
