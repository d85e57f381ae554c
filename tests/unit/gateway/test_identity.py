from __future__ import annotations

import hashlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import limits
from gateway.call import Absence, Principal
from gateway.identity import Identifier, TokenRejected
from tests.unit.gateway import token_factory as make
from tests.unit.gateway.identity_world import (
    AGENT,
    ISSUER,
    KEYS,
    LOCAL,
    LOOPBACK,
    NOW,
    USERS,
    claims,
    code,
    config,
    delegation,
    head,
    identifier,
    identify,
    peer,
    refusal,
)

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
    made = delegation(make.token(claims()))
    repeated = msgspec.structs.replace(made, duplicated=frozenset({"authorization"}))
    assert refusal(repeated).code == "identity_ambiguous"
    harmless = msgspec.structs.replace(made, duplicated=frozenset({"accept"}))
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


@given(st.text(max_size=200) | st.from_regex(r"[A-Za-z0-9_.=-]{0,200}", fullmatch=True))
def test_no_header_value_makes_a_person(value: str) -> None:
    subject = identifier()
    for name in ("x-gatepost-delegation", "authorization", "x-api-key"):
        try:
            principal = subject.identify(peer(), head({name: value}), NOW * 10**6)
        except TokenRejected as error:
            principal = error.principal
        assert principal.person_id is None
