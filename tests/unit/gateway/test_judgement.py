from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.inputs import INDEX, PATHS, Inputs
from gateway.judgement import conclude, judge, pack_results, unpack_results
from gateway.table import compile_policy
from gateway.target import named
from gateway.vocabulary import LEVELS
from tests.unit.gateway import policy_factory as make

Rule = dict[str, object]

values = st.sampled_from(["a", "b", "c"])
leaves = st.one_of(
    st.builds(lambda op, v: {op: ["person.id", v]}, st.sampled_from(["eq", "ne"]), values),
    st.builds(lambda op, v: {op: ["authz.roles", v]}, st.just("has"), values),
    st.builds(lambda op, v: {op: ["authz.roles", v]}, st.sampled_from(["has_any", "has_all"]),
              st.lists(values, min_size=1, max_size=2)),
    st.builds(lambda v: {"has": ["data.categories", v]}, values),
    st.builds(lambda op, v: {op: ["data.level", v]}, st.sampled_from(["at_most", "at_least"]),
              st.sampled_from(LEVELS)),
    st.builds(lambda op, v: {op: ["args.x", v]}, st.sampled_from(["le", "gt", "eq", "ne"]),
              st.integers(0, 2)),
    st.builds(lambda v: {"matches": ["args.y", v]}, st.sampled_from(["a*", "*"])),
    st.builds(lambda v: {"not_in": ["agent.id", [v]]}, values),
    st.just({"time_between": ["07:00", "09:00"]}),
)  # fmt: skip
conditions = st.recursive(
    leaves,
    lambda inner: (
        st.builds(lambda c: {"not": c}, inner)
        | st.builds(
            lambda op, c: {op: c},
            st.sampled_from(["all", "any"]),
            st.lists(inner, min_size=1, max_size=3),
        )
    ),
    max_leaves=4,
)
targets = st.sampled_from(
    [{}, {"tools": ["t"]}, {"tools": ["s/*"]}, {"agents": ["a"]}, {"routes": ["r*"]}]
)
bodies = st.builds(
    lambda target, when: {"actions": ["*"], "when": when, **target},
    targets,
    st.none() | conditions,
)
grants = st.lists(bodies, min_size=1, max_size=3)
restrictions = st.lists(
    st.builds(
        lambda body, effect: {**body, "effect": effect},
        bodies,
        st.sampled_from(["deny", "require_approval"]),
    ),
    max_size=3,
)
texts = st.none() | st.lists(values, max_size=2).map(tuple)
inputs = st.builds(
    lambda person, agent, roles, level, found, completeness, tool, args: _inputs(
        {
            "person.id": person,
            "agent.id": agent,
            "authz.roles": roles,
            "data.level": level,
            "data.categories": found,
            "data.completeness": completeness,
            "model.operation": "tool_call",
            "model.route": "r",
            "model.tool": tool,
            "model.tool_server": "s",
            "model.hosted_tools": (),
            "model.references": (),
            "time": make.NOW_US,
        },
        args,
    ),
    st.none() | values,
    st.none() | values,
    texts,
    st.none() | st.sampled_from(LEVELS),
    texts,
    st.sampled_from(["full", "partial"]),
    st.sampled_from([None, "t", "u"]),
    st.none()
    | st.fixed_dictionaries(
        {}, optional={"x": st.integers(0, 2), "y": st.sampled_from(["a", "b"])}
    ),
)


def _inputs(known: dict[str, object], args: object) -> Inputs:
    return Inputs([known.get(path) for path in PATHS], args)


def outcome(given_grants: list[Rule], given_restrictions: list[Rule], case: Inputs) -> str:
    table = compile_policy(
        make.policy_of(
            grants=[{"id": f"g{i}", **rule} for i, rule in enumerate(given_grants)],
            restrictions=[{"id": f"r{i}", **rule} for i, rule in enumerate(given_restrictions)],
        )
    )
    judgement, results = judge(table, Inputs(list(case.known), case.args))
    # Replay: what the record holds gives the same outcome.
    candidates = table.candidates(named(case))
    unpacked = unpack_results(pack_results(results), len(candidates.rules))
    assert conclude(candidates, unpacked) == judgement
    return judgement.outcome


@given(grants, restrictions, restrictions, inputs)
def test_adding_a_restriction_never_allows_more(
    some: list[Rule], less: list[Rule], more: list[Rule], case: Inputs
) -> None:
    if outcome(some, less, case) != "allow":
        assert outcome(some, less + more, case) != "allow"


@given(grants, restrictions, inputs, st.data())
def test_removing_a_grant_never_allows_more(
    some: list[Rule], limits: list[Rule], case: Inputs, data: st.DataObject
) -> None:
    fewer = data.draw(st.lists(st.sampled_from(some), max_size=2))
    if outcome(some, limits, case) != "allow":
        assert outcome([rule for rule in some if rule in fewer], limits, case) != "allow"


@given(grants, restrictions, inputs, st.data())
def test_leaving_out_an_input_never_allows_more(
    some: list[Rule], limits: list[Rule], case: Inputs, data: st.DataObject
) -> None:
    known = list(case.known)
    always = {"model.operation", "model.hosted_tools", "model.references", "model.route"}
    for path in data.draw(st.sets(st.sampled_from(sorted(set(PATHS) - always)), max_size=3)):
        known[INDEX[path]] = None
    args = case.args
    if isinstance(args, dict):
        kept = data.draw(st.sets(st.sampled_from(["x", "y"])))
        args = {name: value for name, value in args.items() if name in kept}
    args = data.draw(st.sampled_from([args, None]))
    if outcome(some, limits, case) != "allow":
        assert outcome(some, limits, Inputs(known, args)) != "allow"


@given(grants, restrictions, inputs, st.randoms(use_true_random=False))
def test_the_order_of_rules_does_not_matter(
    some: list[Rule], limits: list[Rule], case: Inputs, chance: object
) -> None:
    before = outcome(some, limits, case)
    assert outcome(some[::-1], limits[::-1], case) == before


@given(st.lists(st.integers(0, 2), max_size=40))
def test_packed_results_come_back_and_take_two_bits_each(results: list[int]) -> None:
    text = pack_results(results)
    assert unpack_results(text, len(results)) == results
    assert len(text) <= len(results) // 3 + 2
    assert "=" not in text


@pytest.mark.parametrize(
    ("text", "count"), [("", 1), ("AA", 0), ("AAA", 1), ("wA", 1), ("EA", 1), ("!!", 1)]
)
def test_packed_results_that_nobody_wrote_are_refused(text: str, count: int) -> None:
    with pytest.raises(ValueError, match="packed results"):
        unpack_results(text, count)


VERIFIED: Rule = {"not": {"in": ["person.assurance", ["delegated", "user_token"]]}}
SCOPED: Rule = {"not": {"has": ["authz.scopes", "llm.secret"]}}


@pytest.mark.parametrize(
    ("conditions", "code"),
    [
        ([VERIFIED], "assurance_too_low"),
        ([SCOPED], "scope_insufficient"),
        ([VERIFIED, VERIFIED], "assurance_too_low"),
        ([VERIFIED, SCOPED], "denied"),
        ([{"all": [VERIFIED, {"ne": ["agent.id", "z"]}]}], "denied"),
        ([{"ne": ["agent.id", "z"]}], "denied"),
        ([None], "denied"),
    ],
)
@pytest.mark.parametrize("scopes", [None, (), ("llm.chat",)])
def test_a_denial_says_what_to_bring_only_if_that_is_all_that_is_missing(
    conditions: list[Rule | None], code: str, scopes: tuple[str, ...] | None
) -> None:
    known: dict[str, object] = {
        "person.assurance": "workload",
        "authz.scopes": scopes,
        "agent.id": "a",
        "model.operation": "chat",
        "model.requested": "m",
        "model.hosted_tools": (),
        "model.references": (),
    }
    table = compile_policy(
        make.policy_of(
            grants=[{"id": "g", "actions": ["*"]}],
            restrictions=[
                {"id": f"r{i}", "effect": "deny", "actions": ["chat"], "when": when}
                for i, when in enumerate(conditions)
            ],
        )
    )
    judgement, _ = judge(table, _inputs(known, None))
    assert (judgement.outcome, judgement.code) == ("deny", code)
    assert judgement.reason == ("restricted" if code == "denied" else code)


def test_a_rule_that_may_be_about_another_call_does_not_say_what_to_bring() -> None:
    restriction: Rule = {"id": "r", "effect": "deny", "actions": ["chat"], "models": ["m"]}
    table = compile_policy(
        make.policy_of(
            grants=[{"id": "g", "actions": ["*"]}],
            restrictions=[restriction | {"when": VERIFIED}],
        )
    )
    unread: dict[str, object] = {
        "person.assurance": "workload",
        "model.operation": "chat",
        "model.hosted_tools": (),
        "model.references": (),
    }
    judgement, _ = judge(table, _inputs(unread, None))
    assert (judgement.code, judgement.unknown_rules) == ("denied", ("r",))
