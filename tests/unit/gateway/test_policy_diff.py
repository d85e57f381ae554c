"""A change that is called narrowing or neutral never allows a call that was not allowed."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.inputs import PATHS, Inputs
from gateway.judgement import judge
from gateway.policy import Policy
from gateway.policy_diff import diff
from gateway.table import compile_policy
from tests.unit.gateway.policy_factory import policy_of

LEVELS = ["public", "internal", "confidential", "restricted"]
MODELS = ["gpt-4o", "claude-1"]
LEAVES = st.one_of(
    st.builds(
        lambda o, n: {o: ["args.n", n]},
        st.sampled_from(["lt", "le", "gt", "ge"]),
        st.integers(0, 3),
    ),
    st.builds(
        lambda o, level: {o: ["data.level", level]},
        st.sampled_from(["at_most", "at_least", "eq"]),
        st.sampled_from([*LEVELS, "own"]),
    ),
    st.builds(
        lambda o, v: {o: ["args.n", v]},
        st.sampled_from(["in", "not_in"]),
        st.lists(st.sampled_from([0, 1, 2, "a", True]), min_size=1, max_size=3),
    ),
    st.builds(
        lambda o, v: {o: ["authz.roles", v]},
        st.sampled_from(["has_any", "has_all"]),
        st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=2),
    ),
)
CONDITIONS = st.recursive(
    LEAVES,
    lambda inner: (
        st.builds(lambda c: {"not": c}, inner)
        | st.builds(
            lambda o, parts: {o: parts},
            st.sampled_from(["all", "any"]),
            st.lists(inner, min_size=1, max_size=3),
        )
    ),
    max_leaves=4,
)


def names(of: list[str]) -> st.SearchStrategy[list[str] | None]:
    return st.none() | st.lists(st.sampled_from(of), min_size=1, max_size=2)


@st.composite
def rules(draw: st.DrawFn, rule_id: str, restriction: bool) -> dict[str, object]:
    rule: dict[str, object] = {
        "id": rule_id,
        "actions": draw(st.sampled_from([["chat"], ["tool_call"], ["chat", "tool_call"], ["*"]])),
        "routes": draw(names(["r1", "r*"])),
        "when": draw(st.none() | CONDITIONS),
        "status": draw(st.sampled_from(["active", "active", "active", "shadow"])),
    }
    if "tool_call" not in rule["actions"]:  # type: ignore[operator]  # a list
        rule["models"] = draw(names([*MODELS, "gpt-*", "@g"]))
    elif rule["actions"] == ["tool_call"]:
        rule["tools"] = draw(names(["s/t", "t", "s/*"]))
    if restriction:
        rule["effect"] = draw(st.sampled_from(["deny", "require_approval", "oblige"]))
        if rule["effect"] == "oblige":
            rule["obligations"] = draw(
                st.sampled_from([[{"regions": ["eu"]}], [{"max_output_tokens": 3}]])
            )
    return rule


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    return policy_of(
        levels={"own": draw(st.sampled_from(LEVELS))},
        groups={"g": draw(st.lists(st.sampled_from(MODELS), min_size=1, max_size=2))},
        grants=[draw(rules(one, False)) for one in ("g1", "g2") if draw(st.booleans())],
        restrictions=[draw(rules(one, True)) for one in ("r1", "r2") if draw(st.booleans())],
        hosted_tools=draw(st.lists(st.sampled_from(["h", "i"]), max_size=2)),
    )


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Policy, Policy]:
    """Two policies that differ in one rule, mostly: two drawn freely differ in everything."""
    old, other = draw(policies()), draw(policies())
    member = draw(st.sampled_from(["grants", "restrictions", "hosted_tools", "groups", "levels"]))
    if draw(st.booleans()):
        return old, msgspec.structs.replace(old, **{member: getattr(other, member)})
    return old, _nudged(old, other, draw(st.sampled_from(["actions", "models", "routes", "when"])))


def _nudged(old: Policy, other: Policy, part: str) -> Policy:
    """``old`` with one member of each rule as in ``other``, where that compiles."""

    def nudge(mine: list[object], theirs: list[object]) -> list[object]:
        parts = {rule.id: getattr(rule, part) for rule in theirs}  # type: ignore[attr-defined]  # a rule
        return [
            msgspec.structs.replace(rule, **{part: parts[rule.id]}) if rule.id in parts else rule  # type: ignore[attr-defined, type-var]  # a rule
            for rule in mine
        ]

    new = msgspec.structs.replace(
        old,
        grants=nudge(list(old.grants), list(other.grants)),
        restrictions=nudge(list(old.restrictions), list(other.restrictions)),
    )
    try:
        compile_policy(new)
    except Exception:
        return old
    return new


@st.composite
def calls(draw: st.DrawFn) -> Inputs:
    known: dict[str, object] = dict.fromkeys(PATHS)
    known |= {
        "model.operation": draw(st.sampled_from(["chat", "tool_call", "unknown", "models"])),
        "model.requested": draw(st.sampled_from([None, *MODELS])),
        "model.route": draw(st.sampled_from([None, "r1", "r2", "x"])),
        "model.tool": draw(st.sampled_from([None, "t", "u"])),
        "model.tool_server": draw(st.sampled_from([None, "s", "v"])),
        "model.hosted_tools": tuple(draw(st.lists(st.sampled_from(["h", "i"]), max_size=1))),
        "model.references": (),
        "data.level": draw(st.sampled_from([None, *LEVELS])),
        "authz.roles": draw(st.sampled_from([None, (), ("a",), ("a", "b")])),
    }
    return Inputs(list(known.values()), {"n": draw(st.sampled_from([None, 0, 1, 2, 3, "a", True]))})


@settings(max_examples=300, deadline=None)
@given(pairs(), st.lists(calls(), min_size=10, max_size=30))
def test_no_call_becomes_allowed_without_a_change_that_may_widen(
    pair: tuple[Policy, Policy], asked: list[Inputs]
) -> None:
    old, new = pair
    verdicts = {change.verdict for change in diff(old, new)}
    before, after = compile_policy(old), compile_policy(new)
    for inputs in asked:
        had, has = judge(before, inputs)[0].outcome, judge(after, inputs)[0].outcome
        if has == "allow" != had:
            assert verdicts & {"widening", "unclear"}
        if had == "allow" != has:
            assert verdicts & {"narrowing", "unclear"}


def test_a_policy_does_not_differ_from_itself() -> None:
    policy = policy_of(grants=[{"id": "a", "actions": ["chat"]}])
    assert diff(policy, policy) == []


GRANT = {"id": "g", "actions": ["tool_call"], "when": {"le": ["args.n", 5]}}
STOP = {"id": "s", "effect": "deny", "actions": ["chat"], "when": {"eq": ["args.n", 5]}}


@pytest.mark.parametrize(
    ("old", "new", "verdict"),
    [
        ({}, {"grants": [GRANT]}, "widening"),
        ({"grants": [GRANT]}, {}, "narrowing"),
        ({"restrictions": [STOP]}, {}, "widening"),
        ({}, {"restrictions": [STOP]}, "narrowing"),
        ({}, {"grants": [{**GRANT, "status": "shadow"}]}, "neutral"),
        ({"grants": [GRANT]}, {"grants": [{**GRANT, "when": {"le": ["args.n", 9]}}]}, "widening"),
        ({"grants": [GRANT]}, {"grants": [{**GRANT, "when": {"le": ["args.n", 2]}}]}, "narrowing"),
        ({"grants": [GRANT]}, {"grants": [{**GRANT, "when": None}]}, "widening"),
        ({"grants": [GRANT]}, {"grants": [{**GRANT, "description": "x"}]}, None),
        (
            {"restrictions": [STOP]},
            {"restrictions": [{**STOP, "effect": "require_approval"}]},
            "widening",
        ),
        # A call whose model nobody knows was stopped by the first whatever its argument was.
        (
            {"restrictions": [{**STOP, "models": ["x"]}]},
            {"restrictions": [STOP]},
            "unclear",
        ),
        ({}, {"hosted_tools": ["h"]}, "widening"),
        ({}, {"uncertified_seconds_max": 0}, "narrowing"),
        ({"defaults": {"on_stale": "deny"}}, {}, "widening"),
        (
            {},
            {"open_on_expired": {"seconds_max": 5, "routes": ["r"], "levels": ["public"]}},
            "widening",
        ),
        ({}, {"recordable": ["args.n"]}, "neutral"),
    ],
)
def test_each_kind_of_change_has_its_verdict(
    old: dict[str, object], new: dict[str, object], verdict: str | None
) -> None:
    found = [change.verdict for change in diff(policy_of(**old), policy_of(**new))]
    assert found == ([] if verdict is None else [verdict])


def test_a_group_that_grows_widens_the_grant_that_uses_it() -> None:
    grant = {"id": "g", "actions": ["chat"], "models": ["@m"]}
    old = policy_of(groups={"m": ["a"]}, grants=[grant])
    new = policy_of(groups={"m": ["a", "b"]}, grants=[grant])
    first, second = diff(old, new)
    assert (first.what, first.verdict, first.said) == ("grant 'g'", "widening", "models +b")
    assert (second.what, second.verdict) == ("groups", "neutral")


def test_a_group_of_roles_that_grows_widens_the_grant_whose_condition_names_it() -> None:
    grant = {"id": "g", "actions": ["chat"], "when": {"has_any": ["authz.roles", "@staff"]}}
    old = policy_of(groups={"staff": ["analyst"]}, grants=[grant])
    new = policy_of(groups={"staff": ["analyst", "support"]}, grants=[grant])
    first, *_ = diff(old, new)
    assert (first.what, first.verdict) == ("grant 'g'", "widening")
    back, *_ = diff(new, old)
    assert back.verdict == "narrowing"
