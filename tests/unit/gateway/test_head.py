"""Every way in which a head could be read twice is refused, and every honest one is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import limits
from gateway.call import Head
from gateway.errors import TurnAway, UpstreamFailed
from gateway.head import (
    IDENTITY_HEADERS,
    LISTED_HEADERS,
    check_answer,
    check_head,
    names_listener,
    request_head_end,
)

GET = b"GET /v1/models HTTP/1.1\r\nHost: gw\r\n"
POST = b"POST /v1/chat HTTP/1.1\r\nHost: gw\r\n"


def whole(data: bytes) -> Head | str:
    """The head read from all bytes at once, or the code it is turned away with."""
    try:
        end = request_head_end(bytearray(data))
        return "incomplete" if end is None else check_head(data[:end])
    except TurnAway as turned_away:
        return turned_away.code


def byte_by_byte(data: bytes) -> Head | str:
    buffer = bytearray()
    try:
        for index in range(len(data)):
            searched = len(buffer)
            buffer += data[index : index + 1]
            end = request_head_end(buffer, searched)
            if end is not None:
                return check_head(bytes(buffer[:end]))
    except TurnAway as turned_away:
        return turned_away.code
    return "incomplete"


def read(data: bytes) -> Head | str:
    """One reading, however the bytes come: together, singly, or with more behind them."""
    result = whole(data)
    assert byte_by_byte(data) == result
    assert whole(data + b"\x16junk\r\n\r\n") == result
    return result


MALFORMED = {
    "no request line": b"\r\n\r\n",
    "blank line first": b"\r\n" + GET + b"\r\n",
    "lower-case method": b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
    "mixed-case method": b"Get / HTTP/1.1\r\nHost: a\r\n\r\n",
    "no target": b"GET HTTP/1.1\r\nHost: a\r\n\r\n",
    "two spaces": b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    "tab instead of space": b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "space behind the version": b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
    "HTTP/0.9": b"GET /\r\nHost: a\r\n\r\n",
    "http in lower case": b"GET / http/1.1\r\nHost: a\r\n\r\n",
    "version without dot": b"GET / HTTP/11\r\nHost: a\r\n\r\n",
    "long version": b"GET / HTTP/1.10\r\nHost: a\r\n\r\n",
    "absolute form": b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "authority form": b"GET a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
    "asterisk form": b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "fragment": b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
    "fragment in the query": b"GET /a?b#c HTTP/1.1\r\nHost: a\r\n\r\n",
    "backslash": b"GET /a\\..\\b HTTP/1.1\r\nHost: a\r\n\r\n",
    "non-ASCII target": b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n",
    "dot segments": b"GET /openai/../admin HTTP/1.1\r\nHost: a\r\n\r\n",
    "dot segment at the end": b"GET /openai/.. HTTP/1.1\r\nHost: a\r\n\r\n",
    "single dot": b"GET /openai/./v1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "encoded dots": b"GET /openai/%2E%2e/admin HTTP/1.1\r\nHost: a\r\n\r\n",
    "encoded slash and dots": b"GET /openai%2f..%2Fadmin HTTP/1.1\r\nHost: a\r\n\r\n",
    "bare LF lines": b"GET / HTTP/1.1\nHost: a\n\n",
    "bare LF in one line": b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
    "LF CR LF": b"GET / HTTP/1.1\r\nHost: a\r\n\n\r\n\r\n",
    "bare CR in a value": GET + b"X: a\rb\r\n\r\n",
    "bare CR before CRLF": GET + b"X: a\r\r\n\r\n",
    "CR and LF apart": GET + b"X: a\rb\nc\r\n\r\n",
    "NUL in a value": GET + b"X: a\0b\r\n\r\n",
    "control in a value": GET + b"X: a\x01b\r\n\r\n",
    "DEL in a value": GET + b"X: a\x7fb\r\n\r\n",
    "NUL in the target": b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
    "folded line": GET + b"X: a\r\n b\r\n\r\n",
    "line folded by a tab": GET + b"X: a\r\n\tb\r\n\r\n",
    "fold as the first header": b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    "space before the colon": GET + b"X : a\r\n\r\n",
    "tab before the colon": GET + b"X\t: a\r\n\r\n",
    "no colon": GET + b"X\r\n\r\n",
    "empty name": GET + b": a\r\n\r\n",
    "underscore in a name": GET + b"X_Gatepost_Delegation: a\r\n\r\n",
    "underscore in Content_Length": POST + b"Content_Length: 3\r\n\r\n",
    "non-ASCII name": GET + b"X\xe9: a\r\n\r\n",
    "separator in a name": GET + b"X(y): a\r\n\r\n",
    "no Host": b"GET / HTTP/1.1\r\nX: a\r\n\r\n",
    "no Host on 1.0": b"GET / HTTP/1.0\r\n\r\n",
    "empty Host": b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
    "two Hosts": GET + b"Host: other\r\n\r\n",
    "two equal Hosts": GET + b"Host: gw\r\n\r\n",
    "Host with a path": b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "Host with user": b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
    "Host list": b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "two Content-Types": POST + b"Content-Type: a/b\r\nContent-Type: c/d\r\n\r\n",
    "two Content-Encodings": POST + b"Content-Encoding: gzip\r\nContent-Encoding: br\r\n\r\n",
    "two Cookies": GET + b"Cookie: a=b\r\nCookie: c=d\r\n\r\n",
    "two Expects": POST + b"Expect: 100-continue\r\nExpect: 100-continue\r\n\r\n",
    "two parents": GET + b"X-Gatepost-Parent: a\r\nX-Gatepost-Parent: b\r\n\r\n",
    "two of an unknown header": GET + b"X-Any: a\r\nx-any: b\r\n\r\n",
    "Expect of something else": POST + b"Content-Length: 1\r\nExpect: 200-ok\r\n\r\n",
    "negative length": POST + b"Content-Length: -1\r\n\r\n",
    "plus length": POST + b"Content-Length: +1\r\n\r\n",
    "hex length": POST + b"Content-Length: 0x1\r\n\r\n",
    "octal-looking length": POST + b"Content-Length: 010\r\n\r\n",
    "underscored length": POST + b"Content-Length: 1_0\r\n\r\n",
    "length with a space": POST + b"Content-Length: 1 0\r\n\r\n",
    "empty length": POST + b"Content-Length:\r\n\r\n",
    "endless length": POST + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n",
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
}
AMBIGUOUS = {
    "TE with CL": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
    "CL with TE": POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
    "TE on HTTP/1.0": b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    "differing lengths": POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n",
    "equal lengths": POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\n",
    "length list": POST + b"Content-Length: 3, 3\r\n\r\n",
    "two TEs": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    "gzip, chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    "identity": POST + b"Transfer-Encoding: identity\r\n\r\n",
    "chunked, identity": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n",
    "chunked with parameter": POST + b"Transfer-Encoding: chunked;q=1\r\n\r\n",
    "upper case": POST + b"Transfer-Encoding: CHUNKED\r\n\r\n",
    "xchunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n",
    "quoted": POST + b'Transfer-Encoding: "chunked"\r\n\r\n',
    "empty": POST + b"Transfer-Encoding:\r\n\r\n",
}
UNSUPPORTED = {
    "CONNECT": b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
    "TRACE": b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/1.2": b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    "HTTP/0.9 spelled out": b"GET / HTTP/0.9\r\nHost: a\r\n\r\n",
    "HTTP/3.0": b"GET / HTTP/3.0\r\nHost: a\r\n\r\n",
    "websocket": GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "h2c": GET + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n",
    "Upgrade alone": GET + b"Upgrade: h2c\r\n\r\n",
    "Connection: upgrade alone": GET + b"Connection: keep-alive, UPGRADE\r\n\r\n",
    "second Connection line": GET + b"Connection: keep-alive\r\nConnection: upgrade\r\n\r\n",
    "gRPC": POST + b"Content-Type: application/grpc\r\nTE: trailers\r\n\r\n",
    "gRPC with proto": POST + b"Content-Type: Application/gRPC+proto\r\n\r\n",
}
TOO_LARGE = {
    "endless head": GET + b"X: " + b"a" * limits.HEAD_BYTES_MAX,
    "large head": GET + b"X: " + b"a" * limits.HEAD_BYTES_MAX + b"\r\n\r\n",
    "long target": b"GET /" + b"a" * limits.TARGET_BYTES_MAX + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "many headers": GET
    + b"".join(b"X-%d: a\r\n" % index for index in range(limits.HEADERS_MAX))
    + b"\r\n",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_head_is_turned_away(data: bytes) -> None:
    assert read(data) == "malformed_request"


@pytest.mark.parametrize("data", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_framing_that_can_be_read_in_two_ways_is_turned_away(data: bytes) -> None:
    assert read(data) == "ambiguous_framing"


@pytest.mark.parametrize("data", UNSUPPORTED.values(), ids=UNSUPPORTED)
def test_other_protocols_are_turned_away(data: bytes) -> None:
    assert read(data) == "unsupported_protocol"


@pytest.mark.parametrize("data", TOO_LARGE.values(), ids=TOO_LARGE)
def test_a_head_over_its_bounds_is_turned_away(data: bytes) -> None:
    assert whole(data) == byte_by_byte(data) == "head_too_large"


def test_a_bare_line_feed_is_noticed_without_waiting_for_more() -> None:
    assert whole(b"GET / HTTP/1.1\n") == "malformed_request"


@pytest.mark.parametrize("data", [*MALFORMED.values(), *AMBIGUOUS.values(), *UNSUPPORTED.values()])
def test_a_detail_never_quotes_the_request(data: bytes) -> None:
    marked = data.replace(b"Host: a", b"Host: marker.example")
    marked = marked.replace(b"X-Any", b"X-Marker").replace(b"x-any", b"x-marker")
    with pytest.raises(TurnAway) as turned_away:
        check_head(marked[: request_head_end(bytearray(marked))])
    assert "marker" not in turned_away.value.detail.lower()


@pytest.mark.parametrize("end", range(1, len(GET) + 2))
def test_an_incomplete_head_waits(end: int) -> None:
    assert whole((GET + b"\r\n")[:end]) == "incomplete"


def test_an_honest_head_is_read_as_it_stands() -> None:
    head = read(
        b"POST /openai/v1/chat/completions?a=b%20c HTTP/1.1\r\n"
        b"hOST: 127.0.0.1:4141\r\nContent-Type:\tapplication/json \r\n"
        b"Content-Length: 42\r\nX-Note: caf\xe9 a\tb\r\nX-Empty:\r\n\r\n"
    )
    assert head == Head(
        method="POST",
        target="/openai/v1/chat/completions?a=b%20c",
        headers={
            "host": "127.0.0.1:4141",
            "content-type": "application/json",
            "content-length": "42",
            "x-note": "caf\xe9 a\tb",
            "x-empty": "",
        },
        content_length=42,
        chunked=False,
        expect_continue=False,
        keep_alive=True,
    )


@pytest.mark.parametrize(
    "path",
    [
        b"/model/anthropic.claude-v1%3A0/converse",
        b"/v1beta/models/gemini-1.5:generateContent?alt=sse",
        b"/a/...",
        b"/a/.well-known/b",
        b"/a/b..c/%2e.x",
        b"//a//b",
    ],
)
def test_paths_that_providers_use_pass_undecoded(path: bytes) -> None:
    head = read(b"GET " + path + b" HTTP/1.1\r\nHost: a\r\n\r\n")
    assert isinstance(head, Head)
    assert head.target == path.decode()


def test_expect_continue_counts_only_with_a_body_on_1_1() -> None:
    expect = b"Expect: 100-Continue\r\n"
    assert read(POST + b"Content-Length: 1\r\n" + expect + b"\r\n").expect_continue  # type: ignore[union-attr]  # a str would fail too
    assert read(POST + b"Transfer-Encoding: chunked\r\n" + expect + b"\r\n").expect_continue  # type: ignore[union-attr]  # as above
    assert not read(POST + b"Content-Length: 0\r\n" + expect + b"\r\n").expect_continue  # type: ignore[union-attr]  # as above
    old = b"POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 1\r\n" + expect + b"\r\n"
    assert not read(old).expect_continue  # type: ignore[union-attr]  # as above


@pytest.mark.parametrize(
    ("data", "keep_alive"),
    [
        (GET + b"\r\n", True),
        (GET + b"Connection: keep-alive\r\n\r\n", True),
        (GET + b"Connection: Close\r\n\r\n", False),
        (GET + b"Connection: te\r\nConnection: foo , close\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", False),
    ],
)
def test_keep_alive_is_what_both_versions_say(data: bytes, keep_alive: bool) -> None:
    head = read(data)
    assert isinstance(head, Head)
    assert head.keep_alive is keep_alive


@pytest.mark.parametrize("name", sorted(IDENTITY_HEADERS))
def test_a_second_identity_is_left_to_the_ruling(name: str) -> None:
    line = name.title().encode()
    head = read(GET + line + b": first\r\n" + line + b": second\r\n\r\n")
    assert isinstance(head, Head)
    assert head.duplicated == {name}
    assert head.headers[name] == "first"


@pytest.mark.parametrize("name", sorted(LISTED_HEADERS - {"upgrade"}))
def test_lines_of_a_list_are_joined(name: str) -> None:
    line = name.encode()
    head = read(GET + line + b": a\r\nX: y\r\n" + line.upper() + b": b\r\n\r\n")
    assert isinstance(head, Head)
    assert head.headers[name] == "a, b"
    assert head.duplicated == frozenset()


# -- whose host it is ------------------------------------------------------------------------

HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})


@pytest.mark.parametrize(
    ("host", "origin", "expected"),
    [
        (b"127.0.0.1:4141", None, True),
        (b"LOCALHOST", None, True),
        (b"[::1]:4141", None, True),
        (b"localhost.", None, False),
        (b"evil.example", None, False),
        (b"127.0.0.1.evil.example", None, False),
        (b"localhost", b"http://localhost:3000", True),
        (b"localhost", b"https://[::1]", True),
        (b"localhost", b"http://evil.example", False),
        (b"localhost", b"http://localhost.evil.example", False),
        (b"localhost", b"http://localhost@evil.example", False),
        (b"localhost", b"null", False),
        (b"localhost", b"", False),
    ],
)
def test_a_foreign_host_or_origin_is_seen(
    host: bytes, origin: bytes | None, expected: bool
) -> None:
    line = b"" if origin is None else b"Origin: " + origin + b"\r\n"
    head = check_head(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n" + line + b"\r\n")
    assert names_listener(head, HOSTS) is expected


# -- answers ---------------------------------------------------------------------------------

OK = b"HTTP/1.1 200 OK\r\n"
INVALID_ANSWERS = {
    "not HTTP": b"SSH-2.0-x\r\n\r\n",
    "HTTP/2": b"HTTP/2.0 200 OK\r\n\r\n",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "status 600": b"HTTP/1.1 600 X\r\n\r\n",
    "bare LF": b"HTTP/1.1 200 OK\nX: a\r\n\r\n",
    "folded": OK + b"X: a\r\n b\r\n\r\n",
    "space before the colon": OK + b"X : a\r\n\r\n",
    "NUL": OK + b"X: a\0\r\n\r\n",
    "TE with CL": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
    "TE on 1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "gzip TE": OK + b"Transfer-Encoding: gzip\r\n\r\n",
    "two lengths": OK + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\n",
    "length list": OK + b"Content-Length: 3, 3\r\n\r\n",
    "bad length": OK + b"Content-Length: x\r\n\r\n",
    "two types": OK + b"Content-Type: a/b\r\nContent-Type: c/d\r\n\r\n",
    "encoded": OK + b"Content-Encoding: gzip\r\n\r\n",
    "many headers": OK + b"X: a\r\n" * (limits.HEADERS_MAX + 1) + b"\r\n",
}


@pytest.mark.parametrize("raw", INVALID_ANSWERS.values(), ids=INVALID_ANSWERS)
def test_an_answer_that_is_not_plain_http_is_invalid(raw: bytes) -> None:
    with pytest.raises(UpstreamFailed) as failed:
        check_answer(raw)
    assert failed.value.code == "upstream_invalid"


@pytest.mark.parametrize("status", [101, 300, 301, 302, 303, 304, 307, 308, 399])
def test_an_upstream_never_sends_the_call_elsewhere(status: int) -> None:
    with pytest.raises(UpstreamFailed) as failed:
        check_answer(b"HTTP/1.1 %d X\r\nLocation: http://a/\r\n\r\n" % status)
    assert failed.value.code == "upstream_redirect"


def test_an_answers_headers_keep_their_order_and_repetition() -> None:
    head, framing = check_answer(
        b"HTTP/1.1 200\r\nServer_x: a\r\nSet-Cookie: a\r\nset-cookie: b\r\n"
        b"Transfer-Encoding: Chunked\r\nContent-Encoding: identity\r\n\r\n"
    )
    assert head.status == 200
    assert head.headers[:3] == (("server_x", "a"), ("set-cookie", "a"), ("set-cookie", "b"))
    assert framing.chunked
    assert framing.keep_alive


# -- properties ------------------------------------------------------------------------------


@given(st.binary(max_size=200))
def test_any_bytes_give_a_head_a_code_or_a_wait(data: bytes) -> None:
    for prefix in (b"", GET):
        result = whole(prefix + data + b"\r\n\r\n")
        assert isinstance(result, Head | str)
        if isinstance(result, Head):
            assert not any(c in value for value in result.headers.values() for c in "\r\n\0")


@given(st.sampled_from([*MALFORMED.values(), *AMBIGUOUS.values()]), st.integers(1, 60))
def test_no_split_of_the_bytes_lets_an_attack_through(data: bytes, cut: int) -> None:
    buffer = bytearray(data[:cut])
    try:
        end = request_head_end(buffer)
        if end is None:
            searched = len(buffer)
            buffer += data[cut:]
            end = request_head_end(buffer, searched)
        assert end is not None
        check_head(bytes(buffer[:end]))
    except TurnAway:
        return
    pytest.fail("the attack was accepted")
