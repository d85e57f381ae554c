"""Each framing has one end, and nothing else is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.body import (
    Body,
    BodyBroken,
    BodyWriter,
    ChunkedBody,
    ClosedBody,
    CountedBody,
    LengthMismatch,
)

WHOLE: dict[str, tuple[Callable[[], Body], bytes, bytes]] = {
    "counted": (lambda: CountedBody(3), b"abc", b"abc"),
    "empty": (lambda: CountedBody(0), b"", b""),
    "chunked": (ChunkedBody, b"2\r\nab\r\n1;x=y\r\nc\r\n0\r\nT: u\r\n\r\n", b"abc"),
    "empty chunked": (ChunkedBody, b"0\r\n\r\n", b""),
}


@pytest.mark.parametrize("step", [1, 3, 1000])
@pytest.mark.parametrize(("make", "wire", "body"), WHOLE.values(), ids=WHOLE)
def test_a_body_ends_at_its_end_and_what_follows_is_kept(
    make: Callable[[], Body], wire: bytes, body: bytes, step: int
) -> None:
    reader = make()
    data = wire + b"next"
    for index in range(0, len(data), step):
        reader.feed(data[index : index + step])
    assert reader.done
    assert (reader.take() or b"") == body
    assert reader.take() == b""
    assert reader.surplus == b"next"
    assert reader.bytes_read == len(body)


@pytest.mark.parametrize("missing", [1, 2, 3])
@pytest.mark.parametrize("kind", ["counted", "chunked"])
def test_a_connection_that_ends_early_is_a_fault_after_its_bytes(kind: str, missing: int) -> None:
    make, wire, _ = WHOLE[kind]
    reader = make()
    reader.feed(wire[:-missing])
    reader.feed(b"")
    got = b""
    for _ in range(5):
        try:
            got += reader.take() or b""
        except BodyBroken:
            break
    else:
        pytest.fail("the body ended cleanly")
    assert b"abc".startswith(got)
    assert not reader.done


def test_a_body_without_framing_ends_with_the_connection_only() -> None:
    reader = ClosedBody()
    reader.feed(b"ab")
    assert reader.take() == b"ab"
    assert reader.take() is None
    reader.feed(b"")
    assert reader.take() == b""


def test_a_failed_body_takes_in_nothing_more() -> None:
    reader = CountedBody(3)
    reader.feed(b"ab")
    reader.fail("reset")
    reader.feed(b"c")
    assert reader.take() == b"ab"
    with pytest.raises(BodyBroken, match="reset"):
        reader.take()


def test_no_write_but_the_end_ends_a_chunked_body() -> None:
    writer = BodyWriter("chunked")
    assert writer.write(b"") == b""
    assert writer.write(b"x" * 17) == b"11\r\n" + b"x" * 17 + b"\r\n"
    assert not writer.done
    assert writer.end() == b"0\r\n\r\n"
    assert writer.done


@pytest.mark.parametrize(("parts", "fails"), [((2, 1), False), ((2,), True), ((2, 2), True)])
def test_a_declared_length_is_kept(parts: tuple[int, ...], fails: bool) -> None:
    writer = BodyWriter("counted", 3)
    try:
        for part in parts:
            writer.write(bytes(part))
        assert writer.end() == b""
    except LengthMismatch:
        assert fails
    assert writer.done is not fails


@given(st.lists(st.binary(max_size=30), max_size=6), st.sampled_from(["counted", "chunked"]))
def test_what_is_written_is_what_is_read(
    parts: list[bytes], framing: Literal["counted", "chunked"]
) -> None:
    body = b"".join(parts)
    writer = BodyWriter(framing, len(body) if framing == "counted" else 0)
    wire = b"".join(map(writer.write, parts)) + writer.end()
    reader = CountedBody(len(body)) if framing == "counted" else ChunkedBody()
    for index in range(len(wire)):
        reader.feed(wire[index : index + 1])
    assert reader.done
    assert (reader.take() or b"") == body
    assert reader.surplus == b""
