"""OpenAI's wire formats: chat completions, responses, embeddings, models, errors.

Owns: the JSON objects and the server-sent events, in their real order. Refuses: what an answer
says (``answers.py``) and sending it (``provider.py``). Source: the public API reference; checked
by the unmodified SDK in the tests.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from typing import Final

import msgspec

from gatepost.far_end.answers import CREATED, Answer, BadRequest, Body

MODELS: Final = ("gpt-5.4", "gpt-5.4-mini", "gpt-4.1", "text-embedding-3-small")
_DIMENSIONS: Final = 8
_FINGERPRINT: Final = "fp_far_end"

Object = dict[str, object]


def error(status: int, message: str) -> Object:
    """The error object that the SDK turns into the exception of ``status``."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


def model(name: str) -> Object:
    """``GET /v1/models/{name}``: every name exists here."""
    return {"id": name, "object": "model", "created": CREATED, "owned_by": "far-end"}


def models() -> Object:
    """``GET /v1/models``."""
    return {"object": "list", "data": [model(name) for name in MODELS]}


# -- chat completions -----------------------------------------------------------------------


def _chat_usage(answer: Answer) -> Object:
    return {
        "prompt_tokens": answer.input_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": answer.input_tokens + answer.output_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def chat(answer: Answer) -> Object:
    """``POST /v1/chat/completions``, whole."""
    message: Object = {
        "role": "assistant",
        "content": answer.text,
        "refusal": None,
        "annotations": [],
    }
    return {
        "id": f"chatcmpl-{answer.tail}",
        "object": "chat.completion",
        "created": CREATED,
        "model": answer.model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": _chat_usage(answer),
        "service_tier": "default",
        "system_fingerprint": _FINGERPRINT,
    }


def chat_events(body: Body, answer: Answer) -> Iterator[bytes]:
    """The chunks of a streamed chat completion; the usage chunk only where it was asked for."""
    usage_wanted = bool((body.stream_options or {}).get("include_usage"))

    def chunk(choices: list[Object], usage: Object | None = None) -> bytes:
        event: Object = {
            "id": f"chatcmpl-{answer.tail}",
            "object": "chat.completion.chunk",
            "created": CREATED,
            "model": answer.model,
            "service_tier": "default",
            "system_fingerprint": _FINGERPRINT,
            "choices": choices,
        }
        if usage_wanted:
            event["usage"] = usage
        return b"data: " + msgspec.json.encode(event) + b"\n\n"

    def choice(delta: Object, finish_reason: str | None) -> Object:
        return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}

    yield chunk([choice({"role": "assistant", "content": "", "refusal": None}, None)])
    for word in answer.words:
        yield chunk([choice({"content": word}, None)])
    yield chunk([choice({}, "stop")])
    if usage_wanted:
        yield chunk([], _chat_usage(answer))
    yield b"data: [DONE]\n\n"


# -- responses ------------------------------------------------------------------------------


def _part(text: str) -> Object:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _item(answer: Answer, status: str, content: list[Object]) -> Object:
    return {
        "id": f"msg_{answer.tail}",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": content,
    }


def _response(answer: Answer, status: str, output: list[Object], usage: Object | None) -> Object:
    return {
        "id": f"resp_{answer.tail}",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "metadata": {},
        "model": answer.model,
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "store": True,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": usage,
        "user": None,
    }


def response(answer: Answer) -> Object:
    """``POST /v1/responses``, whole."""
    usage: Object = {
        "input_tokens": answer.input_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": answer.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": answer.input_tokens + answer.output_tokens,
    }
    item = _item(answer, "completed", [_part(answer.text)])
    return _response(answer, "completed", [item], usage)


def response_events(answer: Answer) -> Iterator[bytes]:
    """The events of a streamed response, numbered from 0."""
    place = {"item_id": f"msg_{answer.tail}", "output_index": 0, "content_index": 0}
    begun = _response(answer, "in_progress", [], None)
    done_item = _item(answer, "completed", [_part(answer.text)])
    events: list[tuple[str, Object]] = [
        ("response.created", {"response": begun}),
        ("response.in_progress", {"response": begun}),
        (
            "response.output_item.added",
            {"output_index": 0, "item": _item(answer, "in_progress", [])},
        ),
        ("response.content_part.added", {**place, "part": _part("")}),
        *(
            ("response.output_text.delta", {**place, "delta": word, "logprobs": []})
            for word in answer.words
        ),
        ("response.output_text.done", {**place, "text": answer.text, "logprobs": []}),
        ("response.content_part.done", {**place, "part": _part(answer.text)}),
        ("response.output_item.done", {"output_index": 0, "item": done_item}),
        ("response.completed", {"response": response(answer)}),
    ]
    for number, (kind, members) in enumerate(events):
        data = msgspec.json.encode({"type": kind, "sequence_number": number, **members})
        yield b"event: %b\ndata: %b\n\n" % (kind.encode(), data)


# -- embeddings -----------------------------------------------------------------------------


def embeddings(body: Body, answer: Answer) -> Object:
    """One made-up vector per input; base64 of little-endian float32 where that was asked for."""
    inputs = body.input if isinstance(body.input, list) else [body.input]
    if not inputs or body.input is None:
        raise BadRequest("'input' must be a string or a non-empty list")
    data = [
        {"object": "embedding", "index": index, "embedding": _vector(index, body.encoding_format)}
        for index, _ in enumerate(inputs)
    ]
    tokens = answer.input_tokens
    return {
        "object": "list",
        "data": data,
        "model": answer.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _vector(index: int, encoding_format: str) -> str | list[float]:
    # Quarters are exact in every float, so both encodings say the same numbers.
    numbers = [((index + place) % 4) / 4 for place in range(_DIMENSIONS)]
    if encoding_format == "base64":
        return base64.b64encode(struct.pack(f"<{_DIMENSIONS}f", *numbers)).decode()
    return numbers
