"""OpenAI requests as calls."""

from __future__ import annotations

import pytest

from gateway.call import Segment
from gateway.errors import RequestRefused, TurnAway
from gateway.protocols import read_calls
from tests.unit.gateway_protocols.routes import call_of, head_for, route_for, texts_of

CHAT = "/v1/chat/completions"


def chat(**members: object) -> dict[str, object]:
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], **members}


PATHS: list[tuple[str, str, object, str, tuple[str, ...]]] = [
    ("POST", CHAT, chat(), "chat", ()),
    ("GET", CHAT + "/chatcmpl-1", b"", "chat", ("chatcmpl-1",)),
    ("POST", "/v1/completions", {"model": "m", "prompt": "x"}, "completion", ()),
    ("POST", "/v1/responses", {"model": "m", "input": "x"}, "response", ()),
    ("GET", "/v1/responses/resp_1", b"", "response", ("resp_1",)),
    ("DELETE", "/v1/responses/resp_1", b"", "response", ("resp_1",)),
    ("POST", "/v1/responses/resp_1/cancel", b"", "response", ("resp_1",)),
    ("POST", "/v1/responses/input_tokens", {"model": "m", "input": "x"}, "count_tokens", ()),
    ("POST", "/v1/embeddings", {"model": "m", "input": ["x"]}, "embedding", ()),
    ("GET", "/v1/models", b"", "models", ()),
    ("GET", "/v1/models/gpt-4o", b"", "models", ()),
    ("POST", "/v1/moderations", {"model": "m", "input": "x"}, "moderation", ()),
    ("POST", "/v1/images/generations", {"model": "m", "prompt": "x"}, "image", ()),
    ("POST", "/v1/audio/speech", {"model": "m", "input": "x"}, "audio", ()),
    ("GET", "/v1/files", b"", "file", ()),
    ("GET", "/v1/files/file-1/content", b"", "file", ("file-1",)),
    ("DELETE", "/v1/files/file-1", b"", "file", ("file-1",)),
    ("POST", "/v1/batches", {"input_file_id": "file-2"}, "batch", ("file-2",)),
    ("POST", "/v1/fine_tuning/jobs", {"training_file": "f"}, "fine_tuning", ("f",)),
    ("POST", "/v1/threads/t1/runs", {"assistant_id": "a1"}, "assistant", ("a1", "t1")),
    ("GET", "/v1/conversations/conv_1/items", b"", "response", ("conv_1",)),
]


@pytest.mark.parametrize(("method", "path", "body", "operation", "references"), PATHS)
def test_every_known_path_has_its_operation(
    method: str, path: str, body: object, operation: str, references: tuple[str, ...]
) -> None:
    call = call_of("openai", path, body, method)
    assert call.operation == operation
    assert call.references == references


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/v1",
        "/v1/",
        "/chat/completions",
        "/v1/chat/completions/",
        "/v1/Chat/completions",
        "/v1/organization/users",
        "/v1/realtime/sessions",
        "/v1/files/%2e%2e",
        "/v1/files/a%00b",
        "/v1/files/%ff",
        "/v1/files//content",
        "/v2/chat/completions",
    ],
)
def test_a_path_that_is_not_known_is_not_forwarded(path: str) -> None:
    with pytest.raises(TurnAway) as caught:
        call_of("openai", path, chat())
    assert caught.value.code == "unknown_route"


def test_a_method_that_a_path_does_not_take_names_those_it_does() -> None:
    with pytest.raises(TurnAway) as caught:
        call_of("openai", CHAT, b"", "PUT")
    assert caught.value.code == "method_not_allowed"
    assert caught.value.allow == ("GET", "POST")


def test_model_stream_and_last_user_text_are_read() -> None:
    call = call_of(
        "openai",
        CHAT,
        chat(
            stream=True,
            messages=[
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": "first"},
                {"role": "assistant", "content": "yes?"},
                {"role": "user", "content": [{"type": "text", "text": "größe"}]},
                {"role": "tool", "tool_call_id": "c1", "content": "42 rows"},
            ],
        ),
    )
    assert (call.model, call.stream) == ("gpt-4o", True)
    assert call.input == "größe".encode()
    assert Segment("/messages/0/content", "system", "text", "be brief") in call.segments
    assert Segment("/messages/2/content", "assistant", "text", "yes?") in call.segments
    assert Segment("/messages/3/content/0/text", "user", "text", "größe") in call.segments
    assert Segment("/messages/4/content", "tool", "result", "42 rows") in call.segments


@pytest.mark.parametrize(
    "body",
    [
        {"model": "m", "input": "secret"},
        {"model": "m", "input": [{"role": "user", "content": "secret"}]},
        {"model": "m", "input": [{"type": "message", "role": "user", "content": [
            {"type": "input_text", "text": "secret"}]}]},
        {"model": "m", "instructions": "secret", "input": "x"},
        {"model": "m", "input": [{"type": "function_call_output", "call_id": "c",
                                  "output": "secret"}]},
        {"model": "m", "input": "x", "metadata": {"note": "secret"}},
        {"model": "m", "input": "x", "metadata": {"secret": "1"}},
        {"model": "m", "input": "x", "unheard_of": {"deep": [["secret"]]}},
        {"model": "m", "input": "x", "secret": 1},
        {"model": "m", "input": [{"role": "user", "content": "x", "secret": 1}]},
        {"model": "m", "input": "x", "tools": [{"type": "function", "name": "f",
            "parameters": {"type": "object", "properties": {"secret": {"type": "string"}}}}]},
        {"model": "m", "input": "x", "tools": [{"type": "function", "name": "f",
            "description": "secret"}]},
        {"model": "m", "input": "x", "user": "secret"},
        {"model": "m", "input": [{"type": "function_call", "name": "f", "call_id": "c",
                                  "arguments": '{"a":"\\u0073ecret"}'}]},
        {"model": "m", "input": [{"type": "function_call", "name": "f", "call_id": "c",
                                  "arguments": '{"\\u0073ecret":1}'}]},
        {"model": "m", "input": [{"type": "function_call", "name": "f", "call_id": "c",
                                  "arguments": '{"a":"{\\"b\\":\\"\\\\u0073ecret\\"}"}'}]},
        {"model": "m", "input": '{"a":"\\u0073ecret","a":"harmless"}'},
        {"model": "m", "input": [{"role": "user", "content": [
            {"type": "input_image", "image_url": "https://x.example/?q=secret"}]}]},
        {"model": "m", "input": [{"role": "user", "content": [
            {"type": "input_file", "filename": "secret", "file_data": "AAAA"}]}]},
    ],
)  # fmt: skip
def test_no_member_hides_a_text(body: dict[str, object]) -> None:
    call = call_of("openai", "/v1/responses", body)
    assert any("secret" in text for text in texts_of(call))


def test_adjacent_text_parts_are_joined() -> None:
    parts = [
        {"type": "text", "text": "4111 1111"},
        {"type": "text", "text": " 1111 1111"},
        {"type": "image_url", "image_url": {"url": "https://x.example/a.png"}},
        {"type": "text", "text": "alone"},
    ]
    call = call_of("openai", CHAT, chat(messages=[{"role": "user", "content": parts}]))
    joined = Segment("/messages/0/content", "user", "text", "4111 1111 1111 1111")
    assert joined in call.segments
    assert call.input == b"alone"
    assert not any("1111alone" in text for text in texts_of(call))


def test_long_numbers_are_text_too() -> None:
    call = call_of("openai", CHAT, chat(card=4111111111111111, top_p=0.1))
    assert Segment("/card", "", "unknown", "4111111111111111") in call.segments
    assert "0.1" not in texts_of(call)


@pytest.mark.parametrize(
    ("part", "pointer"),
    [
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}, ""),
        ({"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}, ""),
        ({"type": "file", "file": {"file_data": "AA"}}, ""),
    ],
)
def test_what_no_scan_can_read_is_opaque(part: dict[str, object], pointer: str) -> None:
    call = call_of("openai", CHAT, chat(messages=[{"role": "user", "content": [part]}]))
    assert "/messages/0/content/0" + pointer in call.opaque
    assert "AA" not in texts_of(call)


@pytest.mark.parametrize("prompt", [[1, 2, 3], [[1, 2], [3]]])
def test_a_prompt_as_token_numbers_is_opaque(prompt: object) -> None:
    call = call_of("openai", "/v1/embeddings", {"model": "m", "input": prompt})
    assert call.opaque


HOSTED: list[tuple[dict[str, object], str | None, str | None]] = [
    ({"type": "function", "name": "f"}, None, None),
    ({"type": "custom", "name": "f"}, None, None),
    ({"type": "local_shell"}, None, None),
    ({"type": "apply_patch"}, None, None),
    ({"type": "shell", "environment": {"type": "local"}}, None, None),
    ({"type": "shell"}, "shell", None),
    ({"type": "shell", "environment": {"type": "container_auto"}}, "shell", None),
    ({"type": "web_search"}, "web_search", None),
    ({"type": "web_search_2025_08_26"}, "web_search", None),
    ({"type": "web_search_preview_2025_03_11"}, "web_search_preview", None),
    ({"type": "file_search", "vector_store_ids": []}, "file_search", None),
    ({"type": "code_interpreter", "container": {"type": "auto"}}, "code_interpreter", None),
    ({"type": "computer_use_preview"}, "computer_use_preview", None),
    ({"type": "mcp", "server_label": "x"}, "mcp", None),
    ({"type": "image_generation"}, "image_generation", None),
    ({"type": "tool_search"}, "tool_search", None),
    ({"type": "tool_search", "execution": "client"}, None, None),
    ({"type": "telepathy"}, None, "telepathy"),
    ({"name": "untyped"}, None, "untyped"),
    ({"type": 7}, None, "untyped"),
    ({"type": "namespace", "tools": [{"type": "web_search"}]}, "web_search", None),
]


@pytest.mark.parametrize(("tool", "hosted", "unknown"), HOSTED)
def test_tools_that_the_provider_runs_are_named(
    tool: dict[str, object], hosted: str | None, unknown: str | None
) -> None:
    call = call_of("openai", "/v1/responses", {"model": "m", "input": "x", "tools": [tool]})
    assert call.hosted_tools == (() if hosted is None else (hosted,))
    assert call.unknown_tools == (() if unknown is None else (unknown,))


def test_tools_are_found_wherever_the_provider_takes_them() -> None:
    item = {"type": "additional_tools", "role": "developer", "tools": [{"type": "web_search"}]}
    call = call_of("openai", "/v1/responses", {"model": "m", "input": [item]})
    assert call.hosted_tools == ("web_search",)
    call = call_of("openai", CHAT, chat(web_search_options={"search_context_size": "low"}))
    assert call.hosted_tools == ("web_search",)


REFERENCES: list[tuple[dict[str, object], tuple[str, ...]]] = [
    ({"previous_response_id": "resp_1"}, ("resp_1",)),
    ({"previous_response_id": None}, ()),
    ({"conversation": "conv_1"}, ("conv_1",)),
    ({"conversation": {"id": "conv_1"}}, ("conv_1",)),
    ({"prompt": {"id": "pmpt_1", "variables": {"a": "b"}}}, ("pmpt_1",)),
    ({"input": [{"type": "item_reference", "id": "msg_1"}]}, ("msg_1",)),
    ({"input": [{"id": "msg_1"}]}, ("msg_1",)),
    ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]}]},
     ("file-1",)),
    ({"tools": [{"type": "file_search", "vector_store_ids": ["vs_1", "vs_2"]}]},
     ("vs_1", "vs_2")),
    ({"tools": [{"type": "code_interpreter", "container": "cntr_1"}]}, ("cntr_1",)),
    ({"tools": [{"type": "code_interpreter", "container": {"file_ids": ["file-1"]}}]},
     ("file-1",)),
    ({"tools": [{"type": "mcp", "server_url": "https://x.example"}]}, ("https://x.example",)),
    ({"models": ["other"]}, ("model:other",)),
    ({"moderation": {"model": "omni"}}, ("model:omni",)),
]  # fmt: skip


@pytest.mark.parametrize(("members", "references"), REFERENCES)
def test_stored_objects_are_named(members: dict[str, object], references: tuple[str, ...]) -> None:
    call = call_of("openai", "/v1/responses", {"model": "m", "input": "x", **members})
    assert call.references == references


def test_a_completion_prompt_is_text_and_no_reference() -> None:
    call = call_of("openai", "/v1/completions", {"model": "m", "prompt": "tell me"})
    assert call.references == ()
    assert call.input == b"tell me"


REFUSED: list[tuple[bytes, str]] = [
    (b'{"model":"a","\\u006dodel":"b","messages":[]}', "duplicate_keys"),
    (b'{"model":"a","Model":"b"}', "duplicate_keys"),
    (b'{"model":"a","mode\xc5\xbf":1,"MODES":2}', "duplicate_keys"),
    (b'{"messages":[{"role":"user","content":"a","Content":"b"}]}', "duplicate_keys"),
    (b'{"tools":[{"type":"function","Type":"web_search"}]}', "duplicate_keys"),
    (b'{"Model":"a"}', "unreadable_body"),
    (b'{"model":"a","Tools":[{"type":"web_search"}]}', "unreadable_body"),
    (b'{"model":"a","tool\xc5\xbf":[{"type":"web_search"}]}', "unreadable_body"),
    (b'{"model":["a"]}', "unreadable_body"),
    (b'{"model":1}', "unreadable_body"),
    (b'{"model":"a","stream":"true"}', "unreadable_body"),
    (b'{"model":"a","tools":["web_search"]}', "unreadable_body"),
    (b"[]", "unreadable_body"),
    (b"", "unreadable_body"),
    (b"\xef\xbb\xbf{}", "unreadable_body"),
]


@pytest.mark.parametrize(("body", "code"), REFUSED)
def test_a_body_with_two_readings_is_refused(body: bytes, code: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        call_of("openai", CHAT, body)
    assert caught.value.code == code


def test_schemas_and_metadata_may_have_keys_of_any_case() -> None:
    properties = {"id": {}, "ID": {}, "Model": {"type": "string"}}
    tool = {"type": "function", "function": {"name": "f", "parameters": {"properties": properties}}}
    metadata = {"Run": "1", "run": "2"}
    call = call_of("openai", CHAT, chat(tools=[tool], metadata=metadata))
    assert call.model == "gpt-4o"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"content_encoding": "gzip"}, "content_encoding_unsupported"),
        ({"content_type": "text/plain"}, "unreadable_body"),
        ({"content_type": ""}, "unreadable_body"),
        ({"content_type": "application/json; charset=utf-16"}, "unreadable_body"),
    ],
)
def test_a_body_that_is_not_plain_utf8_json_is_refused(headers: dict[str, str], code: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        call_of("openai", CHAT, chat(), **headers)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=UTF-8", "application/x+json"]
)
def test_json_media_types_are_read(kind: str) -> None:
    assert call_of("openai", CHAT, chat(), content_type=kind).model == "gpt-4o"


def test_a_get_with_a_body_is_refused() -> None:
    with pytest.raises(RequestRefused, match="take no body"):
        call_of("openai", "/v1/models", {"a": 1}, "GET")


def test_an_upload_is_opaque_as_a_whole() -> None:
    call = call_of(
        "openai", "/v1/audio/transcriptions", b"--x\r\n", content_type="multipart/form-data"
    )
    assert (call.operation, call.opaque, call.model) == ("audio", ("",), None)


def test_a_streamed_upload_is_ruled_on_by_its_head() -> None:
    route = route_for("openai", opaque_upload=True)
    (call,) = read_calls(route, head_for("POST", "/openai/v1/files"), b"").calls
    assert (call.operation, call.opaque) == ("file", ("",))


def test_query_values_are_text_and_credentials_are_not() -> None:
    call = call_of("openai", "/v1/files?after=a%20secret&key=sk-1", b"", "GET")
    assert "a secret" in texts_of(call)
    assert "sk-1" not in texts_of(call)


def test_more_texts_than_are_kept_make_the_call_opaque(monkeypatch: pytest.MonkeyPatch) -> None:
    from gateway.protocols import extract

    monkeypatch.setattr(extract, "SEGMENTS_MAX", 3)
    call = call_of("openai", CHAT, chat(stop=["a", "b", "c", "d", "e"]))
    assert len(call.segments) == 3
    assert "" in call.opaque
