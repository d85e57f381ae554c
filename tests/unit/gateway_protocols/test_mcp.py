"""MCP messages as calls."""

from __future__ import annotations

import json

import pytest

from gateway.errors import RequestRefused, TurnAway
from gateway.jsonbody import Decimal
from gateway.limits import RPC_BATCH_MAX
from gateway.protocols import read_calls
from tests.unit.gateway_protocols.routes import call_of, head_for, route_for, texts_of


def message(method: str, params: object = None, **members: object) -> dict[str, object]:
    whole: dict[str, object] = {"jsonrpc": "2.0", "id": 1, "method": method, **members}
    if params is not None:
        whole["params"] = params
    return whole


def call_tool(arguments: object, name: object = "read_file") -> dict[str, object]:
    return message("tools/call", {"name": name, "arguments": arguments})


def test_a_tool_call_names_tool_server_and_arguments() -> None:
    call = call_of("mcp", "", call_tool({"path": "/etc/passwd", "lines": 10}))
    assert (call.operation, call.tool, call.tool_server) == ("tool_call", "read_file", "files")
    assert call.args == {"path": "/etc/passwd", "lines": 10}
    assert (call.rpc_id, call.rpc_notification, call.tool_call_id) == ("1", False, "1")
    assert "/etc/passwd" in texts_of(call)


@pytest.mark.parametrize(
    ("sent", "exact"),
    [
        (b'"arguments": {"a" : 1.50,"b":"\\u0041"} ', b'{"a" : 1.50,"b":"\\u0041"}'),
        (b'"\\u0061rguments":{}', b"{}"),
        (b'"arguments":null', b"null"),
        (b'"_meta":{"arguments":{"x":1}}', None),
    ],
)
def test_input_is_the_exact_bytes_of_the_arguments(sent: bytes, exact: bytes | None) -> None:
    body = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t",' + sent + b"}}"
    assert call_of("mcp", "", body).input == exact


def test_numbers_of_arguments_keep_their_text() -> None:
    body = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":{"a":1.50}}}'  # noqa: E501
    call = call_of("mcp", "", body)
    assert isinstance(call.args, dict)
    assert isinstance(call.args["a"], Decimal)
    assert str(call.args["a"]) == "1.50"


@pytest.mark.parametrize(
    ("method", "operation"),
    [
        ("initialize", "tool_session"),
        ("ping", "tool_session"),
        ("server/discover", "tool_session"),
        ("tools/list", "tool_list"),
        ("resources/list", "resource_list"),
        ("resources/read", "resource_read"),
        ("prompts/get", "prompt_get"),
        ("prompts/list", "prompt_list"),
        ("completion/complete", "completion_list"),
        ("tools/obliterate", "unknown"),
        ("Tools/call", "unknown"),
        ("tools/call ", "unknown"),
    ],
)
def test_methods_have_operations(method: str, operation: str) -> None:
    call = call_of("mcp", "", message(method, {"uri": "file:///x", "_meta": {"note": "hidden"}}))
    assert call.operation == operation
    assert call.tool is None
    assert call.args == {"uri": "file:///x"}
    assert {"file:///x", "hidden"} <= set(texts_of(call))


def test_notifications_and_answers_are_notifications() -> None:
    sent = message("notifications/cancelled", {"requestId": 1, "reason": "bored"})
    del sent["id"]
    call = call_of("mcp", "", sent)
    assert (call.operation, call.rpc_id, call.rpc_notification) == ("tool_notification", None, True)
    assert "bored" in texts_of(call)
    answer = {"jsonrpc": "2.0", "id": 5, "result": {"content": {"type": "text", "text": "words"}}}
    call = call_of("mcp", "", answer)
    assert (call.operation, call.rpc_id, call.rpc_notification) == ("tool_notification", None, True)
    assert "words" in texts_of(call)


@pytest.mark.parametrize(("method", "stream"), [("GET", True), ("DELETE", False)])
def test_streams_and_the_end_of_a_session_have_no_message(method: str, stream: bool) -> None:
    call = call_of("mcp", "", b"", method, content_type="")
    assert (call.operation, call.stream) == ("tool_session", stream)


def test_every_message_of_a_batch_is_a_call() -> None:
    batch = [call_tool({"a": 1}), call_tool({"a": 2}, name="write_file")]
    reading = read_calls(
        route_for("mcp"), head_for("POST", "/mcp/files"), json.dumps(batch).encode()
    )
    assert reading.batch
    assert [call.tool for call in reading.calls] == ["read_file", "write_file"]
    assert [call.input for call in reading.calls] == [b'{"a": 1}', b'{"a": 2}']


REFUSED: list[tuple[object, str]] = [
    ([], "unreadable_body"),
    ([call_tool({})] * (RPC_BATCH_MAX + 1), "unreadable_body"),
    ([call_tool({}), 1], "unreadable_body"),
    ("x", "unreadable_body"),
    ({"id": 1, "method": "ping"}, "unreadable_body"),
    (message("ping", jsonrpc="1.0"), "unreadable_body"),
    (message("ping", id=None), "unreadable_body"),
    (message("ping", id=True), "unreadable_body"),
    (message("ping", id=1.5), "unreadable_body"),
    (message("ping", id=[1]), "unreadable_body"),
    (message("ping", result={}), "unreadable_body"),
    (message("ping", [1, 2]), "unreadable_body"),
    ({"jsonrpc": "2.0", "id": 1}, "unreadable_body"),
    ({"jsonrpc": "2.0", "id": 1, "method": 3}, "unreadable_body"),
    ({"jsonrpc": "2.0", "id": 1, "Method": "tools/call"}, "unreadable_body"),
    (message("ping", Method="tools/call"), "duplicate_keys"),
    (message("tools/call", {"arguments": {}}), "unreadable_body"),
    (message("tools/call", {"name": "", "arguments": {}}), "unreadable_body"),
    (message("tools/call", {"name": "t", "Name": "u"}), "duplicate_keys"),
    (message("tools/call", {"name": "t", "Arguments": {"a": 1}}), "unreadable_body"),
    (call_tool([1]), "unreadable_body"),
    (call_tool("x"), "unreadable_body"),
    (call_tool({"path": "/tmp", "Path": "/etc"}), "duplicate_keys"),
    (call_tool({"properties": {"path": "/tmp", "PATH": "/etc"}}), "duplicate_keys"),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}', "duplicate_keys"),
    (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","n\\u0061me":"u"}}',
     "duplicate_keys"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "code"), REFUSED)
def test_a_message_with_two_readings_is_refused(body: object, code: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        call_of("mcp", "", body)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("name", "method", "header"),
    [
        ("read_file", "tools/call", "read_file"),
        ("größe", "tools/call", "=?base64?Z3LDtsOfZQ==?="),
    ],
)
def test_headers_that_mirror_the_body_are_taken(name: str, method: str, header: str) -> None:
    call = call_of("mcp", "", call_tool({}, name), mcp_method=method, mcp_name=header)
    assert call.tool == name


@pytest.mark.parametrize(
    ("sent", "headers"),
    [
        (call_tool({}), {"mcp_method": "tools/list"}),
        (call_tool({}), {"mcp_name": "write_file"}),
        (call_tool({}), {"mcp_name": "=?base64?cmVhZF9maWxl"}),
        (call_tool({}), {"mcp_name": "=?base64?cmVhZF9maWxlx?="}),
        (call_tool({}), {"mcp_name": "=?base64?/w==?="}),
        (message("tools/list"), {"mcp_name": "read_file"}),
        ([call_tool({}), message("ping")], {"mcp_method": "tools/call"}),
    ],
)
def test_a_header_that_says_something_else_than_the_body_is_refused(
    sent: object, headers: dict[str, str]
) -> None:
    with pytest.raises(RequestRefused, match="header is not the body's"):
        call_of("mcp", "", sent, **headers)


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [("PUT", "", "method_not_allowed"), ("POST", "/other", "unknown_route")],
)
def test_a_tool_server_has_one_path_and_three_methods(method: str, path: str, code: str) -> None:
    with pytest.raises(TurnAway) as caught:
        call_of("mcp", path, call_tool({}), method)
    assert caught.value.code == code
