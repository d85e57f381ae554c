"""The strict reading of a message head, before any other parser sees it.

Owns: which heads are accepted and what they say. A head that two readers could understand
differently is refused, however common: a parser that guesses is how a request gets smuggled
past a policy. Refuses: bodies, sockets, routes and identity.

Whatever passes here goes on rebuilt from the result (``http1.py``), never copied.

Sources: RFC 9112 sections 2.2 (bare CR and LF), 3 (request line), 5 (field lines), 6 (framing),
9.3 (persistence); RFC 9110 sections 5.3 (field order), 5.6.2 (token), 7.2 (Host), 7.6.1
(Connection), 10.1.1 (Expect).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import msgspec

from gateway import limits
from gateway.call import Head
from gateway.errors import TurnAway, UpstreamFailed
from gateway.wire import UpstreamHead

IDENTITY_HEADERS: Final = frozenset(
    {"authorization", "x-api-key", "api-key", "x-goog-api-key", "x-gatepost-delegation"}
)
"""Where an identity may stand. Two lines of one are not a framing fault but a ruling
(``identity_ambiguous``), so they are reported in ``Head.duplicated``."""

LISTED_HEADERS: Final = frozenset(
    {
        "accept",
        "accept-charset",
        "accept-encoding",
        "accept-language",
        "anthropic-beta",
        "baggage",
        "cache-control",
        "connection",
        "content-language",
        "forwarded",
        "if-match",
        "if-none-match",
        "keep-alive",
        "openai-beta",
        "pragma",
        "prefer",
        "te",
        "trailer",
        "tracestate",
        "upgrade",
        "via",
        "warning",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
    }
)
"""Defined as lists, so that several lines mean the same as one joined line (RFC 9110 5.3)."""

_FRAMING_HEADERS: Final = frozenset({"content-length", "transfer-encoding"})
_ANSWER_SINGLES: Final = _FRAMING_HEADERS | {"content-type", "content-encoding"}

NOT_CONTROL: Final = bytes(byte for byte in range(256) if byte == 9 or 32 <= byte != 127)
"""For ``bytes.translate``: what is left of a head without these are its line ends, and faults."""
_BARE_LF: Final = re.compile(rb"(?<!\r)\n")
_REQUEST_LINE: Final = re.compile(r"([A-Z][A-Z-]{0,31}) ([!-~]+) HTTP/([0-9]\.[0-9])")
_STATUS_LINE: Final = re.compile(r"HTTP/(1\.[01]) ([1-5][0-9][0-9])(?: [^\r\n]*)?")
# A token without "_": servers behind CGI read X_Gatepost_Delegation as X-Gatepost-Delegation.
_REQUEST_NAME: Final = re.compile(r"[!#$%&'*+.^`|~0-9A-Za-z-]+")
_ANSWER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LENGTH: Final = re.compile(r"0|[1-9][0-9]{0,17}")
_SLASH: Final = r"(?:/|%2[fF]|%5[cC])"
_DOT_SEGMENT: Final = re.compile(rf"{_SLASH}(?:\.|%2[eE]){{1,2}}(?={_SLASH}|$)")
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~%-]+)(?::[0-9]{1,5})?")
_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://(.+)")


class AnswerFraming(msgspec.Struct, frozen=True, kw_only=True):
    """How the body of an upstream's answer ends: by length, by chunks, or (neither) by closing."""

    version: str
    content_length: int | None
    chunked: bool
    keep_alive: bool


class _Fault(Exception):
    """A head that is not accepted: ``code`` for a request, always ``upstream_invalid`` else."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


# -- requests ------------------------------------------------------------------------------


def request_head_end(buffer: bytearray, searched: int = 0) -> int | None:
    """Where the first head in ``buffer`` ends (after CRLF CRLF), or None while it is incomplete.

    ``searched``: bytes already looked at by an earlier call. Raises TurnAway as soon as the bytes
    show that no head can come of them, so that a TLS hello or a bare LF need not wait for the
    deadline: ``malformed_request``, ``head_too_large``.
    """
    try:
        if buffer and not 65 <= buffer[0] <= 90:
            raise _Fault("malformed_request", "a request starts with an upper-case method")
        return _head_end(buffer, searched)
    except _Fault as fault:
        raise TurnAway(fault.code, fault.detail) from fault


def check_head(raw: bytes) -> Head:
    """The request head in ``raw``, which ends with its CRLF CRLF.

    Raises TurnAway: ``malformed_request``, ``ambiguous_framing``, ``head_too_large``,
    ``unsupported_protocol``; the detail says what is wrong and never quotes the request.
    """
    try:
        return _check_head(raw)
    except _Fault as fault:
        raise TurnAway(fault.code, fault.detail) from fault


def _check_head(raw: bytes) -> Head:
    lines = _lines(raw)
    method, target, version = _request_line(lines[0])
    headers, duplicated = _request_headers(lines[1:])
    if _HOST.fullmatch(headers.get("host", "")) is None:
        raise _Fault("malformed_request", "exactly one Host is needed, as name or name:port")
    content_length, chunked = _framing(headers, version)
    options = _connection_options(headers.get("connection", ""))
    _refuse_other_protocols(headers, options)
    return Head(
        method=method,
        target=target,
        headers=headers,
        content_length=content_length,
        chunked=chunked,
        expect_continue=_expects_continue(headers, version) and (chunked or bool(content_length)),
        # RFC 9112 9.3 leaves keep-alive of HTTP/1.0 optional; proxies get it wrong too often.
        keep_alive=version == "1.1" and "close" not in options,
        version=version,
        duplicated=duplicated,
    )


def _request_line(line: str) -> tuple[str, str, str]:
    found = _REQUEST_LINE.fullmatch(line)
    if found is None:
        raise _Fault("malformed_request", "the request line is not METHOD target HTTP/1.1")
    method, target, version = found.groups()
    if version not in ("1.0", "1.1"):
        raise _Fault("unsupported_protocol", "only HTTP/1.1 and HTTP/1.0 are spoken here")
    # TRACE is refused for every target, which is what 501 says (RFC 9110 15.6.2); 405 would
    # have to name the methods of a route. It would echo credentials.
    if method in ("CONNECT", "TRACE"):
        raise _Fault("unsupported_protocol", f"{method} is not supported")
    if len(target) > limits.TARGET_BYTES_MAX:
        raise _Fault("head_too_large", "the request target is too long")
    if target[0] != "/":
        raise _Fault("malformed_request", "the request target must be a path")
    path = target.partition("?")[0]
    if "#" in target or "\\" in path:
        raise _Fault("malformed_request", "the request target has a fragment or a backslash")
    # Whoever resolves them (RFC 3986 5.2.4) sees another path than the one that was ruled on.
    if ("/." in path or "%" in path) and _DOT_SEGMENT.search(path) is not None:
        raise _Fault("malformed_request", "the path has dot segments")
    return method, target, version


def _request_headers(lines: list[str]) -> tuple[dict[str, str], frozenset[str]]:
    headers: dict[str, str] = {}
    duplicated: set[str] = set()
    for name, value in _fields(lines, _REQUEST_NAME):
        if name not in headers:
            headers[name] = value
        elif name in LISTED_HEADERS:
            headers[name] = f"{headers[name]}, {value}"
        elif name in IDENTITY_HEADERS:
            duplicated.add(name)
        elif name in _FRAMING_HEADERS:
            raise _Fault("ambiguous_framing", f"{name} stands more than once")
        else:
            raise _Fault("malformed_request", "a header that may stand once stands twice")
    return headers, frozenset(duplicated)


def _framing(headers: dict[str, str], version: str) -> tuple[int | None, bool]:
    length = headers.get("content-length")
    coding = headers.get("transfer-encoding")
    if coding is not None:
        if length is not None:
            raise _Fault("ambiguous_framing", "Transfer-Encoding together with Content-Length")
        if version == "1.0":
            raise _Fault("ambiguous_framing", "Transfer-Encoding on HTTP/1.0")
        if coding != "chunked":
            raise _Fault("ambiguous_framing", "Transfer-Encoding other than chunked")
        return None, True
    if length is None:
        return None, False
    if "," in length:
        raise _Fault("ambiguous_framing", "Content-Length is a list")
    if _LENGTH.fullmatch(length) is None:
        raise _Fault("malformed_request", "Content-Length is not a plain decimal number")
    return int(length), False


def _connection_options(value: str) -> frozenset[str]:
    options = {option.strip(" \t").lower() for option in value.split(",")} if value else set()
    return frozenset(options - {""})


def _refuse_other_protocols(headers: dict[str, str], options: frozenset[str]) -> None:
    if "upgrade" in headers or "upgrade" in options or "http2-settings" in headers:
        raise _Fault("unsupported_protocol", "Upgrade is not supported")
    if headers.get("content-type", "").lower().startswith("application/grpc"):
        raise _Fault("unsupported_protocol", "gRPC is not supported")


def _expects_continue(headers: dict[str, str], version: str) -> bool:
    expect = headers.get("expect")
    if expect is None:
        return False
    if expect.lower() != "100-continue":
        raise _Fault("malformed_request", "Expect other than 100-continue")
    return version == "1.1"  # RFC 9110 10.1.1: ignored on HTTP/1.0


def names_listener(head: Head, hosts: frozenset[str]) -> bool:
    """Whether ``Host``, and ``Origin`` if a browser sent one, name this listener.

    ``hosts``: lower-case names and address literals, without port and brackets. Any other name
    means that a page elsewhere made a browser call us (DNS rebinding), or a client is misled.
    """
    if _host_name(head.headers["host"]) not in hosts:
        return False
    origin = head.headers.get("origin")
    if origin is None:
        return True
    found = _ORIGIN.fullmatch(origin)
    return found is not None and _host_name(found[1]) in hosts


def _host_name(host: str) -> str | None:
    found = _HOST.fullmatch(host)
    return None if found is None else found[1].lower().strip("[]")


# -- answers of upstreams --------------------------------------------------------------------


def answer_head_end(buffer: bytearray, searched: int = 0) -> int | None:
    """As ``request_head_end``, for an upstream's answer. Raises UpstreamFailed."""
    try:
        return _head_end(buffer, searched)
    except _Fault as fault:
        raise UpstreamFailed("upstream_invalid", fault.detail) from fault


def check_answer(raw: bytes) -> tuple[UpstreamHead, AnswerFraming]:
    """The head of an upstream's answer, 1xx included, and how its body ends.

    Raises UpstreamFailed: ``upstream_redirect`` (3xx, 101: law 10, the address that was permitted
    is the one that answers), ``upstream_invalid`` (not HTTP/1, two readings of the framing, a
    content encoding, which nobody asked for and no observer could read).
    """
    try:
        head, framing = _check_answer(raw)
    except _Fault as fault:
        raise UpstreamFailed("upstream_invalid", fault.detail) from fault
    if head.status == 101 or 300 <= head.status < 400:
        raise UpstreamFailed("upstream_redirect", f"status {head.status}")
    if (head.get("content-encoding") or "identity").lower() != "identity":
        raise UpstreamFailed("upstream_invalid", "the answer has a content encoding")
    return head, framing


def _check_answer(raw: bytes) -> tuple[UpstreamHead, AnswerFraming]:
    lines = _lines(raw)
    found = _STATUS_LINE.fullmatch(lines[0])
    if found is None:
        raise _Fault("upstream_invalid", "the status line is not HTTP/1.1")
    fields = tuple(_fields(lines[1:], _ANSWER_NAME))
    singles: dict[str, str] = {}
    options: frozenset[str] = frozenset()
    for name, value in fields:
        if name in _ANSWER_SINGLES:
            if name in singles:
                raise _Fault("upstream_invalid", f"{name} stands more than once")
            singles[name] = value
        elif name == "connection":
            options |= _connection_options(value)
    version = found[1]
    coding = singles.get("transfer-encoding")
    if coding is not None:
        singles["transfer-encoding"] = coding.lower()
    content_length, chunked = _framing(singles, version)
    framing = AnswerFraming(
        version=version,
        content_length=content_length,
        chunked=chunked,
        keep_alive=version == "1.1" and "close" not in options,
    )
    return UpstreamHead(status=int(found[2]), headers=fields), framing


# -- both ------------------------------------------------------------------------------------


def _head_end(buffer: bytearray, searched: int) -> int | None:
    end = buffer.find(b"\r\n\r\n", max(0, searched - 3))
    if max(end + 4, 0 if end >= 0 else len(buffer)) > limits.HEAD_BYTES_MAX:
        raise _Fault("head_too_large", "the head is too long")
    if end >= 0:
        return end + 4
    if _BARE_LF.search(buffer, max(0, searched - 1)) is not None:
        raise _Fault("malformed_request", "a line ends with a bare LF")
    return None


def _lines(raw: bytes) -> list[str]:
    # What is left without everything printable must be one CRLF per line. The count is needed
    # too: in "\rX\n" the two bytes only meet once the X is gone.
    endings = raw.count(b"\r\n")
    if raw.translate(None, NOT_CONTROL) != b"\r\n" * endings:
        raise _Fault("malformed_request", "the head has a control character or a bare CR or LF")
    lines = raw.decode("latin-1").split("\r\n")
    if len(lines) < 3 or lines[-1] or lines[-2]:
        raise _Fault("malformed_request", "the head does not end with an empty line")
    del lines[-2:]
    if len(lines) - 1 > limits.HEADERS_MAX:
        raise _Fault("head_too_large", "too many headers")
    return lines


def _fields(lines: list[str], allowed: re.Pattern[str]) -> Iterable[tuple[str, str]]:
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or allowed.fullmatch(name) is None:
            # Also a folded line (RFC 9112 5.2) and a space before the colon.
            raise _Fault("malformed_request", "a header line has no valid name")
        yield name.lower(), value.strip(" \t")
