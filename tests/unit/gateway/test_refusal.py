"""Refusals as bytes: status, headers and body of each protocol's shape."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest

from gateway import refusal
from gateway.call import CallView, Protocol
from gateway.errors import CODES

PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)
DECISION = "0193b3f0-7d3c-7000-8000-000000000001"


def rpc_call(rpc_id: str | None) -> CallView:
    return CallView(
        protocol="mcp",
        operation="tool_call",
        provider=None,
        model=None,
        stream=False,
        tool="wipe",
        rpc_id=rpc_id,
        rpc_notification=rpc_id is None,
    )


def message_of(protocol: Protocol | None, body: bytes) -> str:
    document: Any = json.loads(body)
    text = document["message"] if protocol == "bedrock" else document["error"]["message"]
    assert isinstance(text, str)
    return text


@pytest.mark.parametrize("protocol", [None, *PROTOCOLS])
@pytest.mark.parametrize("code", CODES)
def test_every_code_turns_away_in_every_protocol(code: str, protocol: Protocol | None) -> None:
    answer = refusal.turn_away(code, protocol)
    headers = dict(answer.headers)
    assert answer.status == CODES[code].status
    assert headers["content-type"] == "application/json"
    assert (headers.get("x-should-retry") == "false") is not CODES[code].retryable
    assert "x-gatepost-decision-id" not in headers
    message = message_of(protocol, answer.body)
    assert f"({code})" in message
    assert refusal.remedy(code) in message


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("code", CODES)
def test_a_refusal_names_code_remedy_and_decision(code: str, protocol: Protocol) -> None:
    answer = refusal.refuse(code, protocol, decision_id=DECISION)
    headers = dict(answer.headers)
    assert headers["x-gatepost-decision-id"] == DECISION
    assert (headers.get("x-should-retry") == "false") is not CODES[code].retryable
    message = message_of(protocol, answer.body)
    assert f"({code})" in message
    assert DECISION in message
    assert refusal.remedy(code) in message


def test_header_names_are_lower_case_and_framing_is_left_to_the_server() -> None:
    for protocol in PROTOCOLS:
        for code in CODES:
            names = [name for name, _ in refusal.refuse(code, protocol, decision_id="d").headers]
            assert names == [name.lower() for name in names]
            assert len(set(names)) == len(names)
            assert not {"connection", "content-length", "transfer-encoding"} & set(names)


def test_a_turn_away_is_the_same_bytes_every_time() -> None:
    assert refusal.turn_away("spool_full", "openai") == refusal.turn_away("spool_full", "openai")


@pytest.mark.parametrize(
    ("code", "seconds"), [("spool_full", "5"), ("too_busy", "1"), ("policy_expired", "5")]
)
def test_retry_after_where_a_later_call_may_succeed(code: str, seconds: str) -> None:
    headers = dict(refusal.turn_away(code).headers)
    assert headers["retry-after"] == seconds
    assert "x-should-retry" not in headers


@pytest.mark.parametrize(
    ("code", "challenge"),
    [
        ("token_missing", 'Bearer realm="gatepost"'),
        (
            "token_expired",
            'Bearer realm="gatepost", error="invalid_token", error_description="token_expired"',
        ),
    ],
)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_401_challenges_as_rfc_6750_says(protocol: Protocol, code: str, challenge: str) -> None:
    answer = refusal.refuse(code, protocol, decision_id=DECISION, call=rpc_call("1"))
    assert answer.status == 401
    assert dict(answer.headers)["www-authenticate"] == challenge


def test_a_405_lists_the_methods_that_are_allowed() -> None:
    answer = refusal.turn_away("method_not_allowed", "openai", allow=("GET", "POST"))
    assert dict(answer.headers)["allow"] == "GET, POST"


def test_rules_and_digest_stand_only_where_they_are_given() -> None:
    plain = json.loads(refusal.refuse("denied", "openai", decision_id="d").body)["error"]
    assert "rules" not in plain
    assert "Rules:" not in plain["message"]
    told = json.loads(
        refusal.refuse(
            "approval_required",
            "openai",
            decision_id="d",
            rules=("no-prod",),
            approval_digest="sha256:ab",
        ).body
    )["error"]
    assert told["rules"] == ["no-prod"]
    assert told["approval_digest"] == "sha256:ab"
    assert "no-prod" in told["message"]
    assert "sha256:ab" in told["message"]


def test_a_long_message_is_cut() -> None:
    answer = refusal.refuse("denied", "http", decision_id="d", message="x" * 100_000)
    assert len(answer.body) < 3_000


def test_the_general_shape_has_its_five_members() -> None:
    body = json.loads(refusal.refuse("denied", "http", decision_id="d1").body)
    assert body["error"].keys() == {"type", "code", "message", "decision_id", "retryable"}
    assert body["error"]["type"] == "gatepost"
    assert body["error"]["retryable"] is False


def test_gemini_gets_a_google_status_with_error_info() -> None:
    error = json.loads(refusal.refuse("denied", "gemini", decision_id="d1").body)["error"]
    assert (error["code"], error["status"]) == (403, "PERMISSION_DENIED")
    (info,) = error["details"]
    assert info["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
    assert (info["reason"], info["domain"]) == ("DENIED", "gatepost")
    assert info["metadata"]["decision_id"] == "d1"
    assert all(isinstance(value, str) for value in info["metadata"].values())


def test_bedrock_gets_its_error_type_in_a_header() -> None:
    answer = refusal.refuse("denied", "bedrock", decision_id="d1")
    assert dict(answer.headers)["x-amzn-errortype"] == "AccessDeniedException"


# -- JSON-RPC ------------------------------------------------------------------------------


@pytest.mark.parametrize(("rpc_id", "expected"), [("7", 7), ('"a\\"b"', 'a"b'), ("-1", -1)])
def test_a_json_rpc_refusal_carries_the_calls_id_at_http_200(rpc_id: str, expected: object) -> None:
    answer = refusal.refuse("denied", "mcp", decision_id="d", call=rpc_call(rpc_id))
    body = json.loads(answer.body)
    assert answer.status == 200
    assert body["id"] == expected
    assert body["jsonrpc"] == "2.0"
    assert body["error"]["code"] == refusal.JSON_RPC_REFUSED
    assert body["error"]["data"]["code"] == "denied"


def test_a_notification_is_refused_by_its_http_status() -> None:
    answer = refusal.refuse("denied", "mcp", decision_id="d", call=rpc_call(None))
    assert answer.status == 403
    assert json.loads(answer.body)["id"] is None


def test_an_unreadable_message_has_a_null_id_and_its_http_status() -> None:
    answer = refusal.refuse("unreadable_body", "mcp", decision_id="d")
    assert answer.status == 400
    assert json.loads(answer.body)["id"] is None
    assert json.loads(answer.body)["error"]["code"] == -32600


def test_one_refusal_answers_every_request_of_a_batch() -> None:
    batch = (rpc_call("1"), rpc_call(None), rpc_call('"b"'))
    answer = refusal.refuse("denied", "mcp", decision_id="d", batch=batch)
    body = json.loads(answer.body)
    assert answer.status == 200
    assert [message["id"] for message in body] == [1, "b"]


def test_every_status_has_a_remedy() -> None:
    for code in CODES:
        assert refusal.remedy(code).endswith(".")


def test_remedies_are_only_for_codes_that_exist() -> None:
    assert refusal._REMEDIES.keys() <= CODES.keys()
