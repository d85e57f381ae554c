"""Answers read along: counts, served model, finish reasons, and whether a stream ended."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.call import Protocol
from gateway.limits import OBSERVED_JSON_BYTES_MAX
from gateway.protocols.observe import Observed, observer_for
from gateway.record import Usage
from tests.unit.gateway_protocols.routes import call_of, route_for

REQUESTS: dict[Protocol, tuple[str, dict[str, object]]] = {
    "openai": ("/v1/chat/completions", {"model": "m"}),
    "anthropic": ("/v1/messages", {"model": "m"}),
    "gemini": ("/v1beta/models/m:generateContent", {}),
    "bedrock": ("/model/m/converse", {}),
    "mcp": ("", {"jsonrpc": "2.0", "id": 1, "method": "ping"}),
    "http": ("", {}),
}
JSON = "application/json"
SSE = "text/event-stream; charset=utf-8"
NOTHING = Usage(None, None, None, None, None)


def observe(protocol: Protocol, kind: str, chunks: Iterable[bytes], status: int = 200) -> Observed:
    path, body = REQUESTS[protocol]
    observer = observer_for(route_for(protocol), call_of(protocol, path, body))
    observer.head(status, (("content-type", kind), ("x-request-id", "req_1")))
    for chunk in chunks:
        observer.feed(chunk)
    return observer.finish()


def sse(*datas: object, done: bool = False, crlf: bool = False) -> bytes:
    end = b"\r\n" if crlf else b"\n"
    lines = [json.dumps(data).encode() for data in datas] + ([b"[DONE]"] if done else [])
    return b"".join(b"data: " + line + end + end for line in lines)


def chunk(**members: object) -> dict[str, object]:
    choice = {"index": 0, "delta": {"content": "x"}, "finish_reason": None}
    return {"id": "c", "model": "gpt-4o-2024", "choices": [choice], "usage": None, **members}


CHAT_USAGE = {
    "prompt_tokens": 10,
    "completion_tokens": 5,
    "total_tokens": 15,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
CHAT_STREAM = sse(
    chunk(),
    chunk(),
    chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}]),
    chunk(choices=[], usage=CHAT_USAGE),
    done=True,
)
RESPONSE = {
    "id": "resp_1",
    "model": "gpt-5-x",
    "status": "completed",
    "output": [],
    "usage": {
        "input_tokens": 10,
        "output_tokens": 5,
        "input_tokens_details": {"cached_tokens": 4},
        "output_tokens_details": {"reasoning_tokens": 2},
    },
}
RESPONSE_STREAM = sse(
    {"type": "response.created", "response": {**RESPONSE, "status": "queued", "usage": None}},
    {"type": "response.output_text.delta", "delta": "x"},
    {"type": "response.completed", "response": RESPONSE},
)
MESSAGE_STREAM = sse(
    {
        "type": "message_start",
        "message": {
            "model": "claude-x-1",
            "usage": {
                "input_tokens": 10,
                "cache_read_input_tokens": 4,
                "cache_creation_input_tokens": 3,
                "output_tokens": 1,
            },
        },
    },
    {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "hi"}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}},
    {"type": "message_stop"},
)
GEMINI = {
    "candidates": [{"content": {}, "finishReason": "STOP"}],
    "usageMetadata": {
        "promptTokenCount": 10,
        "candidatesTokenCount": 5,
        "cachedContentTokenCount": 4,
        "thoughtsTokenCount": 2,
    },
    "modelVersion": "gemini-x-1",
}
GEMINI_STREAM = sse({"candidates": [{}], "usageMetadata": {"promptTokenCount": 10}}, GEMINI)
FULL = Usage(10, 5, 4, None, 2)

SEEN: list[tuple[Protocol, str, bytes, str | None, Usage, tuple[str, ...]]] = [
    ("openai", SSE, CHAT_STREAM, "gpt-4o-2024", FULL, ("stop",)),
    ("openai", SSE, RESPONSE_STREAM, "gpt-5-x", FULL, ("completed",)),
    ("openai", JSON, json.dumps(RESPONSE).encode(), "gpt-5-x", FULL, ("completed",)),
    (
        "openai",
        JSON,
        json.dumps(
            chunk(
                usage=CHAT_USAGE,
                choices=[{"finish_reason": "stop"}, {"finish_reason": "length"}],
            )
        ).encode(),
        "gpt-4o-2024",
        FULL,
        ("stop", "length"),
    ),
    (
        "openai",
        JSON,
        json.dumps(
            {**RESPONSE, "status": "incomplete", "incomplete_details": {"reason": "max_tokens"}}
        ).encode(),
        "gpt-5-x",
        FULL,
        ("max_tokens",),
    ),
    ("anthropic", SSE, MESSAGE_STREAM, "claude-x-1", Usage(10, 5, 4, 3, None), ("end_turn",)),
    (
        "anthropic",
        JSON,
        b'{"model":"c","stop_reason":"refusal","usage":{"input_tokens":1,"output_tokens":2}}',
        "c",
        Usage(1, 2, None, None, None),
        ("refusal",),
    ),
    ("gemini", SSE, GEMINI_STREAM, "gemini-x-1", FULL, ("STOP",)),
    ("gemini", JSON, json.dumps(GEMINI).encode(), "gemini-x-1", FULL, ("STOP",)),
    ("gemini", JSON, json.dumps([{"candidates": []}, GEMINI]).encode(), "gemini-x-1", FULL,
     ("STOP",)),
    ("bedrock", JSON, b'{"stopReason":"end_turn","usage":{"inputTokens":1,"outputTokens":2}}', None,
     Usage(1, 2, None, None, None), ("end_turn",)),
    ("bedrock", JSON, b'{"model":"c","stop_reason":"x","usage":{"input_tokens":1}}', "c",
     Usage(1, None, None, None, None), ("x",)),
    ("mcp", JSON, b'{"model":"m","usage":{"prompt_tokens":1}}', None, NOTHING, ()),
]  # fmt: skip


@pytest.mark.parametrize(("protocol", "kind", "body", "served", "usage", "reasons"), SEEN)
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_counts_model_and_reasons_are_read_however_they_arrive(
    protocol: Protocol,
    kind: str,
    body: bytes,
    served: str | None,
    usage: Usage,
    reasons: tuple[str, ...],
    size: int,
) -> None:
    seen = observe(
        protocol, kind, (body[start : start + size] for start in range(0, len(body), size))
    )
    assert (seen.served, seen.usage, seen.finish_reasons) == (served, usage, reasons)
    assert seen.complete
    assert seen.request_id == "req_1"


ENDINGS: list[tuple[Protocol, bytes, bytes]] = [
    ("openai", CHAT_STREAM, b"data: [DONE]"),
    ("openai", RESPONSE_STREAM, b'data: {"type": "response.completed"'),
    ("anthropic", MESSAGE_STREAM, b'data: {"type": "message_stop"'),
    ("gemini", GEMINI_STREAM, b'data: {"candidates": [{"content"'),
]


@pytest.mark.parametrize(("protocol", "stream", "ending"), ENDINGS)
def test_a_stream_without_its_last_event_is_incomplete(
    protocol: Protocol, stream: bytes, ending: bytes
) -> None:
    assert observe(protocol, SSE, [stream]).complete
    assert ending in stream
    assert not observe(protocol, SSE, [stream[: stream.index(ending)]]).complete
    assert not observe(protocol, SSE, [stream[:-2]]).complete


@pytest.mark.parametrize("protocol", ["mcp", "http"])
def test_streams_without_a_last_event_are_never_called_incomplete(protocol: Protocol) -> None:
    assert observe(protocol, SSE, [b"data: {}\n\n"]).complete


def test_an_event_with_an_error_is_no_end() -> None:
    error = {"type": "error", "error": {"type": "overloaded_error"}}
    assert not observe("anthropic", SSE, [MESSAGE_STREAM[:60], sse(error)]).complete
    assert not observe("openai", SSE, [sse(chunk(), {"error": {"message": "no"}})]).complete


def test_text_about_usage_is_not_usage() -> None:
    told = chunk(
        choices=[{"delta": {"content": '"usage":{"prompt_tokens":99},"finish_reason":"x"'}}]
    )
    seen = observe("openai", SSE, [sse(chunk(), told, done=True)])
    assert (seen.usage, seen.finish_reasons) == (NOTHING, ())


def test_failed_answers_are_not_read() -> None:
    body = json.dumps(RESPONSE).encode()
    assert observe("openai", JSON, [body], status=429).usage == NOTHING


def test_a_large_json_answer_passes_by_unread() -> None:
    body = json.dumps({**RESPONSE, "output": "x" * OBSERVED_JSON_BYTES_MAX}).encode()
    seen = observe("openai", JSON, [body[:1000], body[1000:]])
    assert seen.usage == NOTHING
    assert seen.complete


@pytest.mark.parametrize("count", [-1, 2**53, 1.5, "7", None])
def test_counts_that_no_record_can_hold_are_null(count: object) -> None:
    body = json.dumps({"model": "m", "usage": {"prompt_tokens": count}}).encode()
    assert observe("openai", JSON, [body]).usage == NOTHING


@given(st.sampled_from(["openai", "anthropic", "gemini"]), st.binary(max_size=300))
def test_no_answer_makes_an_observer_fail(protocol: Protocol, noise: bytes) -> None:
    for kind in (SSE, JSON):
        observe(protocol, kind, [b'data: {"usage":{', noise, b"\n\n" + noise, b'"type":"error"'])


def test_answers_without_a_model_are_not_read() -> None:
    call = call_of("openai", "/v1/files", b"", "GET")
    observer = observer_for(route_for("openai"), call)
    observer.head(200, (("content-type", JSON), ("x-request-id", "req_2")))
    observer.feed(b'{"status":"processed"}')
    assert observer.finish().finish_reasons == ()
    assert observer.finish().request_id == "req_2"
