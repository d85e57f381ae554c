"""Gemini requests as calls."""

from __future__ import annotations

import pytest

from gateway.call import Segment
from gateway.errors import RequestRefused, TurnAway
from tests.unit.gateway_protocols.routes import call_of, texts_of

GENERATE = "/v1beta/models/gemini-x:generateContent"
VERTEX = "/v1/projects/p/locations/eu/publishers/google/models/gemini-x:generateContent"


def body(**members: object) -> dict[str, object]:
    return {"contents": [{"role": "user", "parts": [{"text": "hi"}]}], **members}


@pytest.mark.parametrize(
    ("method", "path", "operation", "model", "stream"),
    [
        ("POST", GENERATE, "generate_content", "gemini-x", False),
        ("POST", VERTEX, "generate_content", "gemini-x", False),
        ("POST", "/v1/models/g:streamGenerateContent?alt=sse", "generate_content", "g", True),
        ("POST", "/v1beta/models/g:countTokens", "count_tokens", "g", False),
        ("POST", "/v1beta/models/g:embedContent", "embedding", "g", False),
        ("POST", "/v1beta/models/g:batchEmbedContents", "embedding", "g", False),
        ("GET", "/v1beta/models", "models", None, False),
        ("GET", "/v1beta/models/g", "models", "g", False),
    ],
)
def test_every_known_path_has_its_operation(
    method: str, path: str, operation: str, model: str | None, stream: bool
) -> None:
    call = call_of("gemini", path, body() if method == "POST" else b"", method)
    assert (call.operation, call.model, call.stream) == (operation, model, stream)
    assert call.references == ()


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("POST", "/v1beta/models/g:tune", "method_not_allowed"),
        ("GET", "/v1beta/models/g:tune", "unknown_route"),
        ("POST", "/v2/models/g:generateContent", "unknown_route"),
        ("POST", "/v1beta/models/:generateContent", "method_not_allowed"),
        ("POST", "/v1beta/models//generateContent", "unknown_route"),
        ("POST", "/v1beta/tunedModels/g:generateContent", "unknown_route"),
    ],
)
def test_a_path_that_is_not_known_is_not_forwarded(method: str, path: str, code: str) -> None:
    with pytest.raises(TurnAway) as caught:
        call_of("gemini", path, body(), method)
    assert caught.value.code == code


@pytest.mark.parametrize("key", ["systemInstruction", "system_instruction"])
def test_both_spellings_of_a_member_are_read(key: str) -> None:
    call = call_of("gemini", GENERATE, body(**{key: {"parts": [{"text": "be kind"}]}}))
    assert Segment(f"/{key}/parts/0/text", "system", "text", "be kind") in call.segments
    assert call.input == b"hi"


@pytest.mark.parametrize(
    "sent",
    [
        b'{"systemInstruction":{},"system_instruction":{}}',
        b'{"contents":[],"Contents":[]}',
        b'{"contents":[],"cached_content":"a","cachedcontent":"b"}',
        b'{"contents":[{"parts":[{"inlineData":{},"inline_data":{}}]}]}',
    ],
)
def test_an_object_with_both_spellings_is_refused(sent: bytes) -> None:
    with pytest.raises(RequestRefused, match="duplicate_keys"):
        call_of("gemini", GENERATE, sent)


@pytest.mark.parametrize(
    ("tool", "hosted", "unknown"),
    [
        ({"functionDeclarations": [{"name": "f"}]}, (), ()),
        ({"function_declarations": [{"name": "f"}]}, (), ()),
        ({"googleSearch": {}}, ("google_search",), ()),
        ({"google_search": {}}, ("google_search",), ()),
        ({"codeExecution": {}}, ("code_execution",), ()),
        ({"urlContext": {}, "functionDeclarations": []}, ("url_context",), ()),
        ({"mindReading": {}}, (), ("mind_reading",)),
    ],
)
def test_tools_that_the_provider_runs_are_named(
    tool: dict[str, object], hosted: tuple[str, ...], unknown: tuple[str, ...]
) -> None:
    call = call_of("gemini", GENERATE, body(tools=[tool]))
    assert (call.hosted_tools, call.unknown_tools) == (hosted, unknown)


def test_stored_content_is_a_reference() -> None:
    assert call_of("gemini", GENERATE, body(cachedContent="cachedContents/1")).references == (
        "cachedContents/1",
    )
    assert call_of("gemini", GENERATE, body(cached_content="c")).references == ("c",)


def test_inline_and_stored_files_are_opaque() -> None:
    parts = [
        {"inlineData": {"mimeType": "image/png", "data": "AA"}},
        {"fileData": {"mimeType": "a/b", "fileUri": "https://files.example/1"}},
    ]
    call = call_of("gemini", GENERATE, {"contents": [{"role": "user", "parts": parts}]})
    assert "/contents/0/parts/0/inlineData" in call.opaque
    assert "/contents/0/parts/1/fileData" in call.opaque
    assert call.references == ("https://files.example/1",)
    assert "AA" not in texts_of(call)


def test_a_body_that_names_another_model_than_its_path_is_refused() -> None:
    assert call_of("gemini", GENERATE, body(model="models/gemini-x")).model == "gemini-x"
    with pytest.raises(RequestRefused, match="not the model of the path"):
        call_of("gemini", GENERATE, body(model="models/gemini-y"))


def test_inner_requests_name_their_other_models() -> None:
    inner = {"generateContentRequest": {"model": "models/other", **body()}}
    call = call_of("gemini", "/v1beta/models/gemini-x:countTokens", inner)
    assert call.references == ("model:models/other",)


def test_function_arguments_may_have_keys_of_any_case() -> None:
    parts = [{"functionCall": {"name": "f", "args": {"id": "a", "ID": "b"}}}]
    call = call_of("gemini", GENERATE, {"contents": [{"role": "model", "parts": parts}]})
    assert {"a", "b"} <= set(texts_of(call))
