"""Bedrock requests as calls."""

from __future__ import annotations

import pytest

from gateway.errors import RequestRefused, TurnAway
from tests.unit.gateway_protocols.routes import call_of, texts_of

CONVERSE = "/model/anthropic.claude-v1%3A0/converse"


def body(**members: object) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": [{"text": "hi"}]}], **members}


@pytest.mark.parametrize(
    ("action", "stream"),
    [
        ("converse", False),
        ("converse-stream", True),
        ("invoke", False),
        ("invoke-with-response-stream", True),
    ],
)
def test_the_model_of_the_path_is_decoded(action: str, stream: bool) -> None:
    call = call_of("bedrock", f"/model/anthropic.claude-v1%3A0/{action}", body())
    assert (call.operation, call.model) == ("converse", "anthropic.claude-v1:0")
    assert call.stream is stream
    assert call.input == b"hi"


def test_a_model_arn_is_decoded_whole() -> None:
    call = call_of("bedrock", "/model/arn%3Aaws%3Abedrock%3A%3A%3Aip%2Fx/converse", body())
    assert call.model == "arn:aws:bedrock:::ip/x"


def test_a_stored_prompt_in_the_path_is_a_reference() -> None:
    call = call_of("bedrock", "/model/arn%3Aaws%3Abedrock%3A1%3A2%3Aprompt%2FP1/converse", body())
    assert call.references == ("arn:aws:bedrock:1:2:prompt/P1",)


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", CONVERSE, "method_not_allowed"),
        ("POST", "/model//converse", "unknown_route"),
        ("POST", "/model/m/async-invoke", "unknown_route"),
        ("POST", "/model/a/b/converse", "unknown_route"),
    ],
)
def test_other_paths_are_not_forwarded(method: str, path: str, code: str) -> None:
    with pytest.raises(TurnAway) as caught:
        call_of("bedrock", path, body(), method)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("members", "hosted", "unknown"),
    [
        ({"toolConfig": {"tools": [{"toolSpec": {"name": "f"}}, {"cachePoint": {}}]}}, (), ()),
        ({"toolConfig": {"tools": [{"systemTool": {"name": "grounding"}}]}}, ("grounding",), ()),
        ({"toolConfig": {"tools": [{"toolSpec": {}, "evil": {}}]}}, (), ("evil",)),
        ({"additionalModelRequestFields": {"tools": [{"type": "web_search_20250305"}]}},
         ("web_search",), ()),
        ({"anthropic_version": "bedrock-2023-05-31", "tools": [{"type": "zap_20250305"}]},
         (), ("zap",)),
    ],
)  # fmt: skip
def test_tools_that_the_provider_runs_are_named(
    members: dict[str, object], hosted: tuple[str, ...], unknown: tuple[str, ...]
) -> None:
    call = call_of("bedrock", CONVERSE, body(**members))
    assert (call.hosted_tools, call.unknown_tools) == (hosted, unknown)


def test_images_and_stored_documents_are_opaque() -> None:
    content = [
        {"image": {"format": "png", "source": {"bytes": "AA"}}},
        {"document": {"name": "d", "source": {"s3Location": {"uri": "s3://b/k"}}}},
    ]
    call = call_of("bedrock", CONVERSE, {"messages": [{"role": "user", "content": content}]})
    assert "/messages/0/content/0/image" in call.opaque
    assert "/messages/0/content/1/document" in call.opaque
    assert call.references == ("s3://b/k",)
    assert "AA" not in texts_of(call)


def test_tool_input_may_have_keys_of_any_case() -> None:
    content = [{"toolUse": {"toolUseId": "t", "name": "f", "input": {"a": "x", "A": "y"}}}]
    call = call_of("bedrock", CONVERSE, {"messages": [{"role": "assistant", "content": content}]})
    assert {"x", "y"} <= set(texts_of(call))


def test_keys_that_differ_in_case_are_refused() -> None:
    with pytest.raises(RequestRefused, match="duplicate_keys"):
        call_of("bedrock", CONVERSE, b'{"toolConfig":{},"ToolConfig":{}}')
    with pytest.raises(RequestRefused, match="unreadable_body"):
        call_of("bedrock", CONVERSE, b'{"toolconfig":{"tools":[]}}')
