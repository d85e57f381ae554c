"""Why a call has its outcome: each rule that is or may be about it, and each of its conditions.

Owns: the truth of every part of a condition for one call, and which rules decided. Refuses: an
outcome of its own: it is ``judgement.judge``'s, and the parts are compiled as rules are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from gateway.comparison import Scope
from gateway.condition import compile_condition, never_known
from gateway.inputs import Inputs
from gateway.judgement import Judgement, judge
from gateway.policy import Grant, Restriction, json_text
from gateway.table import Table, scope_of
from gateway.target import named
from gateway.truth import FALSE, TRUE, UNKNOWN, Truth

WORDS: Final = {FALSE: "false", TRUE: "true", UNKNOWN: "unknown"}


class Part(msgspec.Struct, frozen=True):
    """One condition inside a rule. ``depth``: how deep it stands; ``text``: its JSON text, for a
    connective its operator alone. ``truth``: ``true``, ``false`` or ``unknown``."""

    depth: int
    text: str
    truth: str


class RuleLine(msgspec.Struct, frozen=True):
    """One rule. ``certain``: whether its targets are known to name the call; where they are not,
    the rule is unknown whatever its conditions are. ``decided``: whether the outcome is its."""

    id: str
    effect: str
    shadow: bool
    truth: str
    certain: bool
    decided: bool
    parts: list[Part]


class Explanation(msgspec.Struct, frozen=True):
    """``others``: how many rules are not about the call. No rule is asked where what the provider
    would run was refused."""

    outcome: str
    reason: str
    rules: list[RuleLine]
    others: int


def explain(table: Table, inputs: Inputs) -> Explanation:
    """Why the policy of ``table`` gives the call of ``inputs`` its outcome."""
    judgement, results = judge(table, inputs)
    lines: list[RuleLine] = []
    if results:
        policy = table.policy
        every: list[Grant | Restriction] = [*policy.restrictions, *policy.grants]
        documents = {rule.id: rule for rule in every}
        scope = scope_of(policy)
        candidates = table.candidates(named(inputs))
        asked = zip(candidates.rules, candidates.conditions, results, strict=True)
        for rule, condition, truth in asked:
            certain = condition is not never_known
            lines.append(_line(documents[rule.id], truth, certain, judgement, inputs, scope))
    others = len(table.rules) - len(lines)
    return Explanation(judgement.outcome, judgement.reason, lines, others)


def _line(
    rule: Grant | Restriction,
    truth: Truth,
    certain: bool,
    judgement: Judgement,
    inputs: Inputs,
    scope: Scope,
) -> RuleLine:
    scope.begin_rule()
    return RuleLine(
        id=rule.id,
        effect=rule.effect if isinstance(rule, Restriction) else "grant",
        shadow=rule.status == "shadow",
        truth=WORDS[truth],
        certain=certain,
        decided=rule.id in judgement.rules,
        parts=[] if rule.when is None else list(_parts(rule.when, inputs, scope, 0)),
    )


def _parts(document: object, inputs: Inputs, scope: Scope, depth: int) -> Iterator[Part]:
    assert isinstance(document, dict)
    ((operator, operand),) = document.items()
    scope.begin_rule()
    truth = WORDS[compile_condition(document, scope)(inputs)]
    if operator not in ("all", "any", "not"):
        yield Part(depth, json_text(document).decode(), truth)
        return
    yield Part(depth, operator, truth)
    for part in [operand] if operator == "not" else operand:
        yield from _parts(part, inputs, scope, depth + 1)
