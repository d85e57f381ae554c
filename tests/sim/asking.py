"""The kinds of calls that simulated agents make, and the request of each on the wire.

Owns: which formats are spoken, on which route, and how a call's twists stand in its request.
Refuses: what is answered (``replies.py``) and what should come of it (``policies.py``).
"""

from __future__ import annotations

import base64
import itertools
import random
from collections.abc import Callable, Mapping
from typing import Final, Literal

import msgspec

from tests.sim.duties import members_of
from tests.sim.faulty import FAULTS, Wire
from tests.sim.ledger import Call, Kind
from tests.sim.parents import link_header
from tests.sim.tokens import LOCAL_TOKEN, TokenIssuer
from tests.sim.twists import PLAIN, Twist, trace_of

Family = Literal[
    "chat",
    "response",
    "message",
    "gemini",
    "converse",
    "embedding",
    "models",
    "rpc",
    "http",
    "file",
]
Object = dict[str, object]

CALLER_KEY: Final = "caller-key"
"""Stands in every agent's own API key, which must reach no provider."""
_PNG: Final = base64.b64encode(bytes(range(96))).decode()
_BOUNDARY: Final = "simulated-boundary"
_ANTHROPIC_TOOLS: Final = {
    "web_search": "web_search_20250305",
    "code_interpreter": "code_execution_20250522",
}
SESSION_METHODS: Final = ("initialize", "tools/list", "ping", "notifications/initialized")
SESSION_OPERATIONS: Final = ("tool_session", "tool_list", "tool_session", "tool_notification")
BATCH_LETTERS: Final = ("a", "b", "x")
"""Classes of the further messages of a batch, taken in turn."""


class Form(msgspec.Struct, frozen=True):
    """One kind. ``target``: ``{name}`` is the call's; ``share``: how many of a hundred calls are
    of it; ``streamed``: whether its answer is an event stream."""

    family: Family
    route: str
    target: str
    operation: str
    share: int
    streamed: bool = False
    method: str = "POST"

    @property
    def names_model(self) -> bool:
        """Whether a model is asked to answer."""
        return self.family not in ("rpc", "http", "file", "models")

    @property
    def has_text(self) -> bool:
        return self.family not in ("models", "file") and self.operation != "tool_session"


_CHAT: Final = "/v1/chat/completions"
_GEMINI: Final = "/gemini/v1beta/models/{name}"
FORMS: Final[dict[Kind, Form]] = {
    "chat": Form("chat", "openai", f"/openai{_CHAT}", "chat", 18),
    "stream": Form("chat", "openai", f"/openai{_CHAT}", "chat", 18, streamed=True),
    "quick": Form("chat", "quick", f"/quick{_CHAT}", "chat", 13),
    "tool": Form("rpc", "orders", "/mcp/orders", "tool_call", 13),
    "events": Form("rpc", "orders", "/mcp/orders", "tool_call", 5, streamed=True),
    "batch": Form("rpc", "orders", "/mcp/orders", "tool_call", 3),
    "session": Form("rpc", "orders", "/mcp/orders", "tool_session", 2),
    "listen": Form("rpc", "orders", "/mcp/orders", "tool_session", 1, True, "GET"),
    "response": Form("response", "openai", "/openai/v1/responses", "response", 3),
    "responses": Form("response", "openai", "/openai/v1/responses", "response", 3, streamed=True),
    "message": Form("message", "anthropic", "/anthropic/v1/messages", "message", 3),
    "messages": Form("message", "anthropic", "/anthropic/v1/messages", "message", 3, streamed=True),
    "gemini": Form("gemini", "gemini", f"{_GEMINI}:generateContent", "generate_content", 2),
    "geminis": Form(
        "gemini", "gemini", f"{_GEMINI}:streamGenerateContent?alt=sse", "generate_content", 2, True
    ),
    "converse": Form("converse", "bedrock", "/bedrock/model/{name}/converse", "converse", 2),
    "converses": Form(
        "converse", "bedrock", "/bedrock/model/{name}/converse-stream", "converse", 1, True
    ),
    "embedding": Form("embedding", "openai", "/openai/v1/embeddings", "embedding", 2),
    "models": Form("models", "openai", "/openai/v1/models/{name}", "models", 1, method="GET"),
    "http": Form("http", "ledger", "/tool/ledger/{name}/entries?verbose=1", "http_call", 3),
    "file": Form("file", "files", "/files/v1/files", "file", 2),
}

_KINDS: Final[list[Kind]] = list(FORMS)
_SHARES: Final = list(itertools.accumulate(form.share for form in FORMS.values()))
_OFFERING: Final = frozenset({"chat", "response", "message"})
SPENDING: Final = frozenset({"tool", "events", "batch", "http"})
"""Kinds whose arguments say an amount, which policy bounds."""


def draw_kind(chance: random.Random) -> Kind:
    return chance.choices(_KINDS, cum_weights=_SHARES)[0]


def fitted(kind: Kind, twist: Twist) -> Twist:
    """``twist`` without what a call of ``kind`` has no place for."""
    form = FORMS[kind]
    changes: Object = {}
    if not form.has_text:
        changes |= {"planted": PLAIN.planted, "fault": ""}
    if form.family not in _OFFERING:
        changes["offered"] = ""
    if kind not in SPENDING:
        changes |= {"amount": PLAIN.amount, "currency": PLAIN.currency}
    if kind == "file":
        changes["link"] = ""
    # A batch is no object to spoil; a plain tool may have a body of any form, or none.
    if kind == "batch" or (kind == "http" and twist.fault in ("not an object", "empty")):
        changes["fault"] = ""
    return msgspec.structs.replace(twist, **changes)


def number_of(name: str) -> int:
    return int(name[-6:])


def request_of(call: Call, issuer: TokenIssuer, now_seconds: int, chance: random.Random) -> Wire:
    """``call`` as it is sent, twists and all. ``now_seconds``: true time."""
    form, twist = FORMS[call.kind], call.twist
    text = "tell me more " * chance.randrange(1, 60) + twist.planted.text
    body = _BODIES[form.family](call, form, text)
    headers = {"traceparent": trace_of(call.name), "user-agent": "sim-agent/1.0 (test)"}
    if body:
        headers["content-type"] = "application/json"
    if form.family == "file":
        headers["content-type"] = f"multipart/form-data; boundary={_BOUNDARY}"
    if form.family == "rpc":
        headers["accept"] = "application/json, text/event-stream"
    if form.family == "message":
        headers["anthropic-version"] = "2023-06-01"
    headers |= _identity(call, issuer, now_seconds)
    wire = Wire(form.method, form.target.format(name=call.name), headers, body)
    if twist.fault:
        wire = FAULTS[twist.fault].spoil(wire)
    if twist.link:
        linked = wire.body + b" " if twist.link == "other_body" else wire.body
        value = link_header(number_of(call.name), linked, forged=twist.link == "forged")
        wire = msgspec.structs.replace(wire, headers={**wire.headers, "x-gatepost-parent": value})
    return wire


def _identity(call: Call, issuer: TokenIssuer, now_seconds: int) -> dict[str, str]:
    """Who calls, as its headers say: a token of its own, or where SDKs put their key."""
    local = call.door == "local"
    headers = {"authorization": f"Bearer {LOCAL_TOKEN if local else CALLER_KEY}"}
    token = call.twist.token
    if not token:
        return headers
    if token == "two tokens":
        headers["x-api-key"] = issuer.token(call.name, "writer", now_seconds)
        token = "good"
    shown = issuer.token(call.name, token, now_seconds)
    if local or number_of(call.name) % 2:
        headers["x-gatepost-delegation"] = shown
    else:
        headers["authorization"] = f"Bearer {shown}"
    return headers


# -- bodies ----------------------------------------------------------------------------------


def _offered(twist: Twist, family: Family) -> Object:
    """What else stands in the body of a prompt."""
    if twist.offered in ("kept", "foreign"):
        return {"container": f"{twist.offered}-1"}
    if twist.offered in ("", "picture"):
        return {}
    kind = _ANTHROPIC_TOOLS.get(twist.offered) if family == "message" else None
    return {"tools": [{"type": kind or twist.offered, "name": "one"}]}


def _object(call: Call, form: Form, members: Mapping[str, object]) -> bytes:
    """A body with ``members`` and with what the call's twists and class put beside them."""
    beside = _offered(call.twist, form.family) | members_of(call, form.family)
    return msgspec.json.encode({**members, **beside})


def _chat(call: Call, form: Form, text: str) -> bytes:
    content: object = text
    if call.twist.offered == "picture":
        url = {"url": f"data:image/png;base64,{_PNG}"}
        content = [{"type": "text", "text": text}, {"type": "image_url", "image_url": url}]
    members: Object = {"model": call.name, "messages": [{"role": "user", "content": content}]}
    if form.streamed:
        members |= {"stream": True, "stream_options": {"include_usage": True}}
    return _object(call, form, members)


def _response(call: Call, form: Form, text: str) -> bytes:
    content: object = text
    if call.twist.offered == "picture":
        image = {"type": "input_image", "image_url": f"data:image/png;base64,{_PNG}"}
        parts = [{"type": "input_text", "text": text}, image]
        content = [{"role": "user", "content": parts}]
    members: Object = {"model": call.name, "input": content, "stream": form.streamed}
    return _object(call, form, members)


def _message(call: Call, form: Form, text: str) -> bytes:
    content: list[Object] = [{"type": "text", "text": text}]
    if call.twist.offered == "picture":
        source = {"type": "base64", "media_type": "image/png", "data": _PNG}
        content.append({"type": "image", "source": source})
    members: Object = {
        "model": call.name,
        "max_tokens": 100,
        "system": "be brief",
        "messages": [{"role": "user", "content": content}],
        "stream": form.streamed,
    }
    return _object(call, form, members)


def _gemini(call: Call, form: Form, text: str) -> bytes:
    contents = [{"role": "user", "parts": [{"text": text}]}]
    members = {"contents": contents, "generationConfig": {"temperature": 1}}
    return _object(call, form, members)


def _converse(call: Call, form: Form, text: str) -> bytes:
    messages = [{"role": "user", "content": [{"text": text}]}]
    specification = {"name": "look", "inputSchema": {"json": {"type": "object"}}}
    tools = {"tools": [{"toolSpec": specification}]}
    return _object(call, form, {"messages": messages, "toolConfig": tools})


def _embedding(call: Call, form: Form, text: str) -> bytes:
    members = {"model": call.name, "input": [text, "more"], "encoding_format": "base64"}
    return _object(call, form, members)


def _nothing(call: Call, form: Form, text: str) -> bytes:
    return b""


def _arguments(call: Call, text: str) -> Object:
    twist = call.twist
    arguments: Object = {"amount": twist.amount, "currency": twist.currency, "note": text}
    arguments |= {"tags": ["day", "trip"], "rate": 1.5, "paid": False}
    return arguments | {"stream": True} if call.kind == "events" else arguments


def _rpc(call: Call, form: Form, text: str) -> bytes:
    if call.kind == "listen":
        return b""
    number = number_of(call.name)
    if call.kind == "session":
        method = SESSION_METHODS[number % len(SESSION_METHODS)]
        message: Object = {"jsonrpc": "2.0", "method": method, "params": {"_meta": {"n": number}}}
        if not method.startswith("notifications/"):
            message["id"] = f"s{number}"
        return msgspec.json.encode(message)
    calls = [_tool_call(1, call.name, _arguments(call, text))]
    if call.kind == "batch":
        calls += [_tool_call(2, one, _arguments(call, "more")) for one in further_names(call.name)]
    return msgspec.json.encode(calls if call.kind == "batch" else calls[0])


def _tool_call(rpc_id: int, name: str, arguments: Object) -> Object:
    params = {"name": name, "arguments": arguments}
    return {"jsonrpc": "2.0", "id": rpc_id, "method": "tools/call", "params": params}


def further_names(name: str) -> tuple[str, ...]:
    """Tools that the other messages of batch ``name`` ask for."""
    letter = BATCH_LETTERS[number_of(name) % len(BATCH_LETTERS)]
    return (f"sim-{letter}-2{name[-5:]}",)


def _http(call: Call, form: Form, text: str) -> bytes:
    return msgspec.json.encode(_arguments(call, text))


def _file(call: Call, form: Form, text: str) -> bytes:
    content = call.name.encode() * (1 + number_of(call.name) % 3_000)
    head = f'--{_BOUNDARY}\r\ncontent-disposition: form-data; name="file"; filename="f"\r\n\r\n'
    return head.encode() + content + f"\r\n--{_BOUNDARY}--\r\n".encode()


_BODIES: Final[dict[Family, Callable[[Call, Form, str], bytes]]] = {
    "chat": _chat,
    "response": _response,
    "message": _message,
    "gemini": _gemini,
    "converse": _converse,
    "embedding": _embedding,
    "models": _nothing,
    "rpc": _rpc,
    "http": _http,
    "file": _file,
}
