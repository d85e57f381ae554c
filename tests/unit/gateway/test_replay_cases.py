"""What a replay says of records that were changed, of missing facts and of other bundles."""

from __future__ import annotations

from itertools import product
from typing import Any, TypeVar

import msgspec
import pytest

from gateway.decide import refuse
from gateway.errors import CODES
from gateway.judgement import pack_results, unpack_results
from gateway.policy import Policy
from gateway.record import Decision
from gateway.replay import Replay, Replayed
from gateway.truth import FALSE, TRUE, UNKNOWN
from tests.unit.gateway import policy_factory as make
from tests.unit.gateway.replaying import call, digest_of, recorded

SMALL = {"id": "small", "actions": ["tool_call"], "when": {"le": ["args.amount", 500]}}
EUROS = {"id": "euros", "actions": ["tool_call"], "when": {"eq": ["args.currency", "EUR"]}}
NO_GIFTS = {
    "id": "no-gifts",
    "effect": "deny",
    "actions": ["*"],
    "when": {"eq": ["args.kind", "gift"]},
}
PAID = make.tool_call(args={"amount": 100, "currency": "EUR", "kind": "refund"})


StructT = TypeVar("StructT", bound=msgspec.Struct)


def rules(**members: object) -> Policy:
    given: dict[str, object] = {
        "grants": [SMALL],
        "restrictions": [NO_GIFTS],
        "recordable": ["args.amount", "args.kind", "args.currency"],
    }
    return make.policy_of(**{**given, **members})


def own(document: Policy, decision: Decision) -> Replayed:
    return Replay(document, digest_of(document)).judge(decision)


def other(document: Policy, decision: Decision) -> Replayed:
    return Replay(document, None).judge(decision)


def changed(part: StructT, **members: object) -> StructT:
    return msgspec.structs.replace(part, **members)


def with_facts(decision: Decision, **facts: object) -> Decision:
    return changed(decision, facts=changed(decision.facts, **facts))


def with_ruling(decision: Decision, **members: object) -> Decision:
    return changed(decision, decision=changed(decision.decision, **members))


def without(decision: Decision, path: str) -> Decision:
    inputs = {name: value for name, value in decision.facts.inputs.items() if name != path}
    return with_facts(decision, inputs=inputs)


ALLOWED = recorded(rules(), call(PAID))
DENIED = recorded(rules(), call(make.tool_call(args={"amount": 100, "kind": "gift"})))


@pytest.mark.parametrize("decision", [ALLOWED, DENIED], ids=["allowed", "denied"])
def test_an_outcome_that_was_flipped_is_changed(decision: Decision) -> None:
    for outcome in {"allow", "deny", "approval_required", "error_open", "error_closed"} - {
        decision.decision.outcome
    }:
        found = own(rules(), with_ruling(decision, outcome=outcome))
        assert (found.verdict, found.before.outcomes) == ("changed", [outcome])
        assert found.after.outcomes == [decision.decision.outcome]
        assert found.differs[0] == "outcome"


@pytest.mark.parametrize(
    "members",
    [
        {"reason": "no_grant"}, {"rules": []}, {"rules": ["small", "euros"]}, {"status": 403},
        {"unknown_rules": ["small"]}, {"obligations": ["regions=eu"]}, {"fail_open": True},
    ],
    ids=str,
)  # fmt: skip
def test_every_member_of_a_ruling_is_compared(members: dict[str, object]) -> None:
    found = own(rules(), with_ruling(ALLOWED, **members))
    assert (found.verdict, found.differs) == ("changed", list(members))


def test_an_outcome_that_was_flipped_with_its_results_is_changed_by_its_facts() -> None:
    results = {"results": DENIED.facts.results}
    forged = with_facts(with_ruling(ALLOWED, outcome="deny", reason="restricted",
                                    rules=["no-gifts"], status=403), **results)  # fmt: skip
    found = own(rules(), forged)
    assert (found.verdict, found.differs) == ("changed", ["facts"])
    assert "'no-gifts'" in str(found.note)


@pytest.mark.parametrize("results", ["", "!!", "____", ALLOWED.facts.results + "A"])
def test_results_that_do_not_fit_the_rules_are_changed(results: str) -> None:
    assert own(rules(), with_facts(ALLOWED, results=results)).verdict == "changed"


@pytest.mark.parametrize("replay", [own, other])
@pytest.mark.parametrize("path", ["args.amount", "args.kind"])
def test_without_a_fact_that_mattered_it_is_undetermined(path: str, replay: Any) -> None:
    found = replay(rules(), without(ALLOWED, path))
    assert (found.verdict, found.missing) == ("undetermined", [path])
    assert found.after.outcomes == ["allow", "deny"]


@pytest.mark.parametrize("replay", [own, other])
def test_without_a_fact_that_did_not_matter_it_is_the_same(replay: Any) -> None:
    assert replay(rules(), without(DENIED, "args.amount")).verdict == "same"


def test_a_fact_that_was_never_read_is_not_missed_by_the_bundle_that_decided() -> None:
    both = {"all": [{"le": ["args.amount", 50]}, {"eq": ["args.kind", "gift"]}]}
    document = rules(restrictions=[{**NO_GIFTS, "when": both}], recordable=[])
    decision = recorded(document, call(PAID))
    assert "args.kind" not in decision.facts.inputs
    assert own(document, decision).verdict == "same"
    unread = without(decision, "args.amount")
    assert own(document, unread).verdict == "undetermined"


@pytest.mark.parametrize(
    ("decision", "members", "after"),
    [
        (ALLOWED, {"grants": [EUROS]}, "anything"),
        (ALLOWED, {"grants": []}, "deny"),
        (DENIED, {"restrictions": []}, "allow"),
        (ALLOWED, {"grants": [{"id": "all", "actions": ["*"]}]}, "allow"),
    ],
    ids=["another grant", "no grant", "no restriction", "another id"],
)
def test_a_bundle_without_the_deciding_rule_gives_changed(
    decision: Decision, members: dict[str, object], after: str
) -> None:
    found = other(rules(**members), decision)
    assert found.verdict == "changed"
    assert found.after.outcomes == (["allow", "deny"] if after == "anything" else [after])


def test_one_of_two_denials_left_is_changed_though_the_outcome_is_not() -> None:
    twin = {**NO_GIFTS, "id": "twin"}
    document = rules(restrictions=[NO_GIFTS, twin])
    decision = recorded(document, call(make.tool_call(args={"amount": 1, "kind": "gift"})))
    found = other(rules(restrictions=[twin]), decision)
    assert (found.verdict, found.differs) == ("changed", ["rules"])


def test_a_digest_is_a_value_that_nobody_knows() -> None:
    document = rules(recordable=["args.amount"])
    decision = recorded(document, call(PAID))
    assert own(document, decision).verdict == "same"
    found = other(rules(), decision)
    assert (found.verdict, found.missing) == ("undetermined", ["args.kind"])
    present = rules(restrictions=[{**NO_GIFTS, "when": {"not": {"exists": "args.kind"}}}])
    assert other(present, decision).verdict == "same"


def test_where_the_route_went_is_known_if_nothing_narrowed_it() -> None:
    elsewhere = {"id": "mars", "effect": "oblige", "actions": ["*"],
                 "obligations": [{"regions": ["mars"]}]}  # fmt: skip
    found = other(rules(restrictions=[NO_GIFTS, elsewhere]), ALLOWED)
    assert (found.verdict, found.after.reasons) == ("changed", ["upstream_not_permitted"])
    found = other(rules(restrictions=[elsewhere]), DENIED)
    assert (found.verdict, found.after.outcomes) == ("changed", ["allow", "deny"])


def test_where_else_a_narrowed_call_could_have_gone_is_not_known() -> None:
    def only(region: str) -> Policy:
        keep = {"id": "keep", "effect": "oblige", "actions": ["*"],
                "obligations": [{"regions": [region]}]}  # fmt: skip
        return rules(restrictions=[NO_GIFTS, keep])

    both = make.route(make.upstream("near", "eu"), make.upstream("far", "us"))
    decision = recorded(only("eu"), call(PAID, route=both))
    assert [one.region for one in decision.model.upstreams] == ["eu"]
    assert own(only("eu"), decision).verdict == "same"
    found = other(only("us"), decision)
    assert found.after.outcomes == ["allow", "deny"]
    assert other(rules(), decision).differs == ["rules", "obligations"]


def test_of_a_value_that_was_cut_the_end_is_not_known() -> None:
    named = {"id": "named", "effect": "deny", "actions": ["*"],
             "when": {"matches": ["agent.name", "*z"]}}  # fmt: skip
    decision = recorded(rules(), call(PAID, agent_name="a" * 200 + "z"))
    found = other(rules(restrictions=[NO_GIFTS, named]), decision)
    assert (found.verdict, found.missing) == ("undetermined", ["agent.name"])


# -- what no rule decided ---------------------------------------------------------------------


def refused(code: str, **policy: object) -> Decision:
    """The record of a refusal by something other than the rules."""
    ruled = refuse(None, code, make.NOW_US).ruling
    decision = with_ruling(
        ALLOWED, outcome=ruled.outcome, reason=code, rules=[], status=CODES[code].status
    )
    return changed(decision, facts=ruled.facts, policy=changed(decision.policy, **policy))


@pytest.mark.parametrize(
    ("code", "state"),
    [
        ("unreadable_body", "fresh"), ("value_too_long", "stale"), ("token_expired", "fresh"),
        ("denied", "fresh"), ("scope_insufficient", "fresh"), ("body_too_large", "expired"),
        ("identity_ambiguous", "empty"), ("policy_unavailable", "empty"),
        ("policy_locked", "locked"), ("policy_expired", "expired"),
    ],
)  # fmt: skip
def test_a_refusal_before_the_rules_is_neither_same_nor_changed(code: str, state: str) -> None:
    decision = refused(code, state=state)
    for replay in (own, other):
        assert replay(rules(), decision).verdict == "not_by_rules"
    for members in ({"outcome": "allow"}, {"status": 200}, {"rules": ["small"]}):
        forged = own(rules(), with_ruling(decision, **members))
        assert forged.verdict == "changed", (members, forged)
    assert own(rules(), changed(decision, facts=ALLOWED.facts)).verdict == "changed"


@pytest.mark.parametrize(
    ("code", "state"),
    [("policy_unavailable", "fresh"), ("policy_locked", "stale"), ("policy_expired", "fresh")],
)
def test_a_refusal_that_its_policy_state_excludes_is_changed(code: str, state: str) -> None:
    assert own(rules(), refused(code, state=state)).verdict == "changed"


@pytest.mark.parametrize("state", ["empty", "locked", "expired"])
def test_a_ruling_by_rules_that_its_policy_state_excludes_is_changed(state: str) -> None:
    forged = changed(ALLOWED, policy=changed(ALLOWED.policy, state=state))
    found = own(rules(), forged)
    assert (found.verdict, found.after.outcomes) == ("changed", ["error_closed"])


def test_what_a_stale_copy_serves_is_the_bundles_choice() -> None:
    strict = rules(defaults={"on_stale": "deny"})
    served = recorded(rules(), call(PAID, age_us=600 * make.SECOND))
    assert (served.policy.state, served.decision.outcome) == ("stale", "allow")
    assert own(rules(), served).verdict == "same"
    found = other(strict, served)
    assert (found.verdict, found.after.reasons) == ("changed", ["policy_expired"])
    closed = recorded(strict, call(PAID, age_us=600 * make.SECOND))
    assert own(strict, closed).verdict == "same"
    assert other(rules(), closed).verdict == "changed"


def test_how_long_an_expired_copy_stays_open_no_record_says() -> None:
    choice = {"seconds_max": 5_000, "routes": ["openai"], "levels": ["internal"]}
    opening = rules(open_on_expired=choice)
    decision = recorded(opening, call(PAID, age_us=4_000 * make.SECOND))
    assert decision.decision.outcome == "error_open"
    assert own(opening, decision).verdict == "same"
    shorter = rules(open_on_expired={**choice, "seconds_max": 1})
    assert other(shorter, decision).verdict == "undetermined"
    assert other(rules(), decision).after.outcomes == ["error_closed"]


# -- what this version does not know ----------------------------------------------------------


@pytest.mark.parametrize(
    "decision",
    [
        with_ruling(ALLOWED, reason="granted_by_moon"),
        with_ruling(ALLOWED, outcome="maybe"),
        changed(ALLOWED, policy=changed(ALLOWED.policy, engine="table/2")),
        changed(ALLOWED, policy=changed(ALLOWED.policy, state="thawing")),
    ],
    ids=["reason", "outcome", "engine", "state"],
)
def test_a_word_of_a_later_version_is_undetermined(decision: Decision) -> None:
    found = own(rules(), decision)
    assert found.verdict == "undetermined"
    assert "does not know" in str(found.note)


def test_a_name_that_was_cut_is_undetermined_and_says_so() -> None:
    document = rules(grants=[{"id": "g", "actions": ["*"], "tools": ["a"]}])
    decision = recorded(document, call(make.tool_call(tool="t" * 400)))
    assert decision.decision.outcome == "deny"
    found = own(document, decision)
    assert (found.verdict, found.missing) == ("undetermined", ["model.tool"])


def test_the_recorded_results_are_those_that_a_replay_computes() -> None:
    document = rules(grants=[SMALL, EUROS], restrictions=[NO_GIFTS])
    decision = recorded(document, call(make.tool_call(args={"amount": 900, "kind": "refund"})))
    results = unpack_results(decision.facts.results, 3)
    assert results == [FALSE, FALSE, UNKNOWN]
    assert own(document, decision).verdict == "same"
    for place, truth in product(range(3), (FALSE, TRUE, UNKNOWN)):
        forged = [*results[:place], truth, *results[place + 1 :]]
        found = own(document, with_facts(decision, results=pack_results(forged)))
        assert found.verdict == ("same" if forged == results else "changed")
