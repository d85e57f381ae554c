"""Any refusal becomes one HTTP answer, in the error shape that the caller's SDK already reads.

Owns: body, status and headers of every answer that Gatepost itself gives instead of an
upstream's, so that ``openai.PermissionDeniedError`` and its like are raised as for the provider's
own refusals and no SDK repeats a call that a repetition cannot help. Refuses: deciding, recording,
counting, framing headers (``content-length`` and ``connection`` are the server's), and putting
anything of the request into a turn-away.

Sources: OpenAI error object (SDK ``APIError.code``), Anthropic error envelope
(``error.details.error_code``), google.rpc.Status with ErrorInfo, AWS ``x-amzn-errortype``,
JSON-RPC 2.0 section 5.1, RFC 6750 section 3, RFC 9110 sections 10.2.3 and 15.5.6.
"""

from __future__ import annotations

from typing import Final

import msgspec

from gateway.call import CallView, Protocol
from gateway.errors import CODES, Code
from gateway.wire import Answer

MESSAGE_CHARACTERS_MAX: Final = 1_000
"""A message given by a bundle or an error detail is cut here: an answer stays one packet."""

JSON_RPC_REFUSED: Final = -32050
"""Our code in JSON-RPC's server range, clear of the ones MCP has given a meaning
(-32000 … -32002, -32020 … -32022, -32042)."""

_REMEDIES: Final[dict[str, str]] = {
    "unknown_route": "Check the base URL against the configured routes.",
    "method_not_allowed": "Check the path and method against the provider's API.",
    "body_too_large": "Send a smaller body, or raise body_bytes_max of the route.",
    "content_encoding_unsupported": "Send the body without Content-Encoding.",
    "foreign_host": "Use the listener's own address as the base URL.",
    "too_many_denials": "Stop repeating denied calls; read the reason of the last denial.",
    "internal_error": "Report this to the operators of the gateway.",
    "spool_full": "Operators: see `gatepost status`; the record store may be unreachable.",
    "disk_failed": "Operators: see `gatepost status`; the spool volume failed.",
    "token_missing": "Send a delegation token in X-Gatepost-Delegation or in the API key slot.",
    "actor_mismatch": "Get a delegation token that names this agent.",
    "peer_not_allowed": "Use the socket or user id that is configured for this agent.",
    "scope_insufficient": "Get a delegation token with the scopes that this call needs.",
    "assurance_too_low": "Send a verified delegation token in X-Gatepost-Delegation.",
    "unreadable_body": "Send a UTF-8 JSON body of the provider's API.",
    "duplicate_keys": "Send each key of a JSON object once, in the provider's own spelling.",
    "identity_ambiguous": "Send exactly one delegation token.",
    "value_too_long": "Shorten the value that is named.",
    "denied": "Do not repeat the call; ask the policy owner, with the decision id.",
    "approval_required": "Show the digest to the policy owner; another policy may allow it.",
    "obligation_unsupported": "Ask the policy owner, with the decision id.",
    "policy_locked": "The policy owner has to lift the stop.",
}
_REMEDY_BY_STATUS: Final[dict[int, str]] = {
    400: "Send a well-formed HTTP/1.1 request.",
    401: "Get a new delegation token and send the call again.",
    408: "Send the call again.",
    429: "Slow down, then send the call again.",
    431: "Send fewer or shorter headers.",
    501: "Use plain HTTP/1.1 requests.",
    502: "Operators: check the upstream of this route.",
    503: "Send the call again later.",
    504: "Operators: check the upstream of this route.",
}


_BECAUSE: Final[dict[str, str]] = {
    "no_grant": "no rule allows this combination of caller, action, model or tool, and data",
    "restricted": "a restriction applies to it",
    "hosted_tool_denied": "the provider would run a tool that is not allowed",
    "reference_denied": "the provider would read a stored object that is not allowed",
    "unknown_tool_type": "it carries a type of tool that this gateway does not know",
    "upstream_not_permitted": "no upstream of this route may be used for it",
}


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """What every shape is made from; ``rpc_id`` is JSON text, None where it is not known."""

    code: str
    spec: Code
    message: str
    decision_id: str | None
    rules: tuple[str, ...]
    approval_digest: str | None
    rpc_ids: tuple[str, ...]


def because(reason: str) -> str | None:
    """What a ruling's ``reason`` means to the caller, or None where its code says it all."""
    return _BECAUSE.get(reason)


def remedy(code: str) -> str:
    """What the caller or the operators can do about ``code``, as one sentence."""
    return _REMEDIES.get(code) or _REMEDY_BY_STATUS[CODES[code].status]


def turn_away(
    code: str, protocol: Protocol | None = None, *, allow: tuple[str, ...] = ()
) -> Answer:
    """The fixed answer where no ruling is possible: nothing of the request is in it.

    ``allow``: methods that the path takes, for ``method_not_allowed`` (RFC 9110 section 15.5.6).
    """
    refusal = _refusal(code, message=None, decision_id=None)
    extra = (("allow", ", ".join(allow)),) if allow else ()
    return _answer(refusal, protocol, refusal.spec.status, extra)


def refuse(
    code: str,
    protocol: Protocol,
    *,
    decision_id: str,
    message: str | None = None,
    rules: tuple[str, ...] = (),
    approval_digest: str | None = None,
    call: CallView | None = None,
    batch: tuple[CallView, ...] = (),
) -> Answer:
    """The answer to a call that was ruled on, or whose upstream failed after a ruling.

    ``message`` (an error's detail, or the bundle's words) stands between the code's own message
    and its remedy; it is cut at ``MESSAGE_CHARACTERS_MAX``. ``rules`` are named only if the bundle
    allows it: the caller of this function decides. ``call`` gives MCP its request id; ``batch``
    gives the ids of all calls of a JSON-RPC batch, of which one refusal refuses every one.

    MCP: a request whose id is known gets HTTP 200 with a JSON-RPC error, which every client
    raises as its protocol error (older ones end the whole session on a 4xx). 401 stays 401, as
    the MCP authorization text demands and token refreshers expect.
    """
    calls = batch or ((call,) if call is not None else ())
    refusal = _refusal(
        code,
        message=message,
        decision_id=decision_id,
        rules=rules,
        approval_digest=approval_digest,
        rpc_ids=tuple(each.rpc_id for each in calls if each.rpc_id is not None),
    )
    status = refusal.spec.status
    if protocol == "mcp" and refusal.rpc_ids and status != 401:
        status = 200
    return _answer(refusal, protocol, status, (), is_batch=bool(batch))


def _refusal(
    code: str,
    *,
    message: str | None,
    decision_id: str | None,
    rules: tuple[str, ...] = (),
    approval_digest: str | None = None,
    rpc_ids: tuple[str, ...] = (),
) -> Refusal:
    spec = CODES[code]
    said = f"{spec.message}: {message[:MESSAGE_CHARACTERS_MAX]}" if message else spec.message
    text = f"Gatepost: {said} ({code}). {remedy(code)}"
    if rules:
        text += f" Rules: {', '.join(rules)}."
    if approval_digest is not None:
        text += f" Digest to approve: {approval_digest}."
    if decision_id is not None:
        text += f" Decision: {decision_id}."
    return Refusal(
        code=code,
        spec=spec,
        message=text,
        decision_id=decision_id,
        rules=rules,
        approval_digest=approval_digest,
        rpc_ids=rpc_ids,
    )


# -- headers -------------------------------------------------------------------------------

_REQUEST_ID_HEADER: Final[dict[Protocol | None, str]] = {
    "openai": "x-request-id",
    "anthropic": "request-id",
    "bedrock": "x-amzn-requestid",
}
"""Where each SDK looks for an id to show in its exception; it gets the decision id."""


def _answer(
    refusal: Refusal,
    protocol: Protocol | None,
    status: int,
    extra: tuple[tuple[str, str], ...],
    *,
    is_batch: bool = False,
) -> Answer:
    headers = [("content-type", "application/json"), ("cache-control", "no-store"), *extra]
    spec = refusal.spec
    if refusal.decision_id is not None:
        headers.append(("x-gatepost-decision-id", refusal.decision_id))
        if protocol in _REQUEST_ID_HEADER:
            headers.append((_REQUEST_ID_HEADER[protocol], refusal.decision_id))
    if not spec.retryable:
        headers.append(("x-should-retry", "false"))
    if spec.retry_after_seconds is not None:
        headers.append(("retry-after", str(spec.retry_after_seconds)))
    if status == 401:
        headers.append(("www-authenticate", _challenge(refusal.code)))
    if protocol == "bedrock":
        headers.append(("x-amzn-errortype", _AWS_TYPES.get(spec.status, "ValidationException")))
    body = _body(refusal, protocol, is_batch=is_batch)
    return Answer(status=status, headers=tuple(headers), body=body)


def _challenge(code: str) -> str:
    # RFC 6750 section 3.1: a request without any credential gets no error code.
    if code == "token_missing":
        return 'Bearer realm="gatepost"'
    return f'Bearer realm="gatepost", error="invalid_token", error_description="{code}"'


# -- bodies --------------------------------------------------------------------------------


def _body(refusal: Refusal, protocol: Protocol | None, *, is_batch: bool) -> bytes:
    if protocol == "openai":
        return msgspec.json.encode(_openai(refusal))
    if protocol == "anthropic":
        return msgspec.json.encode(_anthropic(refusal))
    if protocol == "gemini":
        return msgspec.json.encode(_gemini(refusal))
    if protocol == "bedrock":
        return msgspec.json.encode({"message": refusal.message, **_details(refusal)})
    if protocol == "mcp":
        return _json_rpc(refusal, is_batch=is_batch)
    return msgspec.json.encode(
        {"error": {"type": "gatepost", "message": refusal.message, **_details(refusal)}}
    )


def _details(refusal: Refusal) -> dict[str, object]:
    details: dict[str, object] = {
        "code": refusal.code,
        "decision_id": refusal.decision_id,
        "retryable": refusal.spec.retryable,
    }
    if refusal.rules:
        details["rules"] = refusal.rules
    if refusal.approval_digest is not None:
        details["approval_digest"] = refusal.approval_digest
    return details


_OPENAI_TYPES: Final[dict[int, str]] = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
}
_ANTHROPIC_TYPES: Final[dict[int, str]] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
_GOOGLE_STATUSES: Final[dict[int, str]] = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    408: "DEADLINE_EXCEEDED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_AWS_TYPES: Final[dict[int, str]] = {
    401: "UnrecognizedClientException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    429: "ThrottlingException",
    500: "InternalServerException",
    502: "InternalServerException",
    503: "ServiceUnavailableException",
    504: "ModelTimeoutException",
}


def _openai(refusal: Refusal) -> dict[str, object]:
    status = refusal.spec.status
    default = "server_error" if status >= 500 else "invalid_request_error"
    return {
        "error": {
            "message": refusal.message,
            "type": _OPENAI_TYPES.get(status, default),
            "param": None,
            **_details(refusal),
        }
    }


def _anthropic(refusal: Refusal) -> dict[str, object]:
    status = refusal.spec.status
    default = "api_error" if status >= 500 else "invalid_request_error"
    return {
        "type": "error",
        "error": {
            "type": _ANTHROPIC_TYPES.get(status, default),
            "message": refusal.message,
            "details": {"error_code": refusal.code, **_details(refusal)},
        },
        "request_id": refusal.decision_id,
    }


def _gemini(refusal: Refusal) -> dict[str, object]:
    metadata = {"code": refusal.code, "retryable": "true" if refusal.spec.retryable else "false"}
    if refusal.decision_id is not None:
        metadata["decision_id"] = refusal.decision_id
    if refusal.rules:
        metadata["rules"] = ",".join(refusal.rules)
    if refusal.approval_digest is not None:
        metadata["approval_digest"] = refusal.approval_digest
    return {
        "error": {
            "code": refusal.spec.status,
            "message": refusal.message,
            "status": _GOOGLE_STATUSES.get(refusal.spec.status, "INVALID_ARGUMENT"),
            "details": [
                {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": refusal.code.upper(),
                    "domain": "gatepost",
                    "metadata": metadata,
                }
            ],
        }
    }


def _json_rpc(refusal: Refusal, *, is_batch: bool) -> bytes:
    status = refusal.spec.status
    number = {400: -32600, 500: -32603}.get(status, JSON_RPC_REFUSED)
    error = {"code": number, "message": refusal.message, "data": _details(refusal)}
    messages = [
        {"jsonrpc": "2.0", "id": msgspec.Raw(rpc_id.encode()), "error": error}
        for rpc_id in refusal.rpc_ids or ("null",)
    ]
    return msgspec.json.encode(messages if is_batch else messages[0])
