from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest

from gateway import errors, seal
from gateway.call import CallView, Label, Principal, Route
from gateway.decide import Denial, Permit, decide, refuse
from gateway.jsonbody import parse
from gateway.obligation import Amendment, obligation_text
from gateway.policy import Obligation
from gateway.record import Number
from gateway.snapshot import Snapshot
from gateway.vocabulary import DECISION_REASONS
from tests.unit.gateway import policy_factory as make

ALL = {"id": "all", "actions": ["*"]}


def ask(
    snapshot: Snapshot | None = None,
    call: CallView | None = None,
    *,
    who: Principal | None = None,
    label: Label | None = None,
    route: Route | None = None,
    now_us: int = make.NOW_US,
    amendment: Amendment | None = None,
    **policy: object,
) -> Permit | Denial:
    snapshot = snapshot or make.snapshot(make.table_of(**({"grants": [ALL]} | policy)))
    return decide(
        snapshot,
        who or make.principal(),
        label or make.label(),
        call or make.chat(),
        route or make.route(),
        now_us,
        digest_key=make.KEY,
        amendment=amendment,
    )


def permitted(ruling: Permit | Denial) -> Permit:
    assert isinstance(ruling, Permit), ruling
    return ruling


def denied(ruling: Permit | Denial) -> Denial:
    assert isinstance(ruling, Denial), ruling
    assert ruling.code in errors.CODES
    assert ruling.ruling.reason in DECISION_REASONS
    return ruling


def restriction(**members: object) -> dict[str, object]:
    return {"id": "r", "effect": "deny", "actions": ["*"], **members}


def test_only_decide_makes_a_permit() -> None:
    good = permitted(ask())
    with pytest.raises(TypeError, match="decide"):
        Permit(object(), good.ruling, good.upstreams, good.body)
    with pytest.raises(TypeError, match="subclasses"):
        type("Mine", (Permit,), {})
    with pytest.raises(AttributeError):
        good.upstreams = ()
    with pytest.raises(AttributeError):
        good.extra = 1


def test_without_a_verified_policy_every_call_is_refused() -> None:
    got = denied(
        decide(
            None,
            make.principal(),
            make.label(),
            make.chat(),
            make.route(),
            make.NOW_US,
            digest_key=make.KEY,
        )
    )
    assert (got.code, got.ruling.outcome) == ("policy_unavailable", "error_closed")
    assert got.ruling.policy.state == "empty"
    assert got.ruling.policy.version is None


def test_the_default_is_deny() -> None:
    got = denied(ask(grants=[]))
    assert (got.code, got.ruling.reason, got.ruling.rules) == ("denied", "no_grant", ())
    assert got.ruling.outcome == "deny"


def test_an_allow_names_the_policy_the_rules_and_the_upstreams() -> None:
    got = permitted(ask(grants=[ALL, {"id": "a", "actions": ["chat"]}]))
    assert got.ruling.outcome == "allow"
    assert got.ruling.reason == "granted"
    assert got.ruling.rules == ("a", "all")
    assert [upstream.name for upstream in got.upstreams] == ["main"]
    assert got.ruling.policy == msgspec.structs.replace(
        got.ruling.policy, scope="acme/prod", version=7, state="fresh", age_ms=1000, shadow=None
    )


def test_a_restriction_that_cannot_be_judged_applies() -> None:
    rule = restriction(when={"gt": ["args.amount", 500]})
    for args, rules in (({"amount": 501}, ()), ({}, ("r",)), ({"amount": "1"}, ("r",))):
        got = denied(ask(call=make.tool_call(args=args), restrictions=[rule]))
        assert got.ruling.reason == "restricted"
        assert got.ruling.rules == ("r",)
        assert got.ruling.unknown_rules == rules
    permitted(ask(call=make.tool_call(args={"amount": 500}), restrictions=[rule]))


def test_a_grant_that_cannot_be_judged_does_not_grant() -> None:
    rule = ALL | {"when": {"ne": ["args.currency", "USD"]}}
    got = denied(ask(call=make.tool_call(args={}), grants=[rule]))
    assert (got.ruling.reason, got.ruling.unknown_rules) == ("no_grant", ("all",))


def test_hosted_tools_and_references_are_denied_unless_named() -> None:
    hosted = make.chat(hosted_tools=("web_search",))
    assert denied(ask(call=hosted)).ruling.reason == "hosted_tool_denied"
    permitted(ask(call=hosted, hosted_tools=["web_*"]))
    both = make.chat(hosted_tools=("web_search", "computer"))
    assert denied(ask(call=both, hosted_tools=["web_*"])).ruling.reason == "hosted_tool_denied"
    reference = make.chat(references=("file-1",))
    assert denied(ask(call=reference)).ruling.reason == "reference_denied"
    permitted(ask(call=reference, references=["file-*"]))


def test_an_unknown_tool_type_is_denied_whatever_the_policy_allows() -> None:
    call = make.chat(unknown_tools=("mind_reading",))
    got = denied(ask(call=call, hosted_tools=["*"]))
    assert (got.code, got.ruling.reason) == ("denied", "unknown_tool_type")


def test_regions_and_upstreams_are_narrowed_and_an_empty_list_is_a_denial() -> None:
    route = make.route(make.upstream("a", "us"), make.upstream("b", "eu"), make.upstream("c", "eu"))
    eu = restriction(id="eu", effect="oblige", obligations=[{"regions": ["eu"]}])
    got = permitted(ask(route=route, restrictions=[eu]))
    assert [upstream.name for upstream in got.upstreams] == ["b", "c"]
    assert got.ruling.obligations == ("regions=eu",)
    assert got.ruling.rules == ("all", "eu")
    c = restriction(id="c", effect="oblige", obligations=[{"upstreams": ["c", "a"]}])
    assert [u.name for u in permitted(ask(route=route, restrictions=[eu, c])).upstreams] == ["c"]
    a = restriction(id="a", effect="oblige", obligations=[{"upstreams": ["a"]}])
    nowhere = denied(ask(route=route, restrictions=[eu, a]))
    assert (nowhere.code, nowhere.ruling.reason) == ("denied", "upstream_not_permitted")


def test_no_more_upstreams_are_permitted_than_a_record_holds() -> None:
    route = make.route(*(make.upstream(f"u{i}") for i in range(6)))
    assert len(permitted(ask(route=route)).upstreams) == 4


@pytest.mark.parametrize(
    "obligation",
    [{"max_output_tokens": 10}, {"redact": {"categories": ["pii.email"]}},
     {"pseudonymise_user": True}],
)  # fmt: skip
def test_an_obligation_that_was_not_met_refuses_the_call(obligation: dict[str, object]) -> None:
    rule = restriction(effect="oblige", obligations=[obligation])
    got = denied(ask(restrictions=[rule]))
    assert (got.code, got.ruling.outcome) == ("obligation_unsupported", "deny")
    assert got.ruling.rules == ("all", "r")
    (owed,) = got.owed
    assert got.ruling.obligations == (obligation_text(owed),)
    other = Amendment((Obligation(max_output_tokens=9),), b"{}")
    assert denied(ask(restrictions=[rule], amendment=other)).owed == got.owed
    met = permitted(ask(restrictions=[rule], amendment=Amendment(got.owed, b"{}")))
    assert (met.body, met.ruling.outcome) == (b"{}", "allow")
    assert met.ruling.obligations == got.ruling.obligations


def test_a_body_is_never_exchanged_unless_an_obligation_asks_for_it() -> None:
    assert permitted(ask(amendment=Amendment((), b"{}"))).body is None


def test_obligations_meet_in_the_stricter() -> None:
    def oblige(name: str, *obligations: dict[str, object]) -> dict[str, object]:
        return restriction(id=name, effect="oblige", obligations=list(obligations))

    rules = [
        oblige("a", {"max_output_tokens": 10}, {"redact": {"categories": ["pii.iban"]}}),
        oblige("b", {"redact": {"categories": ["pii.email", "pii.iban"]}}, {"regions": ["eu"]}),
        oblige("c", {"max_output_tokens": 7}, {"pseudonymise_user": True}),
    ]
    route = make.route(make.upstream("a", "eu"), make.upstream("b", "us"))
    owed = denied(ask(restrictions=rules, route=route)).owed
    met = permitted(ask(restrictions=rules, route=route, amendment=Amendment(owed, None)))
    assert met.ruling.obligations == (
        "redact=pii.email,pii.iban", "pseudonymise_user=true", "max_output_tokens=7", "regions=eu",
    )  # fmt: skip
    assert [one.name for one in met.upstreams] == ["a"]


def test_a_shadow_rule_obliges_to_nothing() -> None:
    rule = restriction(effect="oblige", status="shadow", obligations=[{"max_output_tokens": 1}])
    got = permitted(ask(restrictions=[rule]))
    assert (got.body, got.ruling.obligations, got.ruling.policy.shadow) == (None, (), "allow")


def test_an_approval_is_asked_for_with_a_digest_of_exactly_this_call() -> None:
    rule = restriction(effect="require_approval", actions=["tool_call"])
    got = denied(ask(call=make.tool_call(), restrictions=[rule]))
    assert (got.code, got.ruling.outcome) == ("approval_required", "approval_required")
    assert got.approval_digest is not None
    assert got.approval_digest.startswith("sha256:")
    digests = {
        denied(ask(call=call, who=who, restrictions=[rule])).approval_digest
        for call, who in (
            (make.tool_call(), None),
            (make.tool_call(input=b"{}"), None),
            (make.tool_call(tool="delete"), None),
            (make.tool_call(), make.principal(person_id="bob")),
            (make.tool_call(), make.principal(agent_id="other")),
        )
    }
    assert len(digests) == 5
    assert denied(ask(call=make.tool_call(), grants=[])).approval_digest is None


def test_the_strictest_restriction_wins_and_an_approval_grants_nothing() -> None:
    approve = restriction(id="a", effect="require_approval")
    deny = restriction(id="d")
    assert denied(ask(restrictions=[approve, deny])).ruling.rules == ("d",)
    assert denied(ask(restrictions=[deny, approve])).ruling.rules == ("d",)
    assert denied(ask(grants=[], restrictions=[approve])).ruling.reason == "no_grant"


def test_a_shadow_rule_is_recorded_and_never_enforced() -> None:
    shadow = restriction(status="shadow")
    got = permitted(ask(restrictions=[shadow]))
    assert (got.ruling.outcome, got.ruling.policy.shadow) == ("allow", "deny")
    assert got.ruling.rules == ("all",)
    grant = denied(ask(grants=[ALL | {"status": "shadow"}]))
    assert (grant.ruling.reason, grant.ruling.policy.shadow) == ("no_grant", "allow")
    assert permitted(ask()).ruling.policy.shadow is None


def test_a_policy_grows_stale_and_expires_by_signed_times_alone() -> None:
    snapshot = make.snapshot(make.table_of(grants=[ALL]))
    edges = (
        (snapshot.fresh_until_us - 1, "fresh", True),
        (snapshot.fresh_until_us, "stale", True),
        (snapshot.expires_us - 1, "stale", True),
        (snapshot.expires_us, "expired", False),
    )
    for now_us, state, allowed in edges:
        got = ask(snapshot, now_us=now_us)
        assert got.ruling.policy.state == state
        assert isinstance(got, Permit) == allowed
    expired = denied(ask(snapshot, now_us=snapshot.expires_us))
    assert (expired.code, expired.ruling.outcome) == ("policy_expired", "error_closed")


def test_a_clock_set_back_makes_no_policy_younger_than_its_newest_signed_time() -> None:
    snapshot = make.snapshot(make.table_of(grants=[ALL]), floor_us=make.NOW_US + 200 * make.SECOND)
    assert snapshot.state(0) == "stale"
    assert snapshot.age_ms(0) == 201_000


def test_the_policy_may_choose_not_to_serve_when_stale() -> None:
    table = make.table_of(grants=[ALL], defaults={"on_stale": "deny"})
    snapshot = make.snapshot(table)
    permitted(ask(snapshot))
    assert denied(ask(snapshot, now_us=snapshot.fresh_until_us)).code == "policy_expired"


def test_a_lock_beats_everything() -> None:
    table = make.table_of(grants=[ALL], open_on_expired=OPEN)
    snapshot = make.snapshot(table, lock_reason="incident 1")
    for now_us in (make.NOW_US, snapshot.expires_us + 1):
        got = denied(ask(snapshot, now_us=now_us))
        assert (got.code, got.ruling.outcome) == ("policy_locked", "error_closed")
        assert got.ruling.policy.state == "locked"


OPEN = {"seconds_max": 600, "routes": ["openai"], "levels": ["public", "internal"]}


def test_open_on_expired_is_bounded_in_time_route_level_and_by_every_rule() -> None:
    table = make.table_of(
        grants=[ALL], open_on_expired=OPEN, record_commit={"*": "before_response"}
    )
    snapshot = make.snapshot(table)
    late = snapshot.expires_us
    got = permitted(ask(snapshot, now_us=late))
    assert (got.ruling.outcome, got.ruling.reason, got.ruling.fail_open) == (
        "error_open", "fail_open", True,
    )  # fmt: skip
    assert got.ruling.commit == "before_forward"
    assert got.ruling.policy.state == "expired"
    permitted(ask(snapshot, now_us=late + 599 * make.SECOND))
    for refused in (
        ask(snapshot, now_us=late + 600 * make.SECOND),
        ask(snapshot, now_us=late, route=make.route(name="other")),
        ask(snapshot, now_us=late, label=make.label(level="confidential")),
        ask(snapshot, now_us=late, label=make.label(completeness="partial")),
    ):
        assert denied(refused).code == "policy_expired"
    table = make.table_of(grants=[ALL], open_on_expired=OPEN, restrictions=[restriction()])
    assert denied(ask(make.snapshot(table), now_us=late)).ruling.reason == "restricted"


def test_open_on_expired_does_not_bridge_an_expired_bundle_or_root() -> None:
    table = make.table_of(grants=[ALL], open_on_expired=OPEN)
    snapshot = make.snapshot(table, rest_expires_us=make.NOW_US)
    assert denied(ask(snapshot)).code == "policy_expired"


def test_record_commit_is_relaxed_only_where_nothing_has_effects() -> None:
    relaxed: dict[str, Any] = {"record_commit": {"openai": "before_response"}}
    assert permitted(ask(**relaxed)).ruling.commit == "before_response"
    for strict in (
        ask(call=make.tool_call(), **relaxed),
        ask(label=make.label(completeness="opaque"), **relaxed),
        ask(route=make.route(opaque_upload=True), **relaxed),
        ask(route=make.route(name="other"), **relaxed),
        ask(),
    ):
        assert permitted(strict).ruling.commit == "before_forward"


def test_facts_hold_what_rules_read_and_the_record_does_not() -> None:
    conditions = [
        {"le": ["args.amount", 500]},
        {"eq": ["args.note", "x"]},
        {"eq": ["args.secret", "s"]},
        {"exists": "args.none"},
        {"lt": ["args.rate", 2]},
        {"has": ["model.regions", "eu-west-1"]},
        {"time_between": ["00:00", "23:59"]},
        {"eq": ["person.id", "ada"]},
    ]
    rules = [restriction(id=f"r{i}", when={"not": c}) for i, c in enumerate(conditions)]
    args = parse(b'{"amount": 7, "note": "x", "secret": "s", "rate": 1.50}')
    got = ask(
        call=make.tool_call(args=args),
        restrictions=rules,
        recordable=["args.amount", "args.note", "args.rate", "model.regions"],
    )
    facts = got.ruling.facts
    assert facts.inputs == {
        "args.amount": 7,
        "args.none": None,
        "args.note": "x",
        "args.rate": Number(num="1.50"),
        "args.secret": seal.keyed_digest(make.KEY, b'"s"'),
        "model.regions": seal.keyed_digest(make.KEY, b'["eu-west-1"]'),
        "time": "2027-01-15T08:00:00.000000Z",
    }
    # r3 is TRUE (args.none does not exist), the other restrictions FALSE, the grant TRUE.
    packed = facts.results + "=" * (-len(facts.results) % 4)
    assert base64.urlsafe_b64decode(packed) == bytes([0b00000001, 0b00000000, 0b01000000])


def test_a_long_or_unmarked_value_never_stands_in_a_record() -> None:
    rule = restriction(when={"eq": ["args.x", "never"]})
    for value in ("y" * 65, "\u0000" * 11, ["y"], {"y": 1}):
        got = ask(
            call=make.tool_call(args={"x": value}), restrictions=[rule], recordable=["args.x"]
        )
        assert str(got.ruling.facts.inputs["args.x"]).startswith("hmac-sha256:")
    short = ask(
        call=make.tool_call(args={"x": "y" * 64}), restrictions=[rule], recordable=["args.x"]
    )
    assert short.ruling.facts.inputs["args.x"] == "y" * 64


@pytest.mark.parametrize("code", sorted(errors.CODES))
def test_a_refusal_by_other_than_policy_names_its_code_and_the_policy(code: str) -> None:
    snapshot = make.snapshot(make.table_of(grants=[]))
    got = refuse(snapshot, code, make.NOW_US, stage="server")
    closed = errors.CODES[code].status not in (401, 403)
    assert got.ruling.outcome == ("error_closed" if closed else "deny")
    assert (got.ruling.stage, got.ruling.policy.version) == ("server", 7)
    assert got.ruling.facts.inputs == {}
