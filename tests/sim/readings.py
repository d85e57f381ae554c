"""How simulated agents read answers: is it whole, in the provider's own shape, and the caller's?

Owns: the text of an answer in each format, and the code of a refusal in each. Refuses: knowing
what was ruled; an answer that is not the gateway's own is the provider's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

import msgspec

from tests.sim.asking import FORMS, Family, further_names, number_of
from tests.sim.ledger import Call
from tests.sim.replies import BLOCKED_REQUEST, answer_text, aws_payloads, server_request_of


class _Code(msgspec.Struct):
    """Where each format keeps the gateway's code."""

    code: str | int | None = None
    data: _Code | None = None
    details: _Code | list[_Code] | None = None
    metadata: _Code | None = None


class _Refused(msgspec.Struct):
    error: _Code | None = None
    code: str | int | None = None


def refusal_code(body: bytes) -> str | None:
    """The code in an error of any format; ``""`` for an error without one, None for no error."""
    if not body.startswith((b"{", b"[")):
        return None
    many = msgspec.json.decode(body, type=list[_Refused]) if body.startswith(b"[") else None
    refused = many[0] if many else msgspec.json.decode(body, type=_Refused)
    if refused.error is None:
        return None if refused.code is None else str(refused.code)
    return _innermost(refused.error) or ""


def _innermost(error: _Code) -> str | None:
    details = error.details[0] if isinstance(error.details, list) else error.details
    for inner in (error.data, details, error.metadata):
        if inner is not None:
            return _innermost(inner)
    return None if error.code is None else str(error.code)


def fault_of(call: Call, body: bytes, digest: str) -> str | None:
    """What is wrong with the whole answer of status 200 or 202 to ``call``; None if nothing is.

    ``digest``: SHA-256 of the request's body.
    """
    form = FORMS[call.kind]
    if call.kind == "file":
        found = msgspec.json.decode(body, type=dict[str, str])
        return None if found["digest"] == digest else "the file arrived as another"
    if form.operation == "tool_session":
        return _session_fault(call, body)
    if form.streamed and form.family in _ENDINGS and not body.endswith(_ENDINGS[form.family]):
        return "a cut stream ended cleanly"
    if call.kind == "models":
        return None if _Members(body).at("id") == call.name else "it is of another model"
    if call.kind == "embedding":
        return None if _Members(body).at("model") == call.name else "it is of another model"
    if call.kind == "events" and server_request_of(call.name) == BLOCKED_REQUEST:
        return "it came through although a request of the server is denied"
    names = (call.name, *further_names(call.name)) if call.kind == "batch" else (call.name,)
    wanted = [answer_text(name).strip() for name in names]
    texts = (_WHOLE_TEXTS if not form.streamed else _STREAM_TEXTS)[form.family](body)
    return None if [one.strip() for one in texts] == wanted else f"it is not its own: {body!r}"


def _session_fault(call: Call, body: bytes) -> str | None:
    if call.kind == "listen":
        return None if body.endswith(b": the end\n\n") else "a cut stream ended cleanly"
    if call.status == 202:
        return None if not body else "an answer to a notification"
    members = _Members(body)
    right = members.at("id") == f"s{number_of(call.name)}"
    return None if right and members.at("result", "name") == call.name else "it is not its own"


class _Members:
    """A JSON value, looked into by path."""

    def __init__(self, body: bytes) -> None:
        self._value: object = msgspec.json.decode(body)

    def at(self, *path: str | int) -> object:
        value = self._value
        for step in path:
            assert isinstance(value, dict | list)
            value = value[step]  # type: ignore[index]  # a name or an index, as the format says
        return value

    def text(self, *path: str | int) -> str:
        value = self.at(*path)
        assert isinstance(value, str)
        return value


def _events(body: bytes) -> list[bytes]:
    """The data of each event that is JSON."""
    lines = body.replace(b"\r\n", b"\n").split(b"\n")
    data = [line.removeprefix(b"data: ") for line in lines if line.startswith(b"data: ")]
    return [one for one in data if one != b"[DONE]"]


class _Delta(msgspec.Struct):
    content: str | None = None
    text: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta


class _Event(msgspec.Struct):
    """An event of any format that streams texts as deltas."""

    choices: list[_Choice] = []
    delta: _Delta | str | None = None


def _deltas(events: list[bytes]) -> list[str]:
    found: list[str] = []
    for data in events:
        event = msgspec.json.decode(data, type=_Event)
        deltas = [choice.delta for choice in event.choices]
        for one in (*deltas, event.delta):
            text = one if isinstance(one, str) or one is None else one.content or one.text
            found.append(text or "")
    return ["".join(found)]


def _results(body: bytes) -> list[str]:
    messages = body if body.startswith(b"[") else b"[" + body + b"]"
    members = _Members(messages)
    count = len(msgspec.json.decode(messages, type=list[object]))
    return [members.text(at, "result", "content", 0, "text") for at in range(count)]


_GENERATED: Final = ("candidates", 0, "content", "parts", 0, "text")
_WHOLE_TEXTS: Final[dict[Family, Callable[[bytes], list[str]]]] = {
    "chat": lambda body: [_Members(body).text("choices", 0, "message", "content")],
    "response": lambda body: [_Members(body).text("output", 0, "content", 0, "text")],
    "message": lambda body: [_Members(body).text("content", 0, "text")],
    "gemini": lambda body: [_Members(body).text(*_GENERATED)],
    "converse": lambda body: [_Members(body).text("output", "message", "content", 0, "text")],
    "rpc": _results,
    "http": lambda body: [_Members(body).text("said")],
}
_STREAM_TEXTS: Final[dict[Family, Callable[[bytes], list[str]]]] = {
    "chat": lambda body: _deltas(_events(body)),
    "response": lambda body: _deltas(_events(body)),
    "message": lambda body: _deltas(_events(body)),
    "gemini": lambda body: ["".join(_Members(one).text(*_GENERATED) for one in _events(body))],
    "converse": lambda body: _deltas(list(aws_payloads(body))),
    "rpc": lambda body: _results(_events(body)[-1]),
}
_ENDINGS: Final[dict[Family, bytes]] = {
    "chat": b"data: [DONE]\n\n",
    "message": b'data: {"type":"message_stop"}\n\n',
}
"""How a stream of a provider must end. Others are known to be whole by their text alone."""


def body_digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
