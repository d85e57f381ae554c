"""JSON-RPC 2.0 messages: one, or a batch, in exactly one reading.

Owns: telling requests, notifications and answers apart, ids as JSON text, and the exact bytes of
a member. Refuses: what a method means (``mcp.py``, ``server_requests.py``).

Source: JSON-RPC 2.0 sections 4 to 6; MCP forbids null ids.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from gateway.call import Json
from gateway.errors import RequestRefused
from gateway.limits import RPC_BATCH_MAX
from gateway.protocols.dialect import Members

MessageKind = Literal["request", "notification", "answer"]


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message. ``id``: JSON text, None for notifications. ``method``: ``""`` for answers.

    ``params``: ``{}`` where there are none. ``raw_params`` and ``raw_arguments``: the exact
    bytes of ``params`` and of ``params.arguments``, None where they are missing.
    """

    kind: MessageKind
    id: str | None
    method: str
    params: Members
    payload: Json
    raw_params: bytes | None
    raw_arguments: bytes | None


class _RawParams(msgspec.Struct):
    arguments: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _RawMessage(msgspec.Struct):
    params: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_one: Final = msgspec.json.Decoder(_RawMessage)
_many: Final = msgspec.json.Decoder(list[_RawMessage])
_params: Final = msgspec.json.Decoder(_RawParams)


def read_messages(value: Json, body: bytes) -> tuple[list[Message], bool]:
    """The messages of ``body``, whose parsed value is ``value``, and whether it is a batch.

    Raises RequestRefused ``unreadable_body``.
    """
    if isinstance(value, list):
        if not 0 < len(value) <= RPC_BATCH_MAX:
            raise RequestRefused("unreadable_body", f"a batch has 1 to {RPC_BATCH_MAX} messages")
        for item in value:
            _check_object(item)
        raws = _many.decode(body)
        return [_message(item, raw) for item, raw in zip(value, raws, strict=True)], True
    _check_object(value)
    return [_message(value, _one.decode(body))], False


_MESSAGE_MEMBERS: Final = frozenset({"jsonrpc", "id", "method", "params", "result", "error"})
_PARAMETERS: Final = frozenset({"name", "arguments", "uri"})


def _check_object(value: Json) -> None:
    if not isinstance(value, dict) or value.get("jsonrpc") != "2.0":
        raise RequestRefused("unreadable_body", "a message must be a JSON-RPC 2.0 object")
    _check_spelling(value, _MESSAGE_MEMBERS)


def _check_spelling(members: Members, known: frozenset[str]) -> None:
    """Law 5: some servers read members whatever their case; those that we read have only one."""
    for key in members:
        if key not in known and key.casefold() in known:
            folded = key.casefold()
            code = "duplicate_keys" if folded in members else "unreadable_body"
            raise RequestRefused(code, f"a member differs from {folded!r} only in case")


def _message(value: Json, raw: _RawMessage) -> Message:
    assert isinstance(value, dict)
    method = value.get("method")
    is_answer = "result" in value or "error" in value
    if is_answer == ("method" in value):
        raise RequestRefused("unreadable_body", "a message has either a method or an answer")
    if is_answer:
        payload = {"result": value.get("result"), "error": value.get("error")}
        return Message(
            kind="answer",
            id=_id_text(value.get("id"), is_answer=True),
            method="",
            params={},
            payload=payload,
            raw_params=None,
            raw_arguments=None,
        )
    if not isinstance(method, str) or not method:
        raise RequestRefused("unreadable_body", "/method must be a string")
    params = value.get("params")
    if params is not None and not isinstance(params, dict):
        raise RequestRefused("unreadable_body", "/params must be an object")
    _check_spelling(params or {}, _PARAMETERS)
    raw_params = _raw(raw.params) if isinstance(params, dict) else None
    return Message(
        kind="request" if "id" in value else "notification",
        id=_id_text(value["id"], is_answer=False) if "id" in value else None,
        method=method,
        params=params or {},
        payload=None,
        raw_params=raw_params,
        raw_arguments=None if raw_params is None else _raw(_params.decode(raw_params).arguments),
    )


def _id_text(value: Json, *, is_answer: bool) -> str | None:
    if value is None and is_answer:
        return None
    if type(value) is int or isinstance(value, str):
        return msgspec.json.encode(value).decode()
    raise RequestRefused("unreadable_body", "/id must be a string or an integer")


def _raw(raw: msgspec.Raw | msgspec.UnsetType) -> bytes | None:
    return None if raw is msgspec.UNSET else bytes(raw).strip()
