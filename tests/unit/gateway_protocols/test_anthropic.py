"""Anthropic requests as calls."""

from __future__ import annotations

import pytest

from gateway.call import Segment
from gateway.errors import RequestRefused, TurnAway
from tests.unit.gateway_protocols.routes import call_of, texts_of

MESSAGES = "/v1/messages"
SCHEMA = {"type": "object", "properties": {}}


def body(**members: object) -> dict[str, object]:
    user = {"role": "user", "content": "hi"}
    return {"model": "claude-x", "max_tokens": 8, "messages": [user], **members}


@pytest.mark.parametrize(
    ("method", "path", "sent", "operation"),
    [
        ("POST", MESSAGES, body(), "message"),
        ("POST", MESSAGES + "?beta=true", body(), "message"),
        ("POST", MESSAGES + "/count_tokens", body(), "count_tokens"),
        ("GET", "/v1/models", b"", "models"),
        ("GET", "/v1/models/claude-x", b"", "models"),
        ("GET", "/v1/messages/batches/b1", b"", "batch"),
        ("GET", "/v1/files/file_1/content", b"", "file"),
    ],
)
def test_every_known_path_has_its_operation(
    method: str, path: str, sent: object, operation: str
) -> None:
    assert call_of("anthropic", path, sent, method).operation == operation


@pytest.mark.parametrize("path", ["/v1/organizations/users", "/v1/agents", "/v1/messages/"])
def test_a_path_that_is_not_known_is_not_forwarded(path: str) -> None:
    with pytest.raises(TurnAway, match="unknown_route"):
        call_of("anthropic", path, body())


def test_a_conversation_with_tools_is_read() -> None:
    call = call_of(
        "anthropic",
        MESSAGES,
        body(
            stream=True,
            system=[{"type": "text", "text": "be kind"}],
            messages=[
                {"role": "user", "content": "find it"},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "tool_use", "id": "t1", "name": "f", "input": {"q": "w", "Q": 1}}
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "t1", "content": "row one"},
                        {"type": "text", "text": "and now?"},
                    ],
                },
            ],
        ),
    )
    assert (call.model, call.stream, call.input) == ("claude-x", True, b"and now?")
    assert Segment("/system/0/text", "system", "text", "be kind") in call.segments
    assert Segment("/messages/1/content/0/input/q", "assistant", "arguments", "w") in call.segments
    assert Segment("/messages/2/content/0/content", "tool", "result", "row one") in call.segments


@pytest.mark.parametrize(
    ("tool", "hosted", "unknown"),
    [
        ({"name": "f", "input_schema": SCHEMA}, None, None),
        ({"type": "custom", "name": "f", "input_schema": SCHEMA}, None, None),
        ({"type": "bash_20250124", "name": "bash"}, None, None),
        ({"type": "text_editor_20250728", "name": "e"}, None, None),
        ({"type": "computer_20251124", "name": "computer"}, None, None),
        ({"type": "memory_20250818", "name": "memory"}, None, None),
        ({"type": "web_search_20260318", "name": "web_search"}, "web_search", None),
        ({"type": "web_fetch_20250910", "name": "web_fetch"}, "web_fetch", None),
        ({"type": "code_execution_20260521", "name": "c"}, "code_execution", None),
        ({"type": "tool_search_tool_bm25_20251119", "name": "s"}, "tool_search", None),
        ({"type": "advisor_20260301", "name": "a"}, "advisor", None),
        ({"type": "mcp_toolset", "mcp_server_name": "x"}, "mcp", None),
        ({"type": "oracle_20270101", "name": "o"}, None, "oracle"),
        ({"name": "no schema"}, None, "untyped"),
    ],
)
def test_tools_that_the_provider_runs_are_named(
    tool: dict[str, object], hosted: str | None, unknown: str | None
) -> None:
    call = call_of("anthropic", MESSAGES, body(tools=[tool]))
    assert call.hosted_tools == (() if hosted is None else (hosted,))
    assert call.unknown_tools == (() if unknown is None else (unknown,))


def test_a_tool_defined_inside_a_message_is_found() -> None:
    definition = {"type": "web_search_20260318", "name": "web_search"}
    block = {
        "type": "tool_addition",
        "tool": {"type": "tool_definition", "definition": definition},
    }
    call = call_of("anthropic", MESSAGES, body(messages=[{"role": "system", "content": [block]}]))
    assert call.hosted_tools == ("web_search",)


@pytest.mark.parametrize(
    ("members", "hosted", "references"),
    [
        ({"mcp_servers": [{"type": "url", "url": "https://x.example"}]}, ("mcp",), ()),
        ({"mcp_servers": []}, (), ()),
        ({"container": "container_1"}, (), ("container_1",)),
        ({"container": {"id": "c1", "skills": [{"type": "custom", "skill_id": "s1"}]}}, (),
         ("c1", "s1")),
        ({"thread": {"id": "thread_1"}}, (), ("thread_1",)),
        ({"fallbacks": [{"model": "claude-y"}]}, (), ("model:claude-y",)),
        ({"fallbacks": "default"}, (), ("model:default",)),
    ],
)  # fmt: skip
def test_connectors_containers_and_fallbacks_are_named(
    members: dict[str, object], hosted: tuple[str, ...], references: tuple[str, ...]
) -> None:
    call = call_of("anthropic", MESSAGES, body(**members))
    assert (call.hosted_tools, call.references) == (hosted, references)


@pytest.mark.parametrize(
    ("block", "is_opaque"),
    [
        ({"type": "image", "source": {"type": "base64", "data": "AA"}}, True),
        ({"type": "image", "source": {"type": "url", "url": "https://x.example"}}, True),
        ({"type": "document", "source": {"type": "base64", "data": "AA"}}, True),
        ({"type": "document", "source": {"type": "file", "file_id": "file_1"}}, True),
        ({"type": "document", "source": {"type": "text", "data": "plain words"}}, False),
    ],
)
def test_documents_are_opaque_unless_they_are_text(
    block: dict[str, object], is_opaque: bool
) -> None:
    call = call_of("anthropic", MESSAGES, body(messages=[{"role": "user", "content": [block]}]))
    assert bool(call.opaque) is is_opaque
    assert ("plain words" in texts_of(call)) is not is_opaque
    assert "AA" not in texts_of(call)


def test_a_stored_document_is_a_reference() -> None:
    block = {"type": "document", "source": {"type": "file", "file_id": "file_1"}}
    call = call_of("anthropic", MESSAGES, body(messages=[{"role": "user", "content": [block]}]))
    assert call.references == ("file_1",)


def test_every_model_of_a_batch_is_named() -> None:
    requests = [{"custom_id": "1", "params": body()}]
    call = call_of("anthropic", "/v1/messages/batches", {"requests": requests})
    assert call.operation == "batch"
    assert call.references == ("model:claude-x",)
    assert "hi" in texts_of(call)


def test_keys_that_differ_in_case_are_refused() -> None:
    with pytest.raises(RequestRefused, match="duplicate_keys"):
        call_of("anthropic", MESSAGES, b'{"model":"a","system":"x","System":"y"}')
