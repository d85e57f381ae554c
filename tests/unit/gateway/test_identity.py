from __future__ import annotations

import hashlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import limits
from gateway.call import Absence, Head, Peer, Principal
from gateway.errors import ConfigInvalid
from gateway.identity import Identifier, TokenRejected
from gateway.identity_config import IdentityConfig, RevokedToken
from tests.unit.gateway import token_factory as make

NOW = 1_800_000_000
AGENT = "billing"
ISSUER = "https://idp.example/realm"
USERS = "https://users.example"
LOCAL = "gpl_0123456789abcdef"


def config(**changes: object) -> IdentityConfig:
    """A configuration as an operator writes it, through the decoder that checks it."""
    issuers = [
        {
            "id": "idp",
            "issuer": ISSUER,
            "kind": "delegation",
            "jwks_file": "idp.json",
            "algorithms": ["ES256", "ES384", "RS256", "PS256", "Ed25519", "EdDSA"],
            "roles_claim": "realm_access.roles",
        },
        {"id": "users", "issuer": USERS, "kind": "user", "jwks_file": "users.json"},
    ]
    document = {
        "audience": ["ai-gateway/prod"],
        "issuers": issuers,
        "agents": [
            {"id": AGENT, "actor_subjects": ["client-7"], "scope_ceiling": ["chat", "search"]},
            {"id": "other"},
        ],
        "tokens": [{"agent": AGENT, "sha256": hashlib.sha256(LOCAL.encode()).hexdigest()}],
        **changes,
    }
    return msgspec.convert(document, IdentityConfig)


KEYS = {
    "idp": make.jwks("ec-1", "ec-2", "p384-1", "rsa-1", "ed-1"),
    "users": make.as_json({"keys": [make.jwk("ec-users", "ec-1")]}),
}


def identifier() -> Identifier:
    return Identifier(config(), KEYS)


def claims(**changes: object) -> dict[str, object]:
    full: dict[str, object] = {
        "iss": ISSUER,
        "sub": "u-42",
        "aud": "ai-gateway/prod",
        "iat": NOW - 60,
        "exp": NOW + 600,
        "jti": "t-1",
        "act": {"sub": AGENT},
        "scope": "chat admin",
        "realm_access": {"roles": ["analyst"]},
        **changes,
    }
    return {name: value for name, value in full.items() if value is not None}


def peer(**changes: object) -> Peer:
    known: dict[str, object] = {
        "listener": "agent",
        "kind": "uds",
        "uid": 10001,
        "agent": AGENT,
        "attested_by": "uds_uid",
        **changes,
    }
    return msgspec.convert(known, Peer)


LOOPBACK = peer(kind="tcp", uid=None, agent=None, attested_by=None)


def head(headers: dict[str, str] | None = None, **values: str) -> Head:
    return Head(
        method="POST",
        target="/openai/v1/chat/completions",
        headers={**(headers or {}), **values},
        content_length=2,
        chunked=False,
        expect_continue=False,
        keep_alive=True,
    )


def delegation(token: str) -> Head:
    return head({"x-gatepost-delegation": token})


def identify(token: str, now: float = NOW, subject: Identifier | None = None) -> Principal:
    return (subject or identifier()).identify(peer(), delegation(token), int(now * 1e6))


def refusal(
    request: Head, caller: Peer | None = None, subject: Identifier | None = None, now: float = NOW
) -> TokenRejected:
    with pytest.raises(TokenRejected) as caught:
        (subject or identifier()).identify(caller or peer(), request, int(now * 1e6))
    return caught.value


def code(token: str, now: float = NOW, subject: Identifier | None = None) -> str:
    return refusal(delegation(token), subject=subject, now=now).code


# -- what a good token gives -----------------------------------------------------------------


def test_a_delegation_names_person_agent_and_narrowed_rights() -> None:
    principal = identify(make.token(claims(act={"sub": "client-7", "act": {"sub": "front"}})))
    assert principal == Principal(
        person_id="u-42",
        person_iss=ISSUER,
        token_id="t-1",
        assurance="delegated",
        agent_id=AGENT,
        attested_by="uds_uid",
        agent_name=None,
        agent_version=None,
        agent_session=None,
        roles=("analyst",),
        scopes=("chat",),
        delegation=("client-7", "front"),
        absent=(
            Absence("agent.session", "not_stated"),
            Absence("agent.name", "not_stated"),
            Absence("agent.version", "not_stated"),
        ),
    )


def test_a_wider_scope_than_the_ceiling_of_the_agent_is_never_given() -> None:
    assert identify(make.token(claims(scope="admin root"))).scopes == ()
    assert identify(make.token(claims(scope=None, scp=["search", "x"]))).scopes == ("search",)


@pytest.mark.parametrize(
    ("name", "algorithm"),
    [
        ("ec-1", "ES256"),
        ("p384-1", "ES384"),
        ("rsa-1", "RS256"),
        ("rsa-1", "PS256"),
        ("ed-1", "Ed25519"),
        ("ed-1", "EdDSA"),
    ],
)
def test_every_configured_algorithm_verifies_with_its_own_kind_of_key(
    name: str, algorithm: str
) -> None:
    assert identify(make.token(claims(), name, algorithm)).person_id == "u-42"


def test_a_token_without_jti_is_referred_to_by_its_digest() -> None:
    token = make.token(claims(jti=None))
    assert identify(token).token_id == "sha256:" + hashlib.sha256(token.encode()).hexdigest()[:32]


def test_a_user_token_names_the_person_and_no_actor() -> None:
    made = make.token(claims(iss=USERS, act=None), "ec-users", header={"kid": "ec-1"})
    principal = identify(made)
    assert (principal.assurance, principal.person_iss) == ("user_token", USERS)
    assert principal.delegation == ()


def test_a_service_subject_is_never_a_person() -> None:
    issuers = msgspec.to_builtins(config().issuers)
    issuers[0]["subject"] = "service"
    principal = identify(make.token(claims()), subject=Identifier(config(issuers=issuers), KEYS))
    assert (principal.person_id, principal.assurance) == (None, "workload")
    assert Absence("person.id", "not_applicable") in principal.absent


def test_without_a_token_the_person_is_null_and_the_reason_is_stated() -> None:
    principal = identifier().identify(peer(), head(), NOW * 10**6)
    assert (principal.person_id, principal.agent_id) == (None, AGENT)
    assert principal.assurance == "workload"
    assert Absence("person.id", "no_delegation_token") in principal.absent


def test_every_null_has_its_reason() -> None:
    for principal in (
        identifier().identify(peer(), head(), NOW * 10**6),
        identify(make.token(claims())),
        refusal(head(), peer(agent=None, attested_by=None)).principal,
    ):
        explained = {absence.path for absence in principal.absent}
        nulls = {
            field.replace("_", ".", 1) if field != "token_id" else "person.token_id"
            for field in principal.__struct_fields__
            if getattr(principal, field) is None
        }
        assert {null.replace("attested.by", "agent.attested_by") for null in nulls} == explained


def test_what_software_says_of_itself_is_marked_as_claimed_and_bounded() -> None:
    agent = {"user-agent": "OpenAI/2.41.1 Python/3.11"}
    principal = identifier().identify(peer(), head(agent), NOW * 10**6)
    assert (principal.agent_name, principal.agent_version) == ("claimed:OpenAI", "claimed:2.41.1")
    long = identifier().identify(peer(), head({"user-agent": "x" * 9000}), NOW * 10**6)
    assert long.agent_name is not None
    assert len(long.agent_name) == limits.AGENT_LABEL_BYTES_MAX


# -- where a token may stand -----------------------------------------------------------------


@pytest.mark.parametrize("name", ["x-api-key", "api-key", "x-goog-api-key"])
def test_an_unmodified_sdk_carries_the_token_where_its_key_goes(name: str) -> None:
    token = make.token(claims())
    assert identifier().identify(peer(), head({name: token}), NOW * 10**6).person_id == "u-42"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_bearer_token_is_read_whatever_the_case_of_its_scheme(scheme: str) -> None:
    request = head(authorization=f"{scheme} {make.token(claims())}")
    assert identifier().identify(peer(), request, NOW * 10**6).person_id == "u-42"


@pytest.mark.parametrize(
    "value",
    ["sk-dummy", "a.b", "SG.aaaaaaaaaaaa.bbbbbbbbbbbbb", "a.b.c.d.e", "", "eyJ.x", "!!.a.b", "…"],
)
def test_other_values_in_the_key_slot_are_dropped(value: str) -> None:
    request = head({"x-api-key": value, "authorization": f"Bearer {value}"})
    assert identifier().identify(peer(), request, NOW * 10**6).assurance == "workload"


def test_the_delegation_header_takes_nothing_but_a_token() -> None:
    assert refusal(delegation("sk-dummy")).code == "token_malformed"


def test_two_different_tokens_are_ambiguous_and_the_same_token_twice_is_not() -> None:
    first, second = make.token(claims()), make.token(claims(sub="u-43"))
    both = {"x-gatepost-delegation": first, "authorization": f"Bearer {second}"}
    assert refusal(head(both)).code == "identity_ambiguous"
    same = {"x-gatepost-delegation": first, "authorization": f"Bearer {first}"}
    assert identifier().identify(peer(), head(same), NOW * 10**6).person_id == "u-42"
    slots = {"x-api-key": first, "api-key": second}
    assert refusal(head(slots)).code == "identity_ambiguous"


def test_a_repeated_identity_header_is_ambiguous() -> None:
    class Repeated(Head, frozen=True, kw_only=True):
        duplicated: frozenset[str] = frozenset()

    made = msgspec.structs.asdict(delegation(make.token(claims())))
    made.pop("duplicated", None)
    repeated = Repeated(**made, duplicated=frozenset({"authorization"}))
    assert refusal(repeated).code == "identity_ambiguous"
    harmless = Repeated(**made, duplicated=frozenset({"accept"}))
    assert identifier().identify(peer(), harmless, NOW * 10**6).person_id == "u-42"


@pytest.mark.parametrize(
    "name",
    ["x-user-id", "x-openwebui-user-email", "x-litellm-end-user-id", "x_gatepost_delegation"],
)
def test_unsigned_headers_about_a_user_have_no_effect(name: str) -> None:
    plain = identifier().identify(peer(), head(), NOW * 10**6)
    assert identifier().identify(peer(), head({name: "ceo@corp.example"}), NOW * 10**6) == plain


# -- who is on the connection ----------------------------------------------------------------


def test_a_uid_that_is_bound_to_no_agent_is_not_let_in() -> None:
    stranger = peer(agent=None, attested_by=None)
    error = refusal(head({"x-api-key": LOCAL}), stranger)
    assert error.code == "peer_not_allowed"
    assert (error.principal.agent_id, error.principal.assurance) == (None, "none")
    known_uid = peer(kind="tcp", agent=None, attested_by=None)
    assert refusal(head({"x-api-key": LOCAL}), known_uid).code == "peer_not_allowed"


def test_a_local_token_binds_the_agent_where_the_kernel_cannot() -> None:
    principal = identifier().identify(LOOPBACK, head({"x-api-key": LOCAL}), NOW * 10**6)
    assert (principal.agent_id, principal.attested_by) == (AGENT, "local_token")
    assert principal.assurance == "workload"


def test_a_neighbour_on_loopback_without_the_local_token_is_refused() -> None:
    assert refusal(head(), LOOPBACK).code == "token_missing"
    assert refusal(head({"x-api-key": LOCAL + "x"}), LOOPBACK).code == "token_key_unknown"
    stolen = head({"x-api-key": make.token(claims())})
    assert refusal(stolen, LOOPBACK).code == "token_missing"


def test_beside_a_local_token_a_delegation_needs_its_header() -> None:
    token = make.token(claims())
    good = head({"authorization": f"Bearer {LOCAL}", "x-gatepost-delegation": token})
    assert identifier().identify(LOOPBACK, good, NOW * 10**6).person_id == "u-42"
    slot = head({"authorization": f"Bearer {LOCAL}", "x-api-key": token})
    assert refusal(slot, LOOPBACK).code == "identity_ambiguous"


def test_a_local_token_never_overrides_the_kernel() -> None:
    other = peer(agent="other")
    assert refusal(head({"x-api-key": LOCAL}), other).code == "identity_ambiguous"
    own = identifier().identify(peer(), head({"x-api-key": LOCAL}), NOW * 10**6)
    assert own.attested_by == "uds_uid"
    two = head({"x-api-key": LOCAL, "api-key": "gpl_other"})
    assert refusal(two).code == "identity_ambiguous"


def test_a_token_of_one_agent_is_refused_at_another() -> None:
    request = delegation(make.token(claims(act={"sub": "other"})))
    error = refusal(request)
    assert error.code == "actor_mismatch"
    assert (error.principal.agent_id, error.principal.person_id) == (AGENT, None)
    assert Absence("person.id", "token_rejected") in error.principal.absent
    assert refusal(delegation(make.token(claims(act=None)))).code == "actor_mismatch"


def test_a_cached_token_is_refused_at_another_agent_too() -> None:
    subject, request = identifier(), delegation(make.token(claims()))
    assert subject.identify(peer(), request, NOW * 10**6).agent_id == AGENT
    assert refusal(request, peer(agent="other"), subject).code == "actor_mismatch"


def test_only_the_outermost_actor_counts() -> None:
    nested = {"sub": "other", "act": {"sub": AGENT}}
    assert code(make.token(claims(act=nested))) == "actor_mismatch"


def test_a_chain_of_actors_is_bounded() -> None:
    chain: dict[str, object] = {"sub": "a4"}
    for name in ("a3", "a2", AGENT):
        chain = {"sub": name, "act": chain}
    assert identify(make.token(claims(act=chain))).delegation == (AGENT, "a2", "a3", "a4")
    assert code(make.token(claims(act={"sub": AGENT, "act": chain}))) == "token_malformed"


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


# -- the configuration -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"audience": []}, "audience"),
        ({"audience": [""]}, "audience"),
        ({"clock_skew_seconds": 61}, "clock_skew_seconds"),
        ({"unknown": 1}, "unknown"),
        ({"tokens": [{"agent": "nobody", "sha256": "0" * 64}]}, "nobody"),
        ({"tokens": [{"agent": AGENT, "sha256": "gpl_x"}]}, "sha256"),
        ({"agents": [{"id": "a"}, {"id": "a"}], "tokens": []}, "twice"),
        ({"agents": [{"id": "a"}, {"id": "b", "actor_subjects": ["a"]}], "tokens": []}, "both"),
        ({"revoked": [{"issuer": "idp"}]}, "token_id"),
        ({"revoked": [{"issuer": "nobody", "subject": "x"}]}, "nobody"),
    ],
)
def test_a_configuration_that_would_trust_too_much_does_not_load(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(msgspec.ValidationError, match=message):
        config(**changes)


@pytest.mark.parametrize("algorithm", ["none", "HS256", "ES512", "RS384"])
def test_an_algorithm_outside_the_list_cannot_be_configured(algorithm: str) -> None:
    issuers = msgspec.to_builtins(config().issuers)
    issuers[0]["algorithms"] = [algorithm]
    with pytest.raises(msgspec.ValidationError, match="algorithms"):
        config(issuers=issuers)


@given(st.text(max_size=200) | st.from_regex(r"[A-Za-z0-9_.=-]{0,200}", fullmatch=True))
def test_no_header_value_makes_a_person(value: str) -> None:
    subject = identifier()
    for name in ("x-gatepost-delegation", "authorization", "x-api-key"):
        try:
            principal = subject.identify(peer(), head({name: value}), NOW * 10**6)
        except TokenRejected as error:
            principal = error.principal
        assert principal.person_id is None
