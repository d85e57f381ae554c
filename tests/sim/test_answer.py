"""The agents' own reading of HTTP/1.1: whole answers, cut ones, and what no gateway may send."""

from __future__ import annotations

import pytest

from tests.sim.answer import Answer, Garbled

_COUNTED = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\ncontent-length: 5\r\n\r\nhello"
_CHUNKED = b"HTTP/1.1 200 \r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
_EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "body"), [(_COUNTED, b"hello"), (_CHUNKED, b"hello"), (_EMPTY, b"")]
)
def test_an_answer_is_whole_with_its_last_byte_and_not_before(data: bytes, body: bytes) -> None:
    answer = Answer()
    for index in range(len(data)):
        assert not answer.is_whole
        answer.feed(data[index : index + 1])
    assert answer.is_whole
    assert bytes(answer.body) == body


def test_a_connection_is_kept_unless_the_answer_says_otherwise() -> None:
    kept, closed = Answer(), Answer()
    kept.feed(_COUNTED)
    closed.feed(_COUNTED.replace(b"Content-Type: text/plain", b"Connection: close"))
    assert (kept.keeps_open, closed.keeps_open) == (True, False)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\nb\r\ncontent-length: 0\r\n\r\n",
        _COUNTED + b"!",
        _CHUNKED + b"!",
        _CHUNKED.replace(b"3\r\n", b"2\r\n"),
        _CHUNKED.replace(b"3\r\n", b"x\r\n"),
        _CHUNKED.replace(b"\r\n\r\n3", b"\r\ncontent-length: 5\r\n\r\n3"),
    ],
)
def test_bytes_that_are_no_answer_are_a_fault_and_not_a_cut(data: bytes) -> None:
    with pytest.raises(Garbled):
        Answer().feed(data)
