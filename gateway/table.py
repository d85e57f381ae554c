"""``table/1`` compiled: every rule checked, its condition a function, found by operation and name.

Owns: compiling a policy (all errors are found here, before anything is activated), the index
from a call's names to its candidate rules, and the bound on what a call's facts may weigh.
Refuses: outcomes (``judgement.py``), clocks, signatures.

Compile order is restrictions, then grants, each in document order; the candidates of a call and
the packed results of its facts stand in that order.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Final, Literal

import msgspec

from gateway import limits
from gateway.comparison import Condition, ConditionInvalid, Scope
from gateway.condition import always, compile_condition, never_known
from gateway.errors import DocumentInvalid
from gateway.glob import any_matcher
from gateway.inputs import ARGUMENTS, PATHS, parse_argument_path, suggestion
from gateway.policy import Grant, Obligation, Policy, Restriction, TimeZone
from gateway.target import (
    MODEL_OPERATIONS,
    Named,
    Target,
    TargetInvalid,
    compile_target,
    match_target,
)
from gateway.timestamp import time_micros
from gateway.truth import FALSE, TRUE
from gateway.vocabulary import LEVEL_RANK, NAME_PATTERN, OPERATIONS
from gateway.zone import Zone

RuleEffect = Literal["grant", "deny", "require_approval", "oblige"]
_RULE_ID: Final = re.compile(r"[a-z0-9][a-z0-9._-]*")
_NAME: Final = re.compile(NAME_PATTERN)
_CATEGORY: Final = re.compile(r"[a-z0-9_*]+(\.[a-z0-9_*]+)*")
_FACT_VALUE_BYTES: Final = 80
"""The longest value of a fact: a keyed digest (76 and quotes) or a number's text in its object."""


DENIAL_CODES: Final = {
    "person.assurance": "assurance_too_low",
    "authz.scopes": "scope_insufficient",
}
"""Path → the code of a denial by a rule that reads this path and nothing else: then the caller
can be told what to bring. Every other denial is ``denied``."""


class Rule(msgspec.Struct, frozen=True):
    """One compiled rule. ``place``: its position in compile order. ``denial``: the refusal code
    if it denies."""

    place: int
    id: str
    effect: RuleEffect
    denial: str
    shadow: bool
    target: Target
    when: Condition
    obligations: tuple[Obligation, ...]
    fact_paths: frozenset[str]


class Candidates(msgspec.Struct, frozen=True):
    """The rules whose targets are, or may be, about a call; in compile order.

    ``conditions`` stand beside ``rules``. Where a target is uncertain the condition is not the
    rule's own but one that is always UNKNOWN. ``shadowed``: whether any rule is a shadow rule.
    """

    rules: tuple[Rule, ...]
    conditions: tuple[Condition, ...]
    shadowed: bool


class Table:
    """A compiled policy. Immutable, but for a bounded memory of candidates per call target."""

    def __init__(self, policy: Policy, rules: tuple[Rule, ...]) -> None:
        self.policy = policy
        self.rules = rules
        self.hosted_tool_allowed: Callable[[str], bool] = any_matcher(policy.hosted_tools)
        self.reference_allowed: Callable[[str], bool] = any_matcher(policy.references)
        self.recordable = frozenset(policy.recordable)
        self._index = _indexes(rules)
        self._remembered: dict[Named, Candidates] = {}

    def candidates(self, name: Named) -> Candidates:
        """The rules whose targets match ``name`` or may match it, in compile order."""
        found = self._remembered.get(name)
        if found is None:
            index = self._index.get(name.operation)
            found = matching(self.rules if index is None else index.rules_for(name), name)
            if len(self._remembered) >= limits.POLICY_CANDIDATES_KEPT_MAX:
                self._remembered.clear()
            self._remembered[name] = found
        return found

    def facts_bytes_max(self) -> int:
        """No call's facts can be longer than this, in bytes of JSON text."""
        return max(index.facts_bytes_max() for index in self._index.values())


def matching(rules: Iterable[Rule], name: Named) -> Candidates:
    """The candidates among ``rules``, by looking at each one."""
    found = [(rule, match_target(rule.target, name)) for rule in rules]
    chosen = [(rule, truth) for rule, truth in found if truth != FALSE]
    return Candidates(
        rules=tuple(rule for rule, _ in chosen),
        conditions=tuple(rule.when if truth == TRUE else never_known for rule, truth in chosen),
        shadowed=any(rule.shadow for rule, _ in chosen),
    )


class _Index:
    """The rules of one operation: those that name their models or tools exactly, and the rest.

    ``rules``: those that are or may be about it, in compile order.
    """

    def __init__(self, operation: str, rules: list[Rule]) -> None:
        # An operation that nobody could tell may be any: every rule is looked at.
        self._indexed = operation != "unknown"
        self._by_model = operation in MODEL_OPERATIONS
        self._all = rules
        self._exact: dict[str, list[Rule]] = defaultdict(list)
        self._rest: list[Rule] = []
        for rule in rules:
            if operation not in rule.target.operations:
                continue
            if rule.target.exact is None:
                self._rest.append(rule)
            for exact in rule.target.exact or ():
                self._exact[exact].append(rule)

    def rules_for(self, name: Named) -> Iterable[Rule]:
        """A superset of the rules that match ``name``, in compile order."""
        key = name.model if self._by_model else name.tool
        if not self._indexed or key is None:
            return self._all
        return sorted([*self._rest, *self._exact.get(key, ())], key=lambda rule: rule.place)

    def facts_bytes_max(self) -> int:
        """The most that facts of one call of this operation may weigh."""
        shared = _fact_paths(self._rest)
        # Many rules read the same few arguments: each set of paths is weighed once.
        of_each = Counter(_fact_paths(rules) for rules in self._exact.values())
        weighed = [(_paths_bytes(paths - shared), count) for paths, count in of_each.items()]
        buckets = sorted((size for size, count in weighed for _ in range(min(2, count))))[::-1]
        # A call of an unknown operation may have both a model and a tool.
        worst = _paths_bytes(shared) + sum(buckets[: 1 if self._indexed else 2])
        # {"inputs":{},"results":""}, and 2 bits for each rule at 6 bits to the character.
        return 26 + worst + len(self._all) // 3 + 2


def _indexes(rules: tuple[Rule, ...]) -> dict[str, _Index]:
    """Operation → its rules, by one walk over them."""
    found: dict[str, list[Rule]] = {operation: [] for operation in OPERATIONS}
    for rule in rules:
        for operation in rule.target.operations:
            found[operation].append(rule)
    found["unknown"] = list(rules)
    return {operation: _Index(operation, named) for operation, named in found.items()}


def _fact_paths(rules: list[Rule]) -> frozenset[str]:
    if len(rules) == 1:
        return rules[0].fact_paths
    return frozenset[str]().union(*(rule.fact_paths for rule in rules))


def _paths_bytes(paths: Iterable[str]) -> int:
    return sum(len(msgspec.json.encode(path)) + _FACT_VALUE_BYTES + 2 for path in paths)


def compile_policy(policy: Policy) -> Table:
    """``policy`` checked and compiled.

    Raises DocumentInvalid (``policy``) naming rule, member and, where one is near, the word that
    was probably meant. ``unsupported`` for what this version knows but cannot enforce.
    """
    if policy.mode != "enforce":
        raise DocumentInvalid(
            "unsupported", "mode 'shadow' is not supported; give single rules status 'shadow'"
        )
    _check_settings(policy)
    documents: list[Grant | Restriction] = [*policy.restrictions, *policy.grants]
    if len(documents) > limits.POLICY_RULES_MAX:
        raise _invalid(f"{len(documents)} rules; at most {limits.POLICY_RULES_MAX} are allowed")
    scope = scope_of(policy)
    seen: set[str] = set()
    rules: list[Rule] = []
    for place, document in enumerate(documents):
        _check_id(document.id, seen)
        try:
            rules.append(_compile_rule(place, document, policy, scope))
        except (ConditionInvalid, TargetInvalid) as error:
            raise _invalid(f"rule {document.id!r}: {error}") from error
    table = Table(policy, tuple(rules))
    heaviest = table.facts_bytes_max()
    if heaviest > limits.FACTS_BYTES_MAX:
        raise _invalid(
            f"the facts of one call could take {heaviest} bytes; at most {limits.FACTS_BYTES_MAX} "
            "fit a record: let fewer rules of one operation read arguments, or name their tools"
        )
    return table


def scope_of(policy: Policy) -> Scope:
    """What the conditions of ``policy`` may name. Raises DocumentInvalid for a bad time zone."""
    zones = {name: _zone(name, zone) for name, zone in policy.time_zones.items()}
    return Scope(dict(policy.levels), zones, policy.groups)


def _invalid(detail: str) -> DocumentInvalid:
    return DocumentInvalid("policy", detail)


def _check_id(rule_id: str, seen: set[str]) -> None:
    if len(rule_id) > limits.RULE_ID_BYTES_MAX or _RULE_ID.fullmatch(rule_id) is None:
        raise _invalid(
            f"rule id {rule_id!r}: lower-case letters, digits, '.', '_' and '-', at most "
            f"{limits.RULE_ID_BYTES_MAX}"
        )
    if rule_id in seen:
        raise _invalid(f"rule id {rule_id!r} stands twice")
    seen.add(rule_id)


def _compile_rule(place: int, document: Grant | Restriction, policy: Policy, scope: Scope) -> Rule:
    scope.begin_rule()
    target = compile_target(document, policy.groups)
    when = always if document.when is None else compile_condition(document.when, scope)
    effect: RuleEffect = "grant"
    obligations: tuple[Obligation, ...] = ()
    if isinstance(document, Restriction):
        effect, obligations = document.effect, tuple(document.obligations)
        _check_obligations(effect, obligations)
    return Rule(
        place=place,
        id=document.id,
        effect=effect,
        denial=_denial_of(scope.paths),
        shadow=document.status == "shadow",
        target=target,
        when=when,
        obligations=obligations,
        fact_paths=scope.fact_paths(),
    )


def _denial_of(paths: set[str]) -> str:
    return DENIAL_CODES.get(next(iter(paths)), "denied") if len(paths) == 1 else "denied"


def _check_obligations(effect: RuleEffect, obligations: tuple[Obligation, ...]) -> None:
    if (effect == "oblige") != bool(obligations):
        raise TargetInvalid("effect 'oblige' has obligations, the other effects have none")
    for obligation in obligations:
        values = [getattr(obligation, name) for name in Obligation.__struct_fields__]
        if sum(value is not None for value in values) != 1:
            raise TargetInvalid("an obligation is an object with exactly one member")
        if obligation.regions == [] or obligation.upstreams == []:
            raise TargetInvalid("an obligation with an empty list forbids all: use effect 'deny'")
        _check_change(obligation)


def _check_change(obligation: Obligation) -> None:
    """The obligations that change a body."""
    ceiling, redact = obligation.max_output_tokens, obligation.redact
    if ceiling is not None and not 1 <= ceiling <= limits.JSON_INTEGER_MAX:
        raise TargetInvalid("max_output_tokens is at least 1: use effect 'deny' to forbid all")
    if obligation.pseudonymise_user is False:
        raise TargetInvalid("pseudonymise_user is true, or is left out")
    if redact is None:
        return
    if not redact.categories:
        raise TargetInvalid("redact names no category; '*' stands for all")
    for category in redact.categories:
        if _CATEGORY.fullmatch(category) is None:
            raise TargetInvalid(
                f"redact: {category!r} is no category: words of lower-case letters, digits and "
                "'_', with dots between, or a pattern with '*'"
            )


def _check_settings(policy: Policy) -> None:
    for path in policy.recordable:
        if path.startswith(ARGUMENTS):
            try:
                parse_argument_path(path)
            except ValueError as error:
                raise _invalid(f"recordable: {path!r} {error}") from error
        elif path not in PATHS:
            raise _invalid(f"recordable: unknown path {path!r}{suggestion(path, PATHS)}")
    for route in policy.record_commit:
        if route != "*" and _NAME.fullmatch(route) is None:
            raise _invalid(f"record_commit: {route!r} is neither a route name nor '*'")
    for name, entries in policy.groups.items():
        if not entries or any(not entry or entry.startswith("@") for entry in entries):
            raise _invalid(f"group {name!r}: a list of patterns, not empty, without other groups")
    for own in policy.levels:
        if own in LEVEL_RANK and policy.levels[own] != own:
            raise _invalid(f"levels: {own!r} is a fixed level and cannot mean another")
    if policy.uncertified_seconds_max < 0:
        raise _invalid("uncertified_seconds_max is negative")
    if len(policy.tests) > limits.POLICY_TESTS_MAX:
        raise _invalid(f"{len(policy.tests)} tests; at most {limits.POLICY_TESTS_MAX} are allowed")
    _check_open_on_expired(policy)


def _check_open_on_expired(policy: Policy) -> None:
    choice = policy.open_on_expired
    if choice is None:
        return
    if not 0 < choice.seconds_max <= limits.OPEN_ON_EXPIRED_SECONDS_MAX:
        raise _invalid(
            f"open_on_expired.seconds_max is not within 1 and {limits.OPEN_ON_EXPIRED_SECONDS_MAX}"
        )
    if not choice.routes or not all(map(_NAME.fullmatch, choice.routes)):
        raise _invalid("open_on_expired.routes names each route; there is no pattern for all")
    if not choice.levels or "restricted" in choice.levels:
        raise _invalid("open_on_expired.levels names levels, never 'restricted'")


def _zone(name: str, zone: TimeZone) -> Zone:
    try:
        starts = tuple(time_micros(transition.start) for transition in zone.transitions)
        until = time_micros(zone.until)
    except ValueError as error:
        raise _invalid(f"time_zones.{name}: {error}") from error
    offsets = tuple(transition.offset_seconds for transition in zone.transitions)
    if not starts or any(a >= b for a, b in zip(starts, (*starts[1:], until), strict=True)):
        raise _invalid(f"time_zones.{name}: transitions must ascend and end before 'until'")
    if any(abs(offset) >= 86_400 for offset in offsets):
        raise _invalid(f"time_zones.{name}: an offset is less than a day")
    return Zone(starts, offsets, until)
