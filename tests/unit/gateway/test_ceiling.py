"""A ceiling on answers: set where none is given, lowered where it is higher, never raised."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ceiling import under_ceiling
from gateway.jsonbody import parse
from gateway.obligation import Unmet
from gateway.protocols.anthropic import OF_MESSAGES
from gateway.protocols.bedrock import _OF_CONVERSE, _native_limits
from gateway.protocols.gemini import _OUTPUT_LIMITS
from gateway.protocols.openai import _OF_CHAT, _OF_RESPONSES
from tests.unit.gateway.test_splice import bodies

CHAT = _OF_CHAT
GEMINI = _OUTPUT_LIMITS
CONVERSE = _OF_CONVERSE

TABLE: dict[str, tuple[tuple[str, ...], bytes, bytes]] = {
    "chat: none": (CHAT, b'{"n":1.50}', b'{"max_completion_tokens":9,"n":1.50}'),
    "chat: empty": (CHAT, b" { } ", b' {"max_completion_tokens":9 } '),
    "chat: old name, higher": (CHAT, b'{"max_tokens": 10 }', b'{"max_tokens": 9 }'),
    "chat: old name, lower": (CHAT, b'{"max_tokens":8}', b'{"max_tokens":8}'),
    "chat: equal": (CHAT, b'{"max_completion_tokens":9}', b'{"max_completion_tokens":9}'),
    "chat: both": (
        CHAT,
        b'{"max_tokens":100,"a":[],"max_completion_tokens":3}',
        b'{"max_tokens":9,"a":[],"max_completion_tokens":3}',
    ),
    "chat: null": (CHAT, b'{"max_tokens":null}', b'{"max_tokens":9}'),
    "chat: null beside a number": (
        CHAT,
        b'{"max_tokens":4,"max_completion_tokens":null}',
        b'{"max_tokens":4,"max_completion_tokens":null}',
    ),
    "chat: without end": (CHAT, b'{"max_tokens":-1}', b'{"max_tokens":9}'),
    "chat: nothing": (CHAT, b'{"max_tokens":0}', b'{"max_tokens":9}'),
    "chat: a fraction": (CHAT, b'{"max_tokens":1e3}', b'{"max_tokens":9}'),
    "chat: a low fraction": (CHAT, b'{"max_tokens":8.0}', b'{"max_tokens":8.0}'),
    "chat: escaped name": (CHAT, b'{"max\\u005ftokens":99}', b'{"max\\u005ftokens":9}'),
    "chat: deeper": (
        CHAT,
        b'{"x":{"max_tokens":99}}',
        b'{"max_completion_tokens":9,"x":{"max_tokens":99}}',
    ),
    "responses": (_OF_RESPONSES, b'{"a":1}', b'{"max_output_tokens":9,"a":1}'),
    "anthropic": (OF_MESSAGES, b'{"max_tokens":1024}', b'{"max_tokens":9}'),
    "anthropic: other models": (
        OF_MESSAGES,
        b'{"max_tokens":9,"fallbacks":[{"max_tokens":50},{"max_tokens":null},{"model":"m"}]}',
        b'{"max_tokens":9,"fallbacks":[{"max_tokens":9},{"max_tokens":null},{"model":"m"}]}',
    ),
    "anthropic: other models, none of its own": (
        OF_MESSAGES,
        b'{"fallbacks":[{"max_tokens":5}]}',
        b'{"max_tokens":9,"fallbacks":[{"max_tokens":5}]}',
    ),
    "gemini: none": (GEMINI, b"{}", b'{"generationConfig":{"maxOutputTokens":9}}'),
    "gemini: null": (
        GEMINI,
        b'{"generationConfig":null}',
        b'{"generationConfig":{"maxOutputTokens":9}}',
    ),
    "gemini: other settings": (
        GEMINI,
        b'{"generationConfig":{"topK":1}}',
        b'{"generationConfig":{"maxOutputTokens":9,"topK":1}}',
    ),
    "gemini: the other spelling": (
        GEMINI,
        b'{"generation_config":{"top_k":1}}',
        b'{"generation_config":{"max_output_tokens":9,"top_k":1}}',
    ),
    "gemini: mixed spelling": (
        GEMINI,
        b'{"generation_config":{"maxOutputTokens":77}}',
        b'{"generation_config":{"maxOutputTokens":9}}',
    ),
    "converse": (
        CONVERSE,
        b'{"inferenceConfig":{"maxTokens":512,"topP":0.1}}',
        b'{"inferenceConfig":{"maxTokens":9,"topP":0.1}}',
    ),
    "converse: the model's own field": (
        CONVERSE,
        b'{"inferenceConfig":{"maxTokens":1},"additionalModelRequestFields":{"max_tokens":99}}',
        b'{"inferenceConfig":{"maxTokens":1},"additionalModelRequestFields":{"max_tokens":9}}',
    ),
    "invoke: llama": (_native_limits("meta.llama3-8b"), b'{"a":1}', b'{"max_gen_len":9,"a":1}'),
    "invoke: titan": (
        _native_limits("amazon.titan-text-lite-v1"),
        b"{}",
        b'{"textGenerationConfig":{"maxTokenCount":9}}',
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_each_protocol_has_its_own_member(name: str) -> None:
    pointers, before, after = TABLE[name]
    assert under_ceiling(before, pointers, 9) == after


@pytest.mark.parametrize(
    "body",
    [b'{"max_tokens":"10"}', b'{"max_tokens":true}', b'{"max_tokens":[1]}', b"[]"],
)
def test_a_limit_that_is_no_number_is_not_guessed(body: bytes) -> None:
    with pytest.raises(Unmet):
        under_ceiling(body, CHAT, 9)


def test_a_limit_is_not_set_inside_something_else() -> None:
    with pytest.raises(Unmet):
        under_ceiling(b'{"generationConfig":"x"}', GEMINI, 9)


@pytest.mark.parametrize(
    ("model", "wanted"),
    [
        ("eu.anthropic.claude-sonnet-4-v1:0", OF_MESSAGES),
        ("arn:aws:bedrock:eu-west-1::foundation-model/mistral.large", ("/max_tokens",)),
        ("arn:aws:bedrock:eu-west-1:1:application-inference-profile/abc", ()),
        ("cohere.embed-v3", ()),
    ],
)
def test_the_native_body_is_known_by_the_family_of_its_model(
    model: str, wanted: tuple[str, ...]
) -> None:
    assert _native_limits(model) == wanted


@given(bodies(), st.none() | st.integers(-5, 40))
def test_what_is_left_is_the_same_but_for_the_limit(body: bytes, limit: int | None) -> None:
    before = parse(body)
    assert isinstance(before, dict)
    if limit is not None and before:
        return
    body = body if limit is None else b'{"max_tokens":%d}' % limit
    after = parse(under_ceiling(body, ("/max_tokens",), 9))
    assert isinstance(after, dict)
    bound = after.pop("max_tokens")
    assert isinstance(bound, int)
    assert 1 <= bound <= 9
    assert bound == limit or limit is None or not 1 <= limit <= 9
    before.pop("max_tokens", None)
    assert after == before
