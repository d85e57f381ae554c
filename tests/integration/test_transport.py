"""HTTP as agents without an SDK speak it: keep-alive, chunks, 100-continue, and bad neighbours."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from tests.integration import raw
from tests.integration.rules import DENIED_MODEL, MODEL
from tests.integration.system import Daemon

pytestmark = pytest.mark.integration


@pytest.fixture(params=["tcp", "socket"])
def connection(request: pytest.FixtureRequest, daemon: Daemon) -> Iterator[raw.RawConnection]:
    with raw.RawConnection(daemon.port if request.param == "tcp" else daemon.socket) as opened:
        yield opened


def test_one_connection_serves_one_call_after_the_other(connection: raw.RawConnection) -> None:
    for model, status in ((MODEL, 200), (DENIED_MODEL, 403), (MODEL, 200)):
        connection.send(raw.chat_request(model))
        assert connection.reply().status == status


def test_calls_sent_at_once_are_answered_in_order(connection: raw.RawConnection) -> None:
    connection.send(raw.chat_request(MODEL, text="one two three") + raw.chat_request(DENIED_MODEL))
    first, second = connection.reply(), connection.reply()
    assert (first.status, second.status) == (200, 403)


def test_a_body_in_chunks_is_a_body(connection: raw.RawConnection) -> None:
    body = raw.chat(MODEL, "four words are here")
    chunks = b"".join(b"%x\r\n%b\r\n" % (1, body[at : at + 1]) for at in range(len(body)))
    connection.send(
        b"POST /openai/v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        + chunks
        + b"0\r\n\r\n"
    )
    reply = connection.reply()
    assert reply.status == 200
    assert b"you sent 4 words" in reply.body


def test_a_waiting_caller_is_told_to_go_on(connection: raw.RawConnection) -> None:
    body = raw.chat(MODEL)
    head = raw.request(
        "POST",
        "/openai/v1/chat/completions",
        headers={"Expect": "100-continue", "Content-Length": str(len(body))},
    )
    connection.send(head)
    assert connection.socket.recv(64) == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.send(body)
    assert connection.reply().status == 200


def test_one_bad_connection_harms_no_other(daemon: Daemon, connection: raw.RawConnection) -> None:
    for junk in (
        b"\x16\x03\x01\x02\x00\x01",
        b"NONSENSE\r\n\r\n",
        b"\x00" * 64,
        b"GET / HTTP/9\r\n",
    ):
        with raw.RawConnection(daemon.port) as bad:
            bad.send(junk)
            bad.hang_up()
    connection.send(raw.chat_request(MODEL))
    assert connection.reply().status == 200


def test_a_long_prompt_passes_whole(connection: raw.RawConnection) -> None:
    connection.send(raw.chat_request(MODEL, text="word " * 400_000))
    reply = connection.reply()
    assert reply.status == 200
    assert b"you sent 400000 words" in reply.body


def test_a_streams_head_and_first_event_come_before_its_end(
    connection: raw.RawConnection,
) -> None:
    connection.send(raw.chat_request("fault-stall-stream", stream=True))
    response = connection.begin_reply()
    assert response.status == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    first = msgspec.json.decode(response.readline().removeprefix(b"data: "))
    assert first["object"] == "chat.completion.chunk"


def test_a_content_length_of_another_body_is_not_believed(connection: raw.RawConnection) -> None:
    """The second request hidden in the first one's body is a body, never a request."""
    hidden = raw.chat_request(MODEL)
    connection.send(raw.request("POST", "/openai/v1/chat/completions", hidden))
    assert connection.reply().code == "unreadable_body"
