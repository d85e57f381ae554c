"""The table of refusals, said again by hand from the format page."""

from __future__ import annotations

import msgspec
import pytest

from gateway.errors import CODES, RULING_ON_KNOWN_ROUTE, GatepostError, TurnAway
from tests.goldens import hold

TABLE = {
    ("turn_away", 400): "malformed_request ambiguous_framing",
    ("turn_away", 404): "unknown_route",
    ("turn_away", 405): "method_not_allowed",
    ("turn_away", 408): "too_slow",
    ("turn_away", 413): "body_too_large",
    ("turn_away", 431): "head_too_large",
    ("turn_away", 415): "content_encoding_unsupported",
    ("turn_away", 421): "foreign_host",
    ("turn_away", 429): "identity_rate_limited too_many_denials",
    ("turn_away", 501): "unsupported_protocol",
    ("turn_away", 503): "spool_full disk_failed no_key draining too_busy",
    # Not of the format's table: a fault of ours before anything was decided.
    ("turn_away", 500): "internal_error",
    ("ruling", 401): "token_missing token_malformed token_alg_not_allowed token_key_unknown"
    " token_signature_invalid token_expired token_not_yet_valid token_lifetime_too_long"
    " token_issuer_unknown token_audience_mismatch token_revoked",
    ("ruling", 403): "actor_mismatch peer_not_allowed scope_insufficient assurance_too_low"
    " denied approval_required obligation_unsupported",
    ("ruling", 400): "unreadable_body duplicate_keys identity_ambiguous value_too_long",
    ("ruling", 503): "policy_unavailable policy_expired policy_locked identity_keys_unavailable",
    ("upstream", 502): "upstream_unreachable upstream_redirect upstream_invalid",
    ("upstream", 504): "upstream_timeout",
}


def test_the_codes_are_those_of_the_format() -> None:
    expected = {
        name: (kind, status) for (kind, status), names in TABLE.items() for name in names.split()
    }
    assert {name: (code.kind, code.status) for name, code in CODES.items()} == expected


def test_the_codes_are_golden() -> None:
    text = msgspec.json.format(msgspec.json.encode(dict(CODES)), indent=1)
    hold("codes.json", text + b"\n")


def test_the_two_codes_that_become_rulings_once_the_route_is_known() -> None:
    assert {"body_too_large", "content_encoding_unsupported"} == RULING_ON_KNOWN_ROUTE


def test_a_denial_is_never_worth_a_retry() -> None:
    for name, code in CODES.items():
        if code.status in (400, 401, 403, 404, 405, 413, 415, 421, 431, 501):
            assert not code.retryable, name


def test_every_503_says_when_to_come_back() -> None:
    for name, code in CODES.items():
        assert (code.retry_after_seconds is not None) == (code.status in (429, 503)), name


def test_messages_stand_alone() -> None:
    for name, code in CODES.items():
        assert code.message.isascii(), name
        assert 10 < len(code.message) < 80, name
        assert not code.message.endswith("."), name


def test_an_error_with_an_unknown_code_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="no_such_code"):
        GatepostError("no_such_code")


def test_an_error_says_code_and_place() -> None:
    error = TurnAway("spool_full", "256 MiB are in use")
    assert (error.code, error.spec.status) == ("spool_full", 503)
    assert str(error) == "spool_full: 256 MiB are in use"
    assert str(TurnAway("spool_full")) == "spool_full"
