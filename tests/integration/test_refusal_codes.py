"""Every refusal code that a request alone can bring about, from the running daemon.

Codes that need a condition (a lost store, a lock, load) have tests of their own: ``ELSEWHERE``
says where each is, and the last test holds the list complete.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from gateway.errors import CODES
from tests.integration import raw
from tests.integration.rules import (
    APPROVAL_MODEL,
    DENIED_MODEL,
    MODEL,
    PEOPLES_MODEL,
    REDACTION_MODEL,
    WRITERS_MODEL,
)
from tests.integration.system import Daemon
from tests.integration.tokens import KEYLESS_ISSUER, REVOKED_TOKEN, TokenIssuer, now_seconds

pytestmark = pytest.mark.integration

Make = Callable[[TokenIssuer], bytes]


def _plain(method: str, target: str, body: bytes = b"", **headers: str) -> Make:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: raw.request(method, target, body, named)


def _chat(model: str = MODEL, route: str = "/openai", text: str = "Hello", **headers: str) -> Make:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: raw.chat_request(model, route=route, text=text, headers=named)


def _token(make: Callable[[TokenIssuer], str]) -> Make:
    return lambda issuer: raw.chat_request(MODEL, headers={"X-Gatepost-Delegation": make(issuer)})


def _for_writers(issuer: TokenIssuer) -> bytes:
    return raw.chat_request(WRITERS_MODEL, headers={"X-Gatepost-Delegation": issuer.token()})


def _two_tokens(issuer: TokenIssuer) -> bytes:
    headers = {
        "X-Gatepost-Delegation": issuer.token(),
        "Authorization": f"Bearer {issuer.token()}",
    }
    return raw.chat_request(MODEL, headers=headers)


_PATH: Final = "/openai/v1/chat/completions"
_GZIPPED: Final = gzip.compress(raw.chat(MODEL))
_IMAGE: Final = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
_PICTURE: Final = raw.chat(
    REDACTION_MODEL, messages=[{"role": "user", "content": [_IMAGE]}], max_tokens=1
)

TURN_AWAYS: Final[dict[str, Make]] = {
    "malformed_request": lambda _: b"GET /openai HTTP/1.1\nHost: localhost\n\n",
    "ambiguous_framing": lambda _: (
        b"POST /openai/v1/responses HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "unknown_route": _plain("GET", "/nowhere/v1/models"),
    "method_not_allowed": _plain("DELETE", "/openai/v1/models"),
    "foreign_host": _plain("GET", "/openai/v1/models", Host="attacker.example"),
    "head_too_large": _plain("GET", "/openai/v1/models", Accept="x" * 40_000),
    "unsupported_protocol": _plain(
        "GET", "/openai/v1/realtime", Upgrade="websocket", Connection="Upgrade"
    ),
}

RULINGS: Final[dict[str, Make]] = {
    "body_too_large": _chat(route="/small", text="word " * 200),
    "content_encoding_unsupported": _plain("POST", _PATH, _GZIPPED, Content_Encoding="gzip"),
    "unreadable_body": _plain("POST", _PATH, b'{"model": '),
    "duplicate_keys": _plain("POST", _PATH, b'{"model":"a","mod\\u0065l":"b","messages":[]}'),
    "value_too_long": _chat("claude-" + "x" * 200),
    "denied": _chat(DENIED_MODEL),
    "approval_required": _chat(APPROVAL_MODEL),
    "obligation_unsupported": _plain("POST", _PATH, _PICTURE),
    "assurance_too_low": _chat(PEOPLES_MODEL),
    "scope_insufficient": _for_writers,
    "identity_ambiguous": _two_tokens,
    "token_malformed": _chat(X_Gatepost_Delegation="not-a-token"),
    "token_alg_not_allowed": _token(TokenIssuer.symmetric),
    "token_key_unknown": _token(lambda issuer: issuer.token(kid="unheard-of")),
    "token_signature_invalid": _token(TokenIssuer.forged),
    "token_expired": _token(lambda issuer: issuer.token(iat=0, exp=600)),
    "token_not_yet_valid": _token(lambda issuer: issuer.token(nbf=now_seconds() + 300)),
    "token_lifetime_too_long": _token(lambda issuer: issuer.token(exp=now_seconds() + 90_000)),
    "token_issuer_unknown": _token(lambda issuer: issuer.token(iss="https://nobody.example")),
    "token_audience_mismatch": _token(lambda issuer: issuer.token(aud="another-service")),
    "token_revoked": _token(lambda issuer: issuer.token(jti=REVOKED_TOKEN)),
    "actor_mismatch": _token(lambda issuer: issuer.token(act={"sub": "another-agent"})),
    "identity_keys_unavailable": _token(lambda issuer: issuer.token(iss=KEYLESS_ISSUER)),
}

AFTER_A_RULING: Final[dict[str, Make]] = {
    "upstream_unreachable": _chat(route="/closed"),
    "upstream_redirect": _chat("fault-redirect"),
    "upstream_invalid": _chat("fault-gzip"),
    "upstream_timeout": _chat("fault-slow", route="/hasty"),
}

_IDENTITY: Final = "unit/gateway/test_identity.py"
_NO_LOCAL_TOKEN: Final = "test_a_neighbour_on_loopback_without_the_local_token_is_refused"

ELSEWHERE: Final[dict[str, str]] = {
    "peer_not_allowed": "integration/test_identity.py::test_another_uids_socket_takes_no_calls",
    "too_slow": "integration/test_load.py::test_a_head_that_does_not_end_is_too_slow",
    "identity_rate_limited": "integration/test_load.py::test_guessing_tokens_is_slowed_down",
    "too_many_denials": "integration/test_load.py::test_a_denial_loop_does_not_fill_the_spool",
    "too_busy": "integration/test_load.py::test_the_call_above_the_most_in_flight_is_turned_away",
    "draining": "integration/test_shutdown.py::test_a_stop_lets_a_stream_end_and_takes_no_new_call",
    "spool_full": "integration/test_store_outage.py::test_a_full_spool_forwards_nothing",
    "disk_failed": "integration/test_disk_failure.py::test_a_failed_disk_ends_the_daemon_with_74",
    "no_key": "integration/test_start.py::test_without_a_certificate_nothing_is_decided",
    "policy_unavailable": "integration/test_start.py::test_without_a_policy_calls_are_refused",
    "policy_expired": "integration/test_policy_life.py::test_an_expired_policy_refuses_every_call",
    "policy_locked": "integration/test_policy_life.py::test_a_lock_cuts_streams_and_refuses_calls",
    # Linux always tells the uid of a loopback caller, so no daemon here asks for a local token.
    "token_missing": f"{_IDENTITY}::{_NO_LOCAL_TOKEN}",
    # Only a fault of ours brings it about.
    "internal_error": "unit/gateway/test_exchange.py::test_an_error_fails_closed",
}
"""Code → the test that reaches it, under ``tests/``; a unit test where no daemon can."""


def _check_retry_headers(reply: raw.Reply, code: str) -> None:
    spec = CODES[code]
    assert reply.headers.get("x-should-retry") == (None if spec.retryable else "false")
    after = reply.headers.get("retry-after")
    assert after == (None if spec.retry_after_seconds is None else str(spec.retry_after_seconds))


@pytest.mark.parametrize("code", TURN_AWAYS)
def test_a_turn_away_is_counted_and_decides_nothing(daemon: Daemon, code: str) -> None:
    ends = daemon.site.central.ends
    decided, reached = daemon.decided(), ends.total()
    before = daemon.turned_away().get(code, 0)
    data = TURN_AWAYS[code](ends.issuer)
    reply = raw.ask(daemon.port, data)
    assert (reply.status, reply.code) == (CODES[code].status, code)
    assert "x-gatepost-decision-id" not in reply.headers
    _check_retry_headers(reply, code)
    assert daemon.turned_away()[code] == before + 1
    assert (daemon.decided(), ends.total()) == (decided, reached)


@pytest.mark.parametrize("code", RULINGS)
def test_a_ruling_is_recorded_and_forwards_nothing(daemon: Daemon, code: str) -> None:
    ends = daemon.site.central.ends
    decided, reached = daemon.decided(), ends.total()
    reply = raw.ask(daemon.port, RULINGS[code](ends.issuer))
    assert (reply.status, reply.code) == (CODES[code].status, code)
    _check_retry_headers(reply, code)
    assert (daemon.decided(), ends.total()) == (decided + 1, reached)
    record = daemon.records.decision(reply.decision_id)
    assert record["decision"]["status"] == reply.status
    assert record["decision"]["outcome"] != "allow"
    assert record["decision"]["reason"] in (code, "no_grant", "restricted")


@pytest.mark.parametrize("code", AFTER_A_RULING)
def test_a_failed_upstream_stands_in_the_completion(daemon: Daemon, code: str) -> None:
    reply = raw.ask(daemon.port, AFTER_A_RULING[code](daemon.site.central.ends.issuer))
    assert (reply.status, reply.code) == (CODES[code].status, code)
    _check_retry_headers(reply, code)
    assert daemon.records.decision(reply.decision_id)["decision"]["outcome"] == "allow"
    completion = daemon.records.completion(reply.decision_id)
    expected = "timeout" if code == "upstream_timeout" else "upstream_error"
    assert (completion["outcome"], completion["status"]) == (expected, reply.status)
    assert [attempt["code"] for attempt in completion["attempts"]] == [code]


def test_who_brings_what_was_missing_is_let_in(daemon: Daemon) -> None:
    issuer = daemon.site.central.ends.issuer
    for model in (PEOPLES_MODEL, WRITERS_MODEL):
        token = issuer.token(scope="llm.chat llm.write")
        headers = {"X-Gatepost-Delegation": token}
        assert raw.ask(daemon.port, raw.chat_request(model, headers=headers)).status == 200


def test_an_upstream_on_the_metadata_address_is_never_dialled(daemon: Daemon) -> None:
    reply = raw.ask(daemon.port, raw.chat_request(MODEL, route="/metadata"))
    assert (reply.status, reply.code) == (502, "upstream_unreachable")


@pytest.mark.parametrize(
    ("route", "code"),
    [
        ("/openai", "denied"),
        ("/anthropic", "denied"),
    ],
)
def test_each_route_answers_in_its_providers_shape(daemon: Daemon, route: str, code: str) -> None:
    path = "/v1/messages" if route == "/anthropic" else "/v1/chat/completions"
    body = raw.chat(DENIED_MODEL, max_tokens=8)
    reply = raw.ask(daemon.port, raw.request("POST", route + path, body))
    assert (reply.status, reply.code) == (403, code)


def test_no_code_is_forgotten() -> None:
    here = [*TURN_AWAYS, *RULINGS, *AFTER_A_RULING, *ELSEWHERE]
    assert len(here) == len(set(here))
    assert set(here) == set(CODES)


@pytest.mark.parametrize("code", ELSEWHERE)
def test_the_named_test_is_there_and_names_the_code(code: str) -> None:
    name, _, function = ELSEWHERE[code].partition("::")
    text = (Path(__file__).parent.parent / name).read_text()
    assert f"def {function}(" in text
    assert code in text
