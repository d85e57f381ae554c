"""What is said of a recorded decision is what its record says, and nothing is made up."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from gateway import policy as policies
from gateway.explanation import WORDS, explain
from gateway.hindsight import explain_recorded
from gateway.inputs import gather
from gateway.policy import Policy
from gateway.table import compile_policy
from tests.unit.gateway import policy_factory as make
from tests.unit.gateway.replaying import (
    Call,
    call,
    call_by,
    digest_of,
    policy_by,
    recorded,
)

GRANT = {"id": "all", "actions": ["*"]}


def policy_of(when: object, **members: object) -> Policy:
    restriction = {"id": "r", "effect": "deny", "actions": ["*"], "when": when}
    text = {"grants": [GRANT], "restrictions": [restriction], **members}
    return policies.decode_policy(msgspec.json.encode(text))


def parts_of(policy: Policy, made: Call, *, own: bool = True) -> list[tuple[str, str]]:
    digest = digest_of(policy) if own else None
    found = explain_recorded(policy, digest, recorded(policy, made))
    (line,) = (rule for rule in found.rules if rule.id == "r")
    return [(part.truth, part.text) for part in line.parts]


def test_a_value_that_stands_as_a_digest_is_told_as_open_and_its_rule_as_recorded() -> None:
    policy = policy_of({"all": [{"eq": ["args.secret", "x"]}, {"eq": ["args.open", 1]}]},
                       recordable=["args.open"])  # fmt: skip
    made = call(make.tool_call(args={"secret": "x", "open": 1}))
    found = explain_recorded(policy, digest_of(policy), recorded(policy, made))
    (line,) = (rule for rule in found.rules if rule.id == "r")
    assert (line.truth, line.decided, found.outcome, found.own) == ("true", True, "deny", True)
    assert [part.truth for part in line.parts][1:] == ["true or false or unknown", "true"]


def test_a_part_that_the_daemon_never_came_to_is_told_as_not_read() -> None:
    policy = policy_of({"all": [{"eq": ["args.a", 2]}, {"eq": ["args.b", 1]}]},
                       recordable=["args.a", "args.b"])  # fmt: skip
    made = call(make.tool_call(args={"a": 1, "b": 1}))
    assert parts_of(policy, made) == [
        ("false", "all"),
        ("false", '{"eq":["args.a",2]}'),
        ("not read", '{"eq":["args.b",1]}'),
    ]


def test_under_another_policy_what_nobody_read_is_open() -> None:
    old = policy_of({"eq": ["args.a", 2]}, recordable=["args.a"])
    new = policy_of({"eq": ["args.b", 1]})
    made = call(make.tool_call(args={"a": 1, "b": 1}))
    found = explain_recorded(new, digest_of(new), recorded(old, made))
    assert (found.own, found.verdict, found.missing) == (False, "undetermined", ["args.b"])
    (line,) = (rule for rule in found.rules if rule.id == "r")
    assert line.truth == "true or false or unknown"


def test_a_ruling_without_rules_is_explained_without_any() -> None:
    policy = policy_of({"eq": ["args.a", 1]})
    refused = make.tool_call(hosted_tools=("web_search",))
    found = explain_recorded(policy, digest_of(policy), recorded(policy, call(refused)))
    assert (found.reason, found.rules) == ("hosted_tool_denied", [])


@pytest.mark.parametrize("seed", range(300))
def test_the_recorded_explanation_never_contradicts_the_one_of_the_real_values(seed: int) -> None:
    """Every truth of the real call is among those that are told of its record."""
    random = Random(seed)
    policy, made = policy_by(random), call_by(random)
    decision = recorded(policy, made)
    found = explain_recorded(policy, digest_of(policy), decision)
    if not found.rules:
        return
    inputs = gather(made.principal, made.label, made.view, made.route, make.NOW_US + made.age_us)
    real = {line.id: line for line in explain(compile_policy(policy), inputs).rules}
    assert [line.id for line in found.rules] == list(real)
    for line in found.rules:
        assert line.truth == real[line.id].truth
        assert line.decided == (line.id in decision.decision.rules)
        for part, truly in zip(line.parts, real[line.id].parts, strict=True):
            assert part.text == truly.text
            assert part.truth == "not read" or truly.truth in part.truth.split(" or ")
    assert all(line.truth in WORDS.values() for line in found.rules)
