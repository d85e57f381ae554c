from __future__ import annotations

import pytest

from gateway import limits
from gateway.errors import ConfigInvalid
from gateway.identity import Identifier
from gateway.identity_config import RevokedToken
from tests.unit.gateway import token_factory as make
from tests.unit.gateway.identity_world import (
    AGENT,
    ISSUER,
    KEYS,
    NOW,
    USERS,
    claims,
    code,
    config,
    delegation,
    identifier,
    identify,
    refusal,
)

# -- attacks on trust, time and meaning ------------------------------------------------------


@pytest.mark.parametrize("issuer", [ISSUER + "/", ISSUER[:-1], "https://idp.example", "", "X"])
def test_the_issuer_is_compared_whole(issuer: str) -> None:
    assert code(make.token(claims(iss=issuer))) == "token_issuer_unknown"


def test_keys_of_one_issuer_never_verify_for_another() -> None:
    # Both issuers have a key with the kid ec-1; each kid is looked up in its own issuer.
    forged = make.token(claims(iss=USERS, act=None), "ec-1")
    assert code(forged) == "token_signature_invalid"


@pytest.mark.parametrize(
    ("audience", "expected"),
    [
        ("ai-gateway/pro", "token_audience_mismatch"),
        ("ai-gateway/prod2", "token_audience_mismatch"),
        ("*", "token_audience_mismatch"),
        ([], "token_audience_mismatch"),
        (["x", "ai-gateway"], "token_audience_mismatch"),
        ([["ai-gateway/prod"]], "token_malformed"),
        ({"ai-gateway/prod": 1}, "token_malformed"),
        (7, "token_malformed"),
        (None, "token_malformed"),
    ],
)
def test_an_audience_is_a_member_or_a_refusal(audience: object, expected: str) -> None:
    assert code(make.token(claims(aud=audience))) == expected
    assert identify(make.token(claims(aud=["x", "ai-gateway/prod"]))).person_id == "u-42"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"exp": NOW - 29}, None),
        ({"exp": NOW - 30}, "token_expired"),
        ({"exp": NOW - 31}, "token_expired"),
        ({"nbf": NOW + 29}, None),
        ({"nbf": NOW + 31}, "token_not_yet_valid"),
        ({"iat": NOW + 29}, None),
        ({"iat": NOW + 31}, "token_not_yet_valid"),
        ({"iat": NOW - 3600, "exp": NOW + 1}, "token_lifetime_too_long"),
        ({"iat": NOW - 3600, "exp": NOW}, None),
        ({"iat": NOW - 0.5, "exp": NOW + 0.25}, None),
    ],
)
def test_times_have_thirty_seconds_of_skew_and_a_bounded_lifetime(
    changes: dict[str, object], expected: str | None
) -> None:
    token = make.token(claims(**changes))
    if expected is None:
        assert identify(token).person_id == "u-42"
    else:
        assert code(token) == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": str(NOW + 60)},
        {"exp": True},
        {"exp": 1e300},
        {"exp": -1},
        {"exp": None},
        {"exp": [NOW]},
        {"iat": None},
        {"iat": "now"},
        {"nbf": "0"},
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"sub": ["u-42"]},
        {"jti": 7},
        {"jti": ""},
        {"act": AGENT},
        {"act": {"sub": 1}},
        {"act": {}},
        {"act": []},
        {"scope": 7},
        {"scope": ["chat", 7]},
        {"scope": {"chat": 1}},
        {"realm_access": {"roles": [None]}},
        {"iss": 7},
        {"iss": None},
    ],
)
def test_a_claim_of_another_type_is_refused(changes: dict[str, object]) -> None:
    assert code(make.token(claims(**changes))) == "token_malformed"


@pytest.mark.parametrize(
    "payload",
    [
        b'{"iss":"%s","sub":"u-42","sub":"ceo","aud":"ai-gateway/prod"}',
        b'{"iss":"%s","aud":"x","a\\u0075d":"ai-gateway/prod"}',
        b'{"iss":"%s","act":{"sub":"other","sub":"billing"}}',
        b'{"iss":"%s","exp":NaN}',
        b'{"iss":"%s","exp":Infinity}',
        b'{"iss":"%s","exp":1e999}',
        b'{"iss":"%s","sub":"\\ud800"}',
        b'{"iss":"%s","sub":"\xff"}',
        b'{"iss":"%s"}x',
        b'["%s"]',
        b"",
        b"[" * 5_000,
        b"\xef\xbb\xbf{}",
    ],
)
def test_json_that_two_readers_could_read_differently_is_refused(payload: bytes) -> None:
    payload = payload.replace(b"%s", ISSUER.encode())
    assert code(make.assemble(b'{"alg":"ES256","kid":"ec-1"}', payload, "ec-1")) == (
        "token_malformed"
    )


def test_a_token_type_that_is_not_configured_is_refused() -> None:
    assert code(make.token(claims(), header={"typ": "id+jwt"})) == "token_malformed"
    assert code(make.token(claims(), header={"typ": None})) == "token_malformed"
    full = make.token(claims(), header={"typ": "application/AT+JWT"})
    assert identify(full).person_id == "u-42"


def test_a_revoked_token_or_subject_is_refused_also_from_the_cache() -> None:
    token, subject = make.token(claims()), identifier()
    assert identify(token, subject=subject).person_id == "u-42"
    by_token = subject.with_revoked([RevokedToken(issuer="idp", token_id="t-1")])
    by_subject = subject.with_revoked([RevokedToken(issuer="idp", subject="u-42")])
    assert code(token, subject=by_token) == "token_revoked"
    assert code(token, subject=by_subject) == "token_revoked"
    elsewhere = subject.with_revoked([RevokedToken(issuer="users", subject="u-42")])
    assert identify(token, subject=elsewhere).person_id == "u-42"


def test_a_cached_token_is_refused_after_it_expires() -> None:
    token, subject = make.token(claims(exp=NOW + 100)), identifier()
    assert identify(token, subject=subject).person_id == "u-42"
    assert identify(token, NOW + 129, subject).person_id == "u-42"
    assert code(token, NOW + 130, subject) == "token_expired"


def test_a_cached_token_is_refused_after_its_key_is_gone() -> None:
    token, subject = make.token(claims()), identifier()
    assert identify(token, subject=subject).person_id == "u-42"
    rotated = subject.with_keys({"idp": make.jwks("ec-2")})
    assert code(token, subject=rotated) == "token_key_unknown"


def test_tokens_that_share_a_long_prefix_are_different_principals() -> None:
    subject = identifier()
    padding = {"a": "x" * 3000}
    first = make.assemble(
        b'{"alg":"ES256","kid":"ec-1","typ":"JWT"}', make.as_json(padding | claims()), "ec-1"
    )
    second = make.assemble(
        b'{"alg":"ES256","kid":"ec-1","typ":"JWT"}',
        make.as_json(padding | claims(sub="u-43")),
        "ec-1",
    )
    assert first[:3000] == second[:3000]
    assert identify(first, subject=subject).person_id == "u-42"
    assert identify(second, subject=subject).person_id == "u-43"


def test_a_changed_signature_never_rides_on_a_cached_token() -> None:
    token, subject = make.token(claims()), identifier()
    identify(token, subject=subject)
    changed = token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB")
    assert code(changed, subject=subject) == "token_signature_invalid"


def test_the_cache_is_bounded() -> None:
    subject, token = identifier(), make.token(claims())
    identify(token, subject=subject)
    entry = next(iter(subject._cache.items()))
    for index in range(limits.TOKEN_CACHE_ENTRIES_MAX):
        subject._cache[entry[0]._replace(token_sha256=index.to_bytes(32, "big"))] = entry[1]
    identify(make.token(claims(sub="u-44")), subject=subject)
    assert len(subject._cache) <= limits.TOKEN_CACHE_ENTRIES_MAX + 1


def test_without_keys_an_issuer_fails_closed_and_says_it_can_be_retried() -> None:
    without = Identifier(config(), {"users": KEYS["users"]})
    error = refusal(delegation(make.token(claims())), subject=without)
    assert error.code == "identity_keys_unavailable"
    assert error.spec.retryable
    assert identify(make.token(claims()), subject=without.with_keys(KEYS)).person_id == "u-42"


@pytest.mark.parametrize("jwks", [b'{"keys":[]}', b"{}", b"[]", b"", b"<html>", b'{"keys":[7]}'])
def test_a_key_set_that_cannot_be_used_leaves_the_last_good_one_in_place(jwks: bytes) -> None:
    subject = identifier()
    with pytest.raises(ConfigInvalid, match=r"idp\.json"):
        subject.with_keys({"idp": jwks})
    assert identify(make.token(claims()), subject=subject).person_id == "u-42"


def test_keys_for_an_unknown_issuer_are_a_configuration_error() -> None:
    with pytest.raises(ConfigInvalid, match="nobody"):
        Identifier(config(), {"nobody": KEYS["idp"]})


def test_a_refusal_repeats_nothing_that_the_token_says() -> None:
    secret = "zq-secret-zq"
    for changes in ({"iss": secret}, {"aud": secret}, {"act": {"sub": secret}}, {"exp": secret}):
        assert secret not in str(refusal(delegation(make.token(claims(**changes)))))
