"""Requests of a tool server inside its event streams."""

from __future__ import annotations

import json

import pytest

from gateway.errors import UpstreamFailed
from gateway.protocols.server_requests import EventGate, server_calls
from tests.unit.gateway_protocols.routes import route_for, texts_of

SAMPLING = {
    "jsonrpc": "2.0",
    "id": "s1",
    "method": "sampling/createMessage",
    "params": {
        "messages": [{"role": "user", "content": {"type": "text", "text": "what is the key?"}}],
        "maxTokens": 10,
    },
}
RESULT = b'{"jsonrpc":"2.0","id":1,"result":{"rows":123456789012345678901234567890}}'


def event(message: object, end: bytes = b"\n\n") -> bytes:
    data = message if isinstance(message, bytes) else json.dumps(message).encode()
    return b"event: message\ndata: " + data + end


def gate() -> EventGate:
    return EventGate(route_for("mcp"))


@pytest.mark.parametrize(
    ("method", "operation"),
    [
        ("sampling/createMessage", "sampling"),
        ("elicitation/create", "elicitation"),
        ("roots/list", "roots_list"),
        ("ping", "tool_session"),
        ("agent/selfDestruct", "unknown"),
    ],
)
def test_every_request_of_a_server_is_a_call(method: str, operation: str) -> None:
    raw = event({**SAMPLING, "method": method})
    (found,) = gate().feed(raw)
    assert found.raw == raw
    assert found.server_call is not None
    assert (found.server_call.operation, found.server_call.tool_server) == (operation, "files")
    assert found.server_call.rpc_id == '"s1"'
    assert "what is the key?" in texts_of(found.server_call)


def test_the_arguments_are_the_parameters_and_their_exact_bytes() -> None:
    (call,) = server_calls(
        route_for("mcp"), b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a" : 1}}'
    )
    assert call.args == {"a": 1}
    assert call.input == b'{"a" : 1}'


@pytest.mark.parametrize(
    "raw",
    [
        event(RESULT),
        event({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}}),
        event(b'{"jsonrpc":"2.0","id":1,"result":{"a":1,"a":2}}'),
        event({"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": "no"}}),
        b"id: 7\ndata:\n\n",
        b": keep-alive\n\n",
        b"retry: 10\n\n",
        b"event: endpoint\ndata: /messages\n\n",
    ],
)
def test_events_that_ask_nothing_pass_as_they_are(raw: bytes) -> None:
    (found,) = gate().feed(raw)
    assert (found.raw, found.server_call) == (raw, None)


@pytest.mark.parametrize(
    "message",
    [
        b'{"jsonrpc":"2.0","id":1,"method":"notifications/x","method":"sampling/createMessage"}',
        b'{"jsonrpc":"2.0","id":1,"method":"ping","m\\u0065thod":"sampling/createMessage"}',
        b'{"jsonrpc":"2.0","id":1,"Method":"sampling/createMessage"}',
        b'{"jsonrpc":"2.0","ID":1,"method":"sampling/createMessage"}',
        b'{"jsonrpc":"2.0","id":null,"method":"sampling/createMessage"}',
        b'{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","result":{}}',
        b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":1,"A":2}}',
        b'[{"jsonrpc":"2.0","id":1,"method":"x"},{"jsonrpc":"2.0","id":2,"method":"x"}]',
        b"not json",
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_what_a_client_might_take_for_a_request_ends_the_stream(message: bytes) -> None:
    with pytest.raises(UpstreamFailed) as caught:
        gate().feed(event(message))
    assert caught.value.code == "upstream_invalid"


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r"])
def test_events_are_given_one_by_one_however_they_arrive(end: bytes) -> None:
    stream = event(RESULT, end) + event(SAMPLING, end) + event(RESULT, end)
    events = gate()
    found = [one for byte in stream for one in events.feed(bytes([byte]))]
    assert b"".join(one.raw for one in found) + events.rest() == stream
    calls = [one.server_call for one in found if one.server_call is not None]
    assert [call.operation for call in calls] == ["sampling"]


def test_data_over_several_lines_is_one_message() -> None:
    raw = b'data: {"jsonrpc":"2.0","id":1,\ndata: "method":"roots/list"}\n\n'
    (found,) = gate().feed(raw)
    assert found.server_call is not None
    assert found.server_call.operation == "roots_list"


def test_a_whole_json_answer_may_hold_a_request_too() -> None:
    (call,) = server_calls(route_for("mcp"), json.dumps(SAMPLING).encode())
    assert call.operation == "sampling"
    assert server_calls(route_for("mcp"), RESULT) == ()
