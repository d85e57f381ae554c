"""Bytes in, heads and bodies out, and back: each message has one reading and one end."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import limits
from gateway.body import LengthMismatch
from gateway.errors import TurnAway, UpstreamFailed
from gateway.http1 import ClientSide, HeadInvalid, ServerSide
from gateway.wire import Answer, OutgoingRequest, UpstreamHead

Cut = Callable[[bytes], Iterator[bytes]]


def together(data: bytes) -> Iterator[bytes]:
    yield data


def singly(data: bytes) -> Iterator[bytes]:
    for index in range(len(data)):
        yield data[index : index + 1]


CUTS = pytest.mark.parametrize("cut", [together, singly])


def requests(data: bytes, cut: Cut = together) -> tuple[list[tuple[str, bytes]], bytes]:
    """(target, body) of each request in ``data``, and the answers, one ``200`` per request."""
    side = ServerSide()
    parts = cut(data)
    served: list[tuple[str, bytes]] = []
    answers = b""
    while True:
        while (head := side.read_head()) is None:
            part = next(parts, None)
            if part is None:
                return served, answers
            side.receive(part)
        body = b""
        while (piece := side.read_body()) != b"":
            if piece is None:
                part = next(parts, None)
                if part is None:
                    return served, answers
                side.receive(part)
            else:
                body += piece
        served.append((head.target, body))
        answers += side.write_answer(Answer(status=200, headers=(), body=b"ok"), close=False)


def post(target: bytes, framing: bytes, body: bytes) -> bytes:
    return b"POST " + target + b" HTTP/1.1\r\nHost: a\r\n" + framing + b"\r\n\r\n" + body


TWO = b"Content-Length: 2"
CHUNKED = b"Transfer-Encoding: chunked"


@CUTS
def test_pipelined_requests_are_read_one_after_the_other(cut: Cut) -> None:
    data = (
        post(b"/1", TWO, b"ab")
        + b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n"
        + post(b"/3", CHUNKED, b"3;ext=1\r\ncde\r\n1\r\nf\r\n0\r\nTrailer: dropped\r\n\r\n")
        + post(b"/4", b"Content-Length: 0", b"")
    )
    served, answers = requests(data, cut)
    assert served == [("/1", b"ab"), ("/2", b""), ("/3", b"cdef"), ("/4", b"")]
    assert answers == 4 * b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


BROKEN_CHUNKS = {
    "hex prefix": b"0x2\r\nab\r\n0\r\n\r\n",
    "negative size": b"-2\r\nab\r\n0\r\n\r\n",
    "no size": b"\r\nab\r\n0\r\n\r\n",
    "space before the size": b" 2\r\nab\r\n0\r\n\r\n",
    "line feed after the size": b"2\nab\r\n0\r\n\r\n",
    "data too long": b"2\r\nabc\r\n0\r\n\r\n",
    "data ended by a line feed": b"2\r\nab\n0\r\n\r\n",
    "end by a bare line feed": b"2\r\nab\r\n0\r\n\n",
    "trailers ended by a bare line feed": b"2\r\nab\r\n0\r\nX: a\n\n",
    "trailer without a name": b"2\r\nab\r\n0\r\n: a\r\n\r\n",
    "endless size line": b"2;" + b"a" * (limits.CHUNK_LINE_BYTES_MAX + 1),
    "endless trailers": b"0\r\n" + b"X: a\r\n" * limits.CHUNK_LINE_BYTES_MAX,
    "mostly framing": b"1;abcdefghijk\r\na\r\n" * 2_000 + b"0\r\n\r\n",
}


@CUTS
@pytest.mark.parametrize("body", BROKEN_CHUNKS.values(), ids=BROKEN_CHUNKS)
def test_a_body_with_broken_chunks_is_malformed(body: bytes, cut: Cut) -> None:
    with pytest.raises(TurnAway) as turned_away:
        requests(post(b"/", CHUNKED, body) + b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n", cut)
    assert turned_away.value.code == "malformed_request"


def test_an_honest_body_of_small_chunks_passes() -> None:
    body = b"10\r\n0123456789abcdef\r\n" * 4_000
    served, _ = requests(post(b"/", CHUNKED, body + b"0\r\n\r\n"))
    assert served == [("/", b"0123456789abcdef" * 4_000)]


def test_a_cut_body_is_never_whole() -> None:
    for framing, body in ((b"Content-Length: 9", b"ab"), (CHUNKED, b"2\r\nab\r\n")):
        assert requests(post(b"/", framing, body)) == ([], b"")


# -- answers to the application --------------------------------------------------------------


def serving(request: bytes) -> ServerSide:
    side = ServerSide()
    side.receive(request)
    assert side.read_head() is not None
    return side


GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
ANSWER = Answer(status=403, headers=(("content-type", "a/b"),), body=b"no")


def test_a_turn_away_needs_no_understood_request() -> None:
    for before in (b"", GET):
        side = ServerSide() if not before else serving(before)
        if before:
            side.write_answer(ANSWER, close=False)
        side.receive(b"get / HTTP/1.1\r\n\r\n")
        with pytest.raises(TurnAway):
            side.read_head()
        written = side.write_answer(ANSWER, close=True)
        assert written.startswith(b"HTTP/1.1 403 Forbidden\r\ncontent-type: a/b\r\n")
        assert b"connection: close\r\n" in written
        assert written.endswith(b"\r\n\r\nno")


def test_an_answer_to_head_has_a_length_and_no_body() -> None:
    side = serving(GET.replace(b"GET", b"HEAD"))
    written = side.write_answer(ANSWER, close=False)
    assert written.endswith(b"content-length: 2\r\n\r\n")


def test_a_stream_is_chunked_on_1_1_and_ends_by_closing_on_1_0() -> None:
    side = serving(GET)
    head = side.write_head(200, (), None, close=False)
    assert b"chunked" in head
    assert not side.close_delimited
    assert side.write_data(b"abc") + side.write_end() == b"3\r\nabc\r\n0\r\n\r\n"
    side = serving(GET.replace(b"1.1", b"1.0"))
    head = side.write_head(200, (), None, close=True)
    assert b"chunked" not in head
    assert b"connection: close" in head
    assert side.close_delimited
    assert side.write_data(b"abc") + side.write_end() == b"abc"
    assert not side.close_delimited


@pytest.mark.parametrize("status", [204, 304])
def test_statuses_without_a_body_have_none(status: int) -> None:
    side = serving(GET)
    head = side.write_head(status, (), 5, close=False)
    assert b"content-" not in head
    assert b"transfer-" not in head
    assert side.write_data(b"abcde") + side.write_end() == b""


def test_a_length_is_kept_to_the_byte() -> None:
    side = serving(GET)
    side.write_head(200, (), 3, close=False)
    with pytest.raises(LengthMismatch):
        side.write_data(b"abcd")
    side = serving(GET)
    side.write_head(200, (), 3, close=False)
    side.write_data(b"ab")
    with pytest.raises(LengthMismatch):
        side.write_end()


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\n", "a\r", "a\0"])
def test_no_value_can_end_a_line_of_ours(value: str) -> None:
    with pytest.raises(HeadInvalid):
        serving(GET).write_head(200, (("x", value),), 0, close=False)
    request = OutgoingRequest(method="GET", target="/", headers=(("x", value),), content_length=0)
    with pytest.raises(HeadInvalid):
        ClientSide(request, "up").write_head()


@pytest.mark.parametrize("target", ["/a b", "/a\r\nb: c", "/a HTTP/1.1\r\n", "", "a"])
def test_no_target_can_end_a_request_line(target: str) -> None:
    request = OutgoingRequest(method="GET", target=target, headers=(), content_length=0)
    with pytest.raises(HeadInvalid):
        ClientSide(request, "up").write_head()


# -- requests to an upstream -----------------------------------------------------------------


def outgoing(method: str, content_length: int | None) -> OutgoingRequest:
    return OutgoingRequest(
        method=method, target="/v1?a=%20", headers=(("x", "y"),), content_length=content_length
    )


def asked(method: str = "POST", content_length: int | None = 2) -> ClientSide:
    side = ClientSide(outgoing(method, content_length), "up:1")
    side.write_head()
    if content_length:
        side.write_data(b"ab")
    side.write_end()
    return side


def test_a_request_is_built_from_values_only() -> None:
    side = ClientSide(outgoing("POST", 2), "up:1")
    head = side.write_head()
    assert head + side.write_data(b"ab") + side.write_end() == (
        b"POST /v1?a=%20 HTTP/1.1\r\nhost: up:1\r\nx: y\r\ncontent-length: 2\r\n\r\nab"
    )


@pytest.mark.parametrize(
    ("method", "content_length", "framing"),
    [
        ("GET", 0, None),
        ("HEAD", 0, None),
        ("DELETE", 0, None),
        ("POST", 0, b"content-length: 0"),
        ("PUT", 0, b"content-length: 0"),
        ("DELETE", 2, b"content-length: 2"),
        ("POST", None, b"transfer-encoding: chunked"),
    ],
)
def test_framing_of_a_request_is_ours(
    method: str, content_length: int | None, framing: bytes | None
) -> None:
    head = ClientSide(outgoing(method, content_length), "up").write_head()
    lines = head.split(b"\r\n")[3:-2]
    assert lines == ([] if framing is None else [framing])


def test_a_request_body_keeps_its_declared_length() -> None:
    side = ClientSide(outgoing("POST", 3), "up")
    side.write_head()
    side.write_data(b"ab")
    with pytest.raises(LengthMismatch):
        side.write_end()


def answer(
    data: bytes, cut: Cut = together, side: ClientSide | None = None, *, ended: bool = True
) -> tuple[UpstreamHead, bytes, ClientSide]:
    """The answer in ``data``, after which the connection ends if ``ended``."""
    side = side or asked()
    parts = iter([*cut(data), *([b""] if ended else [])])
    while (head := side.read_head()) is None:
        side.receive(next(parts))
    body = b""
    while (piece := side.read_body()) != b"":
        if piece is None:
            side.receive(next(parts))
        else:
            body += piece
    for rest in parts:
        side.receive(rest)
    return head, body, side


OK = b"HTTP/1.1 200 OK\r\n"
ANSWERS = {
    "length": (OK + b"Content-Length: 3\r\n\r\nabc", b"abc", True),
    "no body": (OK + b"Content-Length: 0\r\n\r\n", b"", True),
    "chunks": (OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", b"abc", True),
    "close": (OK + b"Connection: Close\r\nContent-Length: 3\r\n\r\nabc", b"abc", False),
    "1xx first": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: a\r\n\r\n"
        + OK
        + b"Content-Length: 1\r\n\r\na",
        b"a",
        True,
    ),
    "1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", b"a", False),
    "more than asked for": (OK + b"Content-Length: 1\r\n\r\na" + OK, b"a", False),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
}


@CUTS
@pytest.mark.parametrize("case", ANSWERS.values(), ids=ANSWERS)
def test_an_answer_is_read_to_its_end(case: tuple[bytes, bytes, bool], cut: Cut) -> None:
    data, body, reusable = case
    head, got, side = answer(data, cut, ended=False)
    assert head.status in (200, 204)
    assert got == body
    assert side.reusable is reusable


def test_an_answer_without_framing_ends_with_the_connection() -> None:
    for version in (b"1.1", b"1.0"):
        _, body, side = answer(b"HTTP/" + version + b" 200 OK\r\n\r\nabc", singly)
        assert body == b"abc"
        assert not side.reusable


def test_an_answer_to_head_has_no_body() -> None:
    side = asked("HEAD", 0)
    _, body, side = answer(OK + b"Content-Length: 9\r\n\r\n", side=side, ended=False)
    assert body == b""
    assert side.reusable


CUT_ANSWERS = {
    "length": OK + b"Content-Length: 9\r\n\r\nabc",
    "chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n9\r\nabc",
    "between chunks": OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    "before the last line": OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
    "bad chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n",
}


@CUTS
@pytest.mark.parametrize("data", CUT_ANSWERS.values(), ids=CUT_ANSWERS)
def test_a_cut_answer_gives_its_bytes_and_then_an_error(data: bytes, cut: Cut) -> None:
    side = asked()
    for part in (*cut(data), b""):
        side.receive(part)
    assert side.read_head() is not None
    assert side.read_body() == b"abc"
    with pytest.raises(UpstreamFailed) as failed:
        side.read_body()
    assert failed.value.code == "upstream_invalid"
    assert not side.reusable


def test_a_reset_is_never_the_end_of_an_answer() -> None:
    for before in (True, False):
        side = asked()
        side.receive(OK + b"\r\nabc")
        if before:
            side.receive_reset()
        assert side.read_head() is not None
        if not before:
            side.receive_reset()
        assert side.read_body() == b"abc"
        with pytest.raises(UpstreamFailed, match="reset"):
            side.read_body()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "upstream_unreachable"),
        (b"H", "upstream_invalid"),
        (OK, "upstream_invalid"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "upstream_invalid"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 99, "upstream_invalid"),
        (b"HTTP/1.1 101 Switching\r\n\r\n", "upstream_redirect"),
        (OK + b"X: " + b"a" * limits.HEAD_BYTES_MAX, "upstream_invalid"),
        (b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", "upstream_invalid"),
    ],
)
def test_an_answer_that_never_becomes_a_head_is_an_error(data: bytes, code: str) -> None:
    side = asked()
    side.receive(data)
    side.receive(b"")
    with pytest.raises(UpstreamFailed) as failed:
        side.read_head()
    assert failed.value.code == code


def test_a_connection_is_not_reused_while_the_request_is_unfinished() -> None:
    side = ClientSide(outgoing("POST", 9), "up")
    side.write_head()
    side.receive(b"HTTP/1.1 413 X\r\nContent-Length: 0\r\n\r\n")
    head = side.read_head()
    assert head is not None
    assert head.status == 413
    assert side.read_body() == b""
    assert not side.reusable


# -- properties ------------------------------------------------------------------------------


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=5), st.booleans())
def test_what_one_side_writes_the_other_reads(parts: list[bytes], chunked: bool) -> None:
    body = b"".join(parts)
    client = ClientSide(outgoing("POST", None if chunked else len(body)), "up")
    wire = client.write_head()
    wire += b"".join(map(client.write_data, parts)) + client.write_end()
    served, answers = requests(wire + wire, singly)
    assert served == [("/v1?a=%20", body)] * 2
    _, got, client = answer(answers[: len(answers) // 2], singly, client, ended=False)
    assert got == b"ok"
    assert client.reusable


@given(st.binary(max_size=80))
def test_junk_after_a_head_never_breaks_the_reader(junk: bytes) -> None:
    try:
        requests(post(b"/", CHUNKED, junk), singly)
        answer(OK + b"Transfer-Encoding: chunked\r\n\r\n" + junk, singly)
    except (TurnAway, UpstreamFailed):
        pass
