"""Event streams, cut into events without changing a byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.protocols.sse import EventSplitter, EventTooLarge, event_data, event_type

# stream, its events, what is left of it
STREAMS: list[tuple[bytes, list[bytes], bytes]] = [
    (b"", [], b""),
    (b"data: a\n\n", [b"data: a\n\n"], b""),
    (b"data: a\r\n\r\n", [b"data: a\r\n\r\n"], b""),
    (b"data: a\r\r", [b"data: a\r\r"], b""),
    (b"data: a\n\r\n", [b"data: a\n\r\n"], b""),
    (b"data: a\r\n\n", [b"data: a\r\n\n"], b""),
    (b"data: a\n\ndata: b\n\n", [b"data: a\n\n", b"data: b\n\n"], b""),
    (b"data: a\r\rdata: b\r\r", [b"data: a\r\r", b"data: b\r\r"], b""),
    (b"data: a\n\ndata: b", [b"data: a\n\n"], b"data: b"),
    (b"data: a\n", [], b"data: a\n"),
    (b"event: x\ndata: a\ndata: b\n\n", [b"event: x\ndata: a\ndata: b\n\n"], b""),
    (b": keep-alive\n\ndata: a\n\n", [b": keep-alive\n\n", b"data: a\n\n"], b""),
]


@pytest.mark.parametrize(("stream", "events", "rest"), STREAMS)
def test_events_end_at_blank_lines(stream: bytes, events: list[bytes], rest: bytes) -> None:
    splitter = EventSplitter()
    assert splitter.feed(stream) == events
    assert splitter.rest() == rest


def datas(events: list[bytes]) -> list[bytes]:
    return [data for data in map(event_data, events) if data is not None]


@pytest.mark.parametrize(("stream", "events", "rest"), STREAMS)
def test_byte_by_byte_gives_the_same_data_and_every_byte(
    stream: bytes, events: list[bytes], rest: bytes
) -> None:
    splitter = EventSplitter()
    found = [event for byte in stream for event in splitter.feed(bytes([byte]))]
    assert datas(found) == datas(events)
    assert b"".join(found) + splitter.rest() == stream


LINES = st.sampled_from([b"data: a", b"data:b", b"event: x", b": c", b"id", b"data"])
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


@given(st.lists(st.tuples(st.lists(LINES, min_size=1, max_size=3), ENDS), max_size=5), st.data())
def test_any_cut_of_a_stream_gives_the_same_data(
    parts: list[tuple[list[bytes], bytes]], data: st.DataObject
) -> None:
    stream = b"".join(b"".join(line + end for line in lines) + end for lines, end in parts)
    whole = EventSplitter().feed(stream)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    splitter = EventSplitter()
    found = [
        event
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)
        for event in splitter.feed(stream[start:end])
    ]
    assert datas(found) == datas(whole)
    assert b"".join(found) + splitter.rest() == stream


@pytest.mark.parametrize(
    ("event", "data", "type_"),
    [
        (b"data: a\n\n", b"a", b"message"),
        (b"data:a\n\n", b"a", b"message"),
        (b"data:  a\n\n", b" a", b"message"),
        (b"data\n\n", b"", b"message"),
        (b"data: \n\n", b"", b"message"),
        (b"data: a\r\ndata: b\r\n\r\n", b"a\nb", b"message"),
        (b"event: ping\ndata: {}\n\n", b"{}", b"ping"),
        (b"event:\ndata: {}\n\n", b"{}", b"message"),
        (b"\n\xef\xbb\xbfdata: a\n\n", None, b"message"),
        (b"\xef\xbb\xbfdata: a\n\n", b"a", b"message"),
        (b": comment\n\n", None, b"message"),
        (b"Data: a\n\n", None, b"message"),
        (b"id: 1\ndata: a: b\n\n", b"a: b", b"message"),
    ],
)
def test_fields_are_read_as_the_standard_says(
    event: bytes, data: bytes | None, type_: bytes
) -> None:
    assert event_data(event) == data
    assert event_type(event) == type_


def test_an_event_over_the_bound_ends_the_stream() -> None:
    splitter = EventSplitter(bytes_max=64)
    splitter.feed(b"data: " + b"x" * 58)
    with pytest.raises(EventTooLarge):
        splitter.feed(b"x")


@pytest.mark.parametrize("size", [1, 7, 64, 4096])
def test_a_reader_that_only_looks_on_leaves_large_events_out(size: int) -> None:
    stream = b"data: a\n\ndata: " + b"x" * 1_000 + b"\r\n\r\ndata: b\n\n"
    splitter = EventSplitter(bytes_max=64, drop_large=True)
    found = [
        event
        for start in range(0, len(stream), size)
        for event in splitter.feed(stream[start : start + size])
    ]
    assert datas(found)[0] == b"a"
    assert datas(found)[-1] == b"b"
