"""Anthropic's wire formats: messages, token counts, models, errors.

Owns: the JSON objects and the server-sent events, in their real order. Refuses: what an answer
says (``answers.py``) and sending it (``provider.py``). Source: the public API reference; checked
by the unmodified SDK in the tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from gatepost.far_end.answers import Answer

MODELS: Final = ("claude-sonnet-5-5", "claude-haiku-5-5")
_KINDS: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
}

Object = dict[str, object]


def error(status: int, message: str) -> Object:
    """The error object that the SDK turns into the exception of ``status``."""
    return {
        "type": "error",
        "error": {"type": _KINDS.get(status, "api_error"), "message": message},
        "request_id": "req_far_end",
    }


def model(name: str) -> Object:
    """``GET /v1/models/{name}``: every name exists here."""
    return {
        "type": "model",
        "id": name,
        "display_name": name,
        "created_at": "2026-11-23T18:00:00Z",
    }


def models() -> Object:
    """``GET /v1/models``."""
    return {
        "data": [model(name) for name in MODELS],
        "has_more": False,
        "first_id": MODELS[0],
        "last_id": MODELS[-1],
    }


def token_count(answer: Answer) -> Object:
    """``POST /v1/messages/count_tokens``."""
    return {"input_tokens": answer.input_tokens}


def _message(
    answer: Answer, content: list[Object], stop_reason: str | None, output_tokens: int
) -> Object:
    return {
        "id": f"msg_{answer.tail}",
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": {
            "input_tokens": answer.input_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": output_tokens,
            "service_tier": "standard",
        },
    }


def message(answer: Answer) -> Object:
    """``POST /v1/messages``, whole."""
    text: Object = {"type": "text", "text": answer.text}
    return _message(answer, [text], "end_turn", answer.output_tokens)


def message_events(answer: Answer) -> Iterator[bytes]:
    """The events of a streamed message, a ping among them as the real service sends."""
    events: list[Object] = [
        {"type": "message_start", "message": _message(answer, [], None, 1)},
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "text", "text": ""},
        },
        {"type": "ping"},
        *(
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "text_delta", "text": word},
            }
            for word in answer.words
        ),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": answer.output_tokens},
        },
        {"type": "message_stop"},
    ]
    for event in events:
        yield b"event: %b\ndata: %b\n\n" % (
            str(event["type"]).encode(),
            msgspec.json.encode(event),
        )
