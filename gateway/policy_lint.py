"""What in a policy compiles and yet has no effect: only what is certain.

Owns: groups that nobody uses, rules that another one makes needless, grants that can never be
true, restrictions that no test reaches. Refuses: style, and guesses: a policy without a finding
may still be wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from gateway.comparison import Scope
from gateway.condition_order import canonical
from gateway.policy import Grant, Policy, Restriction, SelfTest
from gateway.selftest import run_self_test
from gateway.table import Table, scope_of
from gateway.target import compile_target
from gateway.vocabulary import LEVEL_RANK
from gateway.yaml_text import Path

Rule = Grant | Restriction


class Finding(msgspec.Struct, frozen=True):
    """``path``: where it is in the policy. ``said``: what is the matter."""

    path: Path
    said: str


def lint(table: Table, tests: Sequence[SelfTest]) -> list[Finding]:
    """What is certainly without effect in ``table``'s policy. ``tests``: all that are known.

    Raises DocumentInvalid (``selftest``) for a test with an unreadable time.
    """
    policy = table.policy
    return [
        *_unused_groups(policy),
        *_needless(policy),
        *_never_true(policy),
        *_untested(table, tests),
    ]


def _unused_groups(policy: Policy) -> Iterator[Finding]:
    rules: list[Rule] = [*policy.grants, *policy.restrictions]
    used = {
        entry[1:]
        for rule in rules
        for member in ("actions", "models", "tools", "routes", "agents")
        for entry in getattr(rule, member) or ()
        if entry.startswith("@")
    }
    used.update(name for rule in rules for name in _groups_in(rule.when))
    for name in policy.groups:
        if name not in used:
            yield Finding(("groups", name), f"group {name!r} is used by no rule")


def _groups_in(document: object) -> Iterator[str]:
    """The groups that a condition names."""
    if not isinstance(document, dict):
        return
    ((operator, operand),) = document.items()
    if operator in ("all", "any", "not"):
        for part in [operand] if operator == "not" else operand:
            yield from _groups_in(part)
    elif operator in ("has_any", "has_all", "in", "not_in") and isinstance(operand[1], str):
        yield operand[1][1:]


def _needless(policy: Policy) -> Iterator[Finding]:
    denials = [rule for rule in policy.restrictions if rule.effect == "deny"]
    lists: tuple[tuple[str, Sequence[Rule]], ...] = (
        ("grants", policy.grants),
        ("restrictions", policy.restrictions),
    )
    for member, rules in lists:
        for index, rule in enumerate(rules):
            path: Path = (member, index)
            denial = _covering(rule, denials, policy)
            if denial is not None:
                yield Finding(path, f"rule {rule.id!r} has no effect: {denial.id!r} denies it all")
            elif isinstance(rule, Grant):
                wider = _covering(rule, policy.grants, policy)
                if wider is not None:
                    yield Finding(path, f"grant {rule.id!r} adds nothing to {wider.id!r}")


def _covering(rule: Rule, others: Sequence[Rule], policy: Policy) -> Rule | None:
    """One of ``others`` that applies wherever ``rule`` does, whatever the call is."""
    operations = compile_target(rule, policy.groups).operations
    for other in others:
        if other is rule or other.status != "active" or rule.status != "active":
            continue
        covers = operations <= compile_target(other, policy.groups).operations and all(
            getattr(other, member) in (None, getattr(rule, member))
            for member in ("models", "tools", "routes", "agents", "when")
        )
        # Of two that cover each other the later one is named.
        if covers and not (_same(rule, other) and _before(rule, other, others)):
            return other
    return None


def _same(rule: Rule, other: Rule) -> bool:
    members = ("actions", "models", "tools", "routes", "agents", "when")
    return all(getattr(rule, member) == getattr(other, member) for member in members)


def _before(rule: Rule, other: Rule, others: Sequence[Rule]) -> bool:
    # A rule of another list than ``others`` is not in it, and never before.
    places = {id(one): place for place, one in enumerate(others)}
    return id(rule) in places and places[id(rule)] < places[id(other)]


def _never_true(policy: Policy) -> Iterator[Finding]:
    # Restrictions are left out: one that is never true may still be unknown, and then applies.
    scope = scope_of(policy)
    for index, grant in enumerate(policy.grants):
        path = _contradiction(list(_parts(canonical(grant.when, policy))), scope)
        if path is not None:
            said = (
                f"grant {grant.id!r} is never true: its conditions on {path!r} exclude each other"
            )
            yield Finding(("grants", index, "when"), said)


def _parts(when: object) -> Iterator[tuple[str, object]]:
    """The comparisons that must all be true."""
    if isinstance(when, dict):
        for operator, operand in when.items():
            if operator == "all":
                for part in operand:
                    yield from _parts(part)
            else:
                yield operator, operand


def _contradiction(parts: list[tuple[str, object]], scope: Scope) -> str | None:
    """A path of which ``parts`` want texts, or ranges of levels, that exclude each other."""
    wanted: dict[str, set[str]] = {}
    for operator, operand in parts:
        if operator not in ("eq", "in", "at_most", "at_least"):
            continue
        assert isinstance(operand, list)
        path, constant = operand
        constants = constant if operator == "in" else [constant]
        if not all(isinstance(one, str) for one in constants):
            continue
        if path == "data.level":
            constants = _levels(operator, [scope.levels[one] for one in constants])
        wanted[path] = wanted.get(path, set(constants)) & set(constants)
        if not wanted[path]:
            return str(path)
    return None


def _levels(operator: str, levels: list[str]) -> list[str]:
    bound = LEVEL_RANK[levels[0]]
    if operator == "at_most":
        return [level for level, rank in LEVEL_RANK.items() if rank <= bound]
    if operator == "at_least":
        return [level for level, rank in LEVEL_RANK.items() if rank >= bound]
    return levels


def _untested(table: Table, tests: Sequence[SelfTest]) -> Iterator[Finding]:
    reached = {rule for test in tests for rule in run_self_test(table, test).reached}
    for index, rule in enumerate(table.policy.restrictions):
        if rule.id not in reached:
            yield Finding(("restrictions", index), f"no test reaches restriction {rule.id!r}")
