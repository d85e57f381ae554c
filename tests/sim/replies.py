"""What simulated providers and tool servers answer, in the formats that real ones speak.

OpenAI's and Anthropic's objects and events are those of ``gatepost.far_end``; the others stand
here. Owns: the answer to each request, as the pieces in which it is sent, and what a record should
say of it. Refuses: sending, and everything that goes wrong on the way (``provider.py``).

Source: Gemini API reference (GenerateContentResponse), Bedrock runtime reference (Converse,
ConverseStream, event stream encoding), MCP streamable HTTP transport.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from gatepost.far_end import anthropic, openai
from gatepost.far_end.answers import Answer, Body
from tests.sim.ledger import Sent

Object = dict[str, object]

JSON: Final = "application/json"
EVENTS: Final = "text/event-stream"
AWS_EVENTS: Final = "application/vnd.amazon.eventstream"

SERVER_REQUESTS: Final = ("", "sampling/createMessage", "elicitation/create", "roots/list")
"""What a tool server asks of the agent before it answers, taken in turn; policy allows all but
the elicitation."""
BLOCKED_REQUEST: Final = "elicitation/create"


class Reply(msgspec.Struct, frozen=True):
    """``parts``: the body in pieces, of which a whole answer has one; ``sent``: what a record must
    say of it once it came whole; ``status``: of HTTP."""

    kind: str
    parts: tuple[bytes, ...]
    sent: Sent
    status: int = 200

    @property
    def streamed(self) -> bool:
        return self.kind in (EVENTS, AWS_EVENTS)

    @property
    def has_last_event(self) -> bool:
        """Whether the format says by an event of its own that a stream is whole."""
        return self.kind == EVENTS and self.sent.reason is not None


def answer_text(name: str) -> str:
    """What is answered to call ``name``; agents compare."""
    return f"this is the answer to {name}. " * (1 + int(name[-6:]) % 4)


def _answer(name: str) -> Answer:
    number = int(name[-6:])
    return Answer(number, name, answer_text(name).strip(), input_tokens=1 + number % 97)


def _sent(answer: Answer, reason: str, *, output: bool = True) -> Sent:
    return Sent(answer.model, answer.input_tokens, answer.output_tokens if output else None, reason)


_SILENT: Final = Sent(None, None, None, None)


class Request(msgspec.Struct):
    """The members of any request that an answer depends on; the others are ignored."""

    model: str = ""
    stream: bool = False
    stream_options: dict[str, object] | None = None
    method: str = ""
    id: int | str | None = None
    params: dict[str, object] | None = None


_decoder: Final = msgspec.json.Decoder(Request)


def reply_to(name: str, method: str, target: str, body: bytes) -> Reply:
    """The answer to the request of call ``name``."""
    path = target.partition("?")[0]
    if path.startswith("/v1/files"):
        return _file(name, body)
    if path.startswith("/ledger/"):
        return _json({"entry": path, "said": answer_text(name)}, _SILENT)
    if path == "/":
        return _tool_server(name, method, body)
    return _model(name, method, path, body)


def _json(value: object, sent: Sent) -> Reply:
    return Reply(JSON, (msgspec.json.encode(value),), sent)


def _model(name: str, method: str, path: str, body: bytes) -> Reply:
    if method == "GET":
        return _json(openai.model(path.rpartition("/")[2]), _SILENT)
    for ending, write in _BY_ENDING.items():
        if path.endswith(ending):
            return write(_answer(name))
    request = _decoder.decode(body)
    return _BY_PATH[path](request, _answer(name))


# -- OpenAI and Anthropic ------------------------------------------------------------------------


def _chat(request: Request, answer: Answer) -> Reply:
    if not request.stream:
        return _json(openai.chat(answer), _sent(answer, "stop"))
    options = Body(answer.model, stream_options=request.stream_options)
    return Reply(EVENTS, tuple(openai.chat_events(options, answer)), _sent(answer, "stop"))


def _response(request: Request, answer: Answer) -> Reply:
    sent = _sent(answer, "completed")
    if not request.stream:
        return _json(openai.response(answer), sent)
    return Reply(EVENTS, tuple(openai.response_events(answer)), sent)


def _message(request: Request, answer: Answer) -> Reply:
    sent = _sent(answer, "end_turn")
    if not request.stream:
        return _json(anthropic.message(answer), sent)
    return Reply(EVENTS, tuple(anthropic.message_events(answer)), sent)


def _embedding(request: Request, answer: Answer) -> Reply:
    inputs = Body(answer.model, input=["one", "two"], encoding_format="base64")
    sent = Sent(answer.model, answer.input_tokens, None, None)
    return _json(openai.embeddings(inputs, answer), sent)


_BY_PATH: Final[dict[str, Callable[[Request, Answer], Reply]]] = {
    "/v1/chat/completions": _chat,
    "/v1/responses": _response,
    "/v1/messages": _message,
    "/v1/embeddings": _embedding,
}


# -- Gemini --------------------------------------------------------------------------------------


def _generated(answer: Answer, text: str, reason: str | None) -> Object:
    candidate: Object = {"content": {"role": "model", "parts": [{"text": text}]}, "index": 0}
    if reason is not None:
        candidate["finishReason"] = reason
    usage = {
        "promptTokenCount": answer.input_tokens,
        "candidatesTokenCount": answer.output_tokens,
        "totalTokenCount": answer.input_tokens + answer.output_tokens,
    }
    return {
        "candidates": [candidate],
        "usageMetadata": usage,
        "modelVersion": answer.model,
        "responseId": answer.tail,
    }


def _gemini(answer: Answer) -> Reply:
    return _json(_generated(answer, answer.text, "STOP"), _sent(answer, "STOP"))


def _gemini_events(answer: Answer) -> Reply:
    pieces = [_generated(answer, word, None) for word in answer.words[:-1]]
    pieces.append(_generated(answer, answer.words[-1], "STOP"))
    parts = [b"data: " + msgspec.json.encode(piece) + b"\r\n\r\n" for piece in pieces]
    return Reply(EVENTS, tuple(parts), _sent(answer, "STOP"))


# -- Bedrock -------------------------------------------------------------------------------------


def _converse(answer: Answer) -> Reply:
    message = {"role": "assistant", "content": [{"text": answer.text}]}
    usage = {
        "inputTokens": answer.input_tokens,
        "outputTokens": answer.output_tokens,
        "totalTokens": answer.input_tokens + answer.output_tokens,
    }
    members = {"output": {"message": message}, "stopReason": "end_turn", "usage": usage}
    # Converse does not say which model answered.
    sent = Sent(None, answer.input_tokens, answer.output_tokens, "end_turn")
    return _json({**members, "metrics": {"latencyMs": 7}}, sent)


def _converse_events(answer: Answer) -> Reply:
    # Binary events pass unread: no counts, and no reason.
    parts = [
        _aws_event("contentBlockDelta", {"delta": {"text": word}, "contentBlockIndex": 0})
        for word in answer.words
    ]
    parts.append(_aws_event("messageStop", {"stopReason": "end_turn"}))
    return Reply(AWS_EVENTS, tuple(parts), _SILENT)


def _aws_event(kind: str, payload: Object) -> bytes:
    headers = b"".join(
        bytes([len(name)]) + name + b"\x07" + struct.pack(">H", len(value)) + value
        for name, value in ((b":event-type", kind.encode()), (b":message-type", b"event"))
    )
    body = msgspec.json.encode(payload)
    prelude = struct.pack(">II", 16 + len(headers) + len(body), len(headers))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + body
    return message + struct.pack(">I", zlib.crc32(message))


def aws_payloads(data: bytes) -> Iterator[bytes]:
    """The payloads of the whole binary events in ``data``."""
    while len(data) >= 12:
        total, headers = struct.unpack_from(">II", data)
        if len(data) < total:
            return
        assert zlib.crc32(data[: total - 4]) == struct.unpack_from(">I", data, total - 4)[0]
        yield data[12 + headers : total - 4]
        data = data[total:]


_BY_ENDING: Final[dict[str, Callable[[Answer], Reply]]] = {
    ":generateContent": _gemini,
    ":streamGenerateContent": _gemini_events,
    "/converse": _converse,
    "/converse-stream": _converse_events,
}


# -- tools and files -----------------------------------------------------------------------------


def _file(name: str, body: bytes) -> Reply:
    found = {"id": f"file-{name}", "object": "file", "digest": hashlib.sha256(body).hexdigest()}
    return _json(found, _SILENT)


def _tool_server(name: str, method: str, body: bytes) -> Reply:
    if method == "GET":
        return Reply(
            EVENTS, (_rpc_event({"method": "notifications/message"}), b": the end\n\n"), _SILENT
        )
    if body.startswith(b"["):
        requests = msgspec.json.decode(body, type=list[Request])
        return _json([_result(one) for one in requests], _SILENT)
    request = _decoder.decode(body)
    if request.method != "tools/call":
        if request.id is None:
            return Reply("", (), _SILENT, 202)
        return _json({"jsonrpc": "2.0", "id": request.id, "result": {"name": name}}, _SILENT)
    if asks_as_events(body):
        return Reply(EVENTS, tuple(_tool_events(name, request)), _SILENT)
    return _json(_result(request), _SILENT)


def asks_as_events(body: bytes) -> bool:
    """Whether this server answers a call with an event stream."""
    return b'"stream"' in body


def server_request_of(name: str) -> str:
    """What the tool server asks of the agent during call ``name``; ``""`` for nothing."""
    return SERVER_REQUESTS[int(name[-6:]) % len(SERVER_REQUESTS)]


def _tool_events(name: str, request: Request) -> Iterator[bytes]:
    yield _rpc_event({"method": "notifications/progress", "params": {"progress": 1}})
    asked = server_request_of(name)
    if asked:
        text = {"type": "text", "text": f"what do you say, {name}?"}
        params = {"messages": [{"role": "user", "content": text}], "maxTokens": 10}
        yield _rpc_event({"id": "of-the-server", "method": asked, "params": params})
    yield _rpc_event(_result(request))


def _rpc_event(message: Object) -> bytes:
    data = msgspec.json.encode({"jsonrpc": "2.0", **message})
    return b"event: message\ndata: " + data + b"\n\n"


def _result(request: Request) -> Object:
    assert request.params is not None
    content = [{"type": "text", "text": answer_text(str(request.params["name"]))}]
    return {"jsonrpc": "2.0", "id": request.id, "result": {"content": content}}
