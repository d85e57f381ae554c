"""The members of providers' answers that a completion record holds, as lenient types.

Owns: which members those are, and how each provider's counts map to ``record.Usage``. Refuses:
strictness; an answer is passed on whatever it is, and what can't be read is null in the record.

Counts stand as the provider gives them: OpenAI's and Gemini's input counts include cached tokens,
Anthropic's do not.

Source: OpenAI (chat completion, response, embedding usage), Anthropic (message usage), Gemini
(UsageMetadata), Bedrock (Converse TokenUsage).
"""

from __future__ import annotations

from typing import Final

import msgspec

from gateway.limits import JSON_INTEGER_MAX
from gateway.record import Usage

NO_USAGE: Final = Usage(None, None, None, None, None)


class _Details(msgspec.Struct, frozen=True):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None


class OpenAIUsage(msgspec.Struct, frozen=True):
    """Both spellings: chat (prompt, completion) and responses (input, output)."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    input_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None

    def usage(self) -> Usage:
        read = self.prompt_tokens_details or self.input_tokens_details or _Details()
        made = self.completion_tokens_details or self.output_tokens_details or _Details()
        return Usage(
            input=_first(self.prompt_tokens, self.input_tokens),
            output=_first(self.completion_tokens, self.output_tokens),
            cache_read=read.cached_tokens,
            cache_creation=read.cache_write_tokens,
            reasoning=made.reasoning_tokens,
        )


class OpenAIChoice(msgspec.Struct, frozen=True):
    """One of the answers asked for; in a stream the reason stands in its last chunk only."""

    finish_reason: str | None = None


class _Incomplete(msgspec.Struct, frozen=True):
    reason: str | None = None


class OpenAIAnswer(msgspec.Struct, frozen=True):
    """A chat completion, one of its chunks, a response object, an embedding …"""

    model: str | None = None
    usage: OpenAIUsage | None = None
    choices: list[OpenAIChoice] | None = None
    status: str | None = None
    incomplete_details: _Incomplete | None = None

    def reasons(self) -> list[str]:
        if self.incomplete_details is not None and self.incomplete_details.reason:
            return [self.incomplete_details.reason]
        if self.status is not None and not self.choices:
            return [self.status]
        choices = self.choices or []
        return [choice.finish_reason for choice in choices if choice.finish_reason]


class ResponseEvent(msgspec.Struct, frozen=True):
    """An event of a response stream; only some hold the response object."""

    type: str = ""
    response: OpenAIAnswer | None = None


class _OutputDetails(msgspec.Struct, frozen=True):
    thinking_tokens: int | None = None


class AnthropicUsage(msgspec.Struct, frozen=True):
    """Counts of a message; ``input_tokens`` leaves cached ones out."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    output_tokens_details: _OutputDetails | None = None

    def usage(self) -> Usage:
        details = self.output_tokens_details or _OutputDetails()
        return Usage(
            input=self.input_tokens,
            output=self.output_tokens,
            cache_read=self.cache_read_input_tokens,
            cache_creation=self.cache_creation_input_tokens,
            reasoning=details.thinking_tokens,
        )


class AnthropicAnswer(msgspec.Struct, frozen=True):
    """A message, or the ``delta`` of a message stream."""

    model: str | None = None
    usage: AnthropicUsage | None = None
    stop_reason: str | None = None

    def reasons(self) -> list[str]:
        return [self.stop_reason] if self.stop_reason else []


class AnthropicEvent(msgspec.Struct, frozen=True):
    """An event of a message stream. Counts in ``message_delta`` are cumulative."""

    type: str = ""
    message: AnthropicAnswer | None = None
    delta: AnthropicAnswer | None = None
    usage: AnthropicUsage | None = None


class GeminiUsage(msgspec.Struct, frozen=True, rename="camel"):
    """Counts so far; ``prompt_token_count`` includes cached ones."""

    prompt_token_count: int | None = None
    candidates_token_count: int | None = None
    cached_content_token_count: int | None = None
    thoughts_token_count: int | None = None

    def usage(self) -> Usage:
        return Usage(
            input=self.prompt_token_count,
            output=self.candidates_token_count,
            cache_read=self.cached_content_token_count,
            cache_creation=None,
            reasoning=self.thoughts_token_count,
        )


class GeminiCandidate(msgspec.Struct, frozen=True, rename="camel"):
    """One of the answers asked for."""

    finish_reason: str | None = None


class GeminiAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """A whole answer, or one event of a stream: each has the counts so far."""

    model_version: str | None = None
    usage_metadata: GeminiUsage | None = None
    candidates: list[GeminiCandidate] | None = None

    def reasons(self) -> list[str]:
        return [each.finish_reason for each in self.candidates or [] if each.finish_reason]


class _BedrockUsage(msgspec.Struct, frozen=True, rename="camel"):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_write_input_tokens: int | None = None


class BedrockAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """Converse's answer. InvokeModel's is the model's own: Anthropic's, for those models."""

    usage: _BedrockUsage | None = None
    stop_reason: str | None = None

    def counts(self) -> Usage:
        counted = self.usage or _BedrockUsage()
        return Usage(
            input=counted.input_tokens,
            output=counted.output_tokens,
            cache_read=counted.cache_read_input_tokens,
            cache_creation=counted.cache_write_input_tokens,
            reasoning=None,
        )


def merged(before: Usage, after: Usage) -> Usage:
    """``after`` where it says something that a record can hold, else ``before``."""
    return Usage(
        input=_first(after.input, before.input),
        output=_first(after.output, before.output),
        cache_read=_first(after.cache_read, before.cache_read),
        cache_creation=_first(after.cache_creation, before.cache_creation),
        reasoning=_first(after.reasoning, before.reasoning),
    )


def _first(one: int | None, other: int | None) -> int | None:
    return one if one is not None and 0 <= one <= JSON_INTEGER_MAX else other
