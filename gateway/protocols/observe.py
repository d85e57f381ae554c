"""Reads along while an answer passes by: served model, token counts, finish reasons.

Owns: ``Observer`` and where each provider writes these things, in whole JSON answers and in event
streams. Refuses: holding the answer up, changing it, and failing: what can't be read is null.

Streams are read cheaply: an event is parsed only if a search of its bytes says that it can hold
something. A text that merely talks about those members has its quotes escaped, so it does not
match; one parse too many would cost time, never a wrong value.
"""

from __future__ import annotations

import contextlib
import re
from typing import Final, Protocol

import msgspec

from gateway.call import CallView, Route
from gateway.limits import FINISH_REASONS_MAX, OBSERVED_JSON_BYTES_MAX
from gateway.protocols import answers
from gateway.protocols.answers import NO_USAGE, merged
from gateway.protocols.sse import EventSplitter, event_data
from gateway.record import Usage
from gateway.vocabulary import Operation

_REQUEST_ID_HEADERS: Final = (
    "x-request-id",
    "request-id",
    "x-amzn-requestid",
    "apim-request-id",
    "x-goog-request-id",
)


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen. ``complete`` is false where an event stream ended without the event that
    its protocol ends with: it was cut, however cleanly the connection closed."""

    served: str | None
    usage: Usage
    finish_reasons: tuple[str, ...]
    request_id: str | None
    complete: bool


class Notes:
    """What the readers below write down."""

    def __init__(self) -> None:
        self.served: str | None = None
        self.usage: Usage = NO_USAGE
        self.reasons: dict[str, None] = {}
        self.ended = False

    def note(self, served: str | None, usage: Usage | None, reasons: list[str]) -> None:
        if served is not None:
            self.served = served
        if usage is not None:
            self.usage = merged(self.usage, usage)
        for reason in reasons:
            if len(self.reasons) < FINISH_REASONS_MAX:
                self.reasons[reason] = None


class Reader(Protocol):
    """One provider's answers. Both methods raise msgspec.MsgspecError, and may do nothing."""

    def whole(self, body: bytes, notes: Notes) -> None:
        """A whole JSON answer."""

    def event(self, data: bytes, notes: Notes) -> None:
        """The data of one server-sent event."""


class Observer:
    """Feeds on one answer; ``finish`` may be called once, at any point. Without a reader only
    the head is read."""

    def __init__(self, reader: Reader | None) -> None:
        self._reader = reader
        self._notes = Notes()
        self._splitter: EventSplitter | None = None
        self._buffer: bytearray | None = None
        self._request_id: str | None = None

    def head(self, status: int, headers: tuple[tuple[str, str], ...]) -> None:
        """The answer's head; names are lower-case. Only successful answers are read."""
        found = dict(reversed(headers))
        self._request_id = next(
            (found[name] for name in _REQUEST_ID_HEADERS if found.get(name)), None
        )
        kind = found.get("content-type", "").partition(";")[0].strip().lower()
        if status >= 300 or self._reader is None:
            return
        if kind == "text/event-stream":
            self._splitter = EventSplitter(drop_large=True)
        elif kind.endswith("json"):
            self._buffer = bytearray()

    def feed(self, chunk: bytes) -> None:
        """The next bytes of the answer. Never raises for what they hold."""
        if self._splitter is not None:
            for event in self._splitter.feed(chunk):
                data = event_data(event)
                if data is not None:
                    self._event(data)
        elif self._buffer is not None:
            self._buffer += chunk
            if len(self._buffer) > OBSERVED_JSON_BYTES_MAX:
                self._buffer = None

    def finish(self) -> Observed:
        """What was seen up to now."""
        notes = self._notes
        if self._buffer and self._reader is not None:
            with contextlib.suppress(msgspec.MsgspecError, RecursionError):
                self._reader.whole(bytes(self._buffer), notes)
        return Observed(
            served=notes.served,
            usage=notes.usage,
            finish_reasons=tuple(notes.reasons),
            request_id=self._request_id,
            complete=self._splitter is None or notes.ended,
        )

    def _event(self, data: bytes) -> None:
        assert self._reader is not None
        with contextlib.suppress(msgspec.MsgspecError, RecursionError):
            self._reader.event(data, self._notes)


# -- readers -------------------------------------------------------------------------------


class OpenAIReader:
    """Chat completions, responses and the rest of the OpenAI API."""

    _worth: Final = re.compile(
        rb'"usage"\s*:\s*\{|"finish_reason"\s*:\s*"'
        rb'|"type"\s*:\s*"(?:response\.(?:created|completed|incomplete|failed|cancelled)|error)"'
    )
    _endings: Final = frozenset(
        {"response.completed", "response.incomplete", "response.failed", "response.cancelled"}
    )

    _answer: Final = msgspec.json.Decoder(answers.OpenAIAnswer)
    _event: Final = msgspec.json.Decoder(answers.ResponseEvent)

    def __init__(self) -> None:
        self._first = True

    def whole(self, body: bytes, notes: Notes) -> None:
        self._note(self._answer.decode(body), notes)

    def event(self, data: bytes, notes: Notes) -> None:
        if data[:6] == b"[DONE]":
            notes.ended = True
        elif self._first or self._worth.search(data) is not None:
            self._first = False
            event = self._event.decode(data)
            if event.response is not None:
                self._note(event.response, notes, ended=event.type in self._endings)
            elif not event.type:
                self._note(self._answer.decode(data), notes)
            if event.type in self._endings:
                notes.ended = True

    @staticmethod
    def _note(answer: answers.OpenAIAnswer, notes: Notes, *, ended: bool = True) -> None:
        usage = None if answer.usage is None else answer.usage.usage()
        # A response object that is still being made has a status too, but has not finished.
        notes.note(answer.model, usage, answer.reasons() if ended else [])


class AnthropicReader:
    """Messages, whole and streamed."""

    _worth: Final = re.compile(rb'"type"\s*:\s*"message_(?:start|delta|stop)"')

    _answer: Final = msgspec.json.Decoder(answers.AnthropicAnswer)
    _event: Final = msgspec.json.Decoder(answers.AnthropicEvent)

    def whole(self, body: bytes, notes: Notes) -> None:
        self._note(self._answer.decode(body), notes)

    def event(self, data: bytes, notes: Notes) -> None:
        if self._worth.search(data) is None:
            return
        event = self._event.decode(data)
        if event.type == "message_start" and event.message is not None:
            self._note(event.message, notes)
        elif event.type == "message_delta":
            usage = None if event.usage is None else event.usage.usage()
            notes.note(None, usage, [] if event.delta is None else event.delta.reasons())
        elif event.type == "message_stop":
            notes.ended = True

    @staticmethod
    def _note(answer: answers.AnthropicAnswer, notes: Notes) -> None:
        usage = None if answer.usage is None else answer.usage.usage()
        notes.note(answer.model, usage, answer.reasons())


class GeminiReader:
    """generateContent, whole, as an event stream, and as a streamed JSON array.

    The protocol has no last event: a stream is complete once a candidate has a finish reason.
    """

    _worth: Final = re.compile(rb'"usageMetadata"\s*:\s*\{|"finishReason"\s*:\s*"')

    _answer: Final = msgspec.json.Decoder(answers.GeminiAnswer)
    _answers: Final = msgspec.json.Decoder(list[answers.GeminiAnswer])

    def whole(self, body: bytes, notes: Notes) -> None:
        streamed = body.lstrip()[:1] == b"["
        for answer in self._answers.decode(body) if streamed else [self._answer.decode(body)]:
            self._note(answer, notes)

    def event(self, data: bytes, notes: Notes) -> None:
        if self._worth.search(data) is not None:
            self._note(self._answer.decode(data), notes)

    @staticmethod
    def _note(answer: answers.GeminiAnswer, notes: Notes) -> None:
        usage = None if answer.usage_metadata is None else answer.usage_metadata.usage()
        reasons = answer.reasons()
        notes.note(answer.model_version, usage, reasons)
        notes.ended = notes.ended or bool(reasons)


class BedrockReader:
    """Converse and InvokeModel, whole. Their streams are binary and pass by unread."""

    _answer: Final = msgspec.json.Decoder(answers.BedrockAnswer)
    _native: Final = AnthropicReader()

    def whole(self, body: bytes, notes: Notes) -> None:
        self._native.whole(body, notes)
        answer = self._answer.decode(body)
        notes.note(None, answer.counts(), [answer.stop_reason] if answer.stop_reason else [])

    def event(self, data: bytes, notes: Notes) -> None:
        """Bedrock has no server-sent events."""


_READERS: Final[dict[str, type[Reader]]] = {
    "openai": OpenAIReader,
    "anthropic": AnthropicReader,
    "gemini": GeminiReader,
    "bedrock": BedrockReader,
}


_OBSERVED: Final[frozenset[Operation]] = frozenset(
    {
        *("chat", "completion", "response", "message", "generate_content", "converse"),
        *("embedding", "rerank", "moderation", "image", "audio", "count_tokens"),
    }
)
"""Operations whose answers name a model or count tokens; others pass by unread."""


def observer_for(route: Route, call: CallView) -> Observer:
    """The observer of the answer to ``call`` on ``route``."""
    reader = _READERS.get(route.protocol) if call.operation in _OBSERVED else None
    return Observer(None if reader is None else reader())
