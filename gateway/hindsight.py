"""Why a recorded decision has its outcome, as far as its record says.

As ``explanation.py``, but what was read is known only as far as the record holds it. Where the
bundle that decided is given, the result of each rule is the recorded one, and only the parts of a
condition may stay open; for any other bundle the rules may, too.

Owns: the set of results of each part of a rule. Refuses: an outcome: that is the record's, and
what another bundle gives is ``replay.py``'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from gateway.comparison import Scope
from gateway.condition import never_known
from gateway.explanation import WORDS, Part, RuleLine
from gateway.judgement import unpack_results
from gateway.policy import Grant, Policy, Restriction, json_text
from gateway.possibility import ANY, IS_UNKNOWN, NEVER, Held, Mask, possible_condition
from gateway.record import Decision
from gateway.recorded import held_of
from gateway.replay import Replay, Verdict
from gateway.reruling import NAMES
from gateway.table import Table, scope_of
from gateway.target import named
from gateway.truth import FALSE, TRUE, UNKNOWN

_NOT_READ: Final = "not read"
"""Of a part: the rule was settled before it, and so the daemon never came to it."""


class Hindsight(msgspec.Struct, frozen=True, kw_only=True):
    """``rules``: their truths are those of ``explanation.WORDS``, several joined by ``or`` where
    the record does not say which. ``own``: whether the bundle is the one that decided; ``verdict``
    and ``note``: of the replay under it. ``missing``: paths that the record does not hold whole.
    ``others``: how many rules are not about the call."""

    id: str
    time: str
    outcome: str
    reason: str
    own: bool
    verdict: Verdict
    note: str | None
    missing: list[str]
    rules: list[RuleLine]
    others: int


def explain_recorded(policy: Policy, digest: str | None, decision: Decision) -> Hindsight:
    """What the rules of ``policy``, of the bundle ``digest``, made of ``decision``.

    Raises DocumentInvalid for a policy that no daemon would use.
    """
    replay = Replay(policy, digest)
    found = replay.judge(decision)
    rules = [] if found.verdict == "not_by_rules" else _rules(replay.table, decision, own=found.own)
    deciding = found.before.rules if found.own else found.after.rules
    return Hindsight(
        id=decision.id,
        time=decision.time.decided,
        outcome=decision.decision.outcome,
        reason=decision.decision.reason,
        own=found.own,
        verdict=found.verdict,
        note=found.note,
        missing=found.missing,
        rules=[_decided(line, deciding) for line in rules],
        others=len(replay.table.rules) - len(rules),
    )


def _decided(line: RuleLine, deciding: list[str]) -> RuleLine:
    return msgspec.structs.replace(line, decided=line.id in deciding)


def _rules(table: Table, decision: Decision, *, own: bool) -> list[RuleLine]:
    """The candidates; none where no rule was asked, where the record contradicts the bundle, or
    where a name that chooses them was cut."""
    policy, held = table.policy, held_of(decision)
    if NAMES.intersection(held.gaps):
        return []
    candidates = table.candidates(named(held.inputs))
    recorded: list[Mask] | None = None
    if own:
        try:
            results = unpack_results(decision.facts.results, len(candidates.rules))
        except ValueError:
            return []
        recorded = [1 << truth for truth in results]
    every: list[Grant | Restriction] = [*policy.restrictions, *policy.grants]
    documents = {rule.id: rule for rule in every}
    scope = scope_of(policy)
    lines = []
    for place, (rule, condition) in enumerate(
        zip(candidates.rules, candidates.conditions, strict=True)
    ):
        document, certain = documents[rule.id], condition is not never_known
        parts = _Parts(scope, held, NEVER if own else ANY)
        if recorded is not None:
            mask = recorded[place]
        else:
            mask = parts.mask(document.when) if certain else IS_UNKNOWN
        lines.append(
            RuleLine(
                id=rule.id,
                effect=document.effect if isinstance(document, Restriction) else "grant",
                shadow=document.status == "shadow",
                truth=_words(mask),
                certain=certain,
                decided=False,
                parts=[] if document.when is None else list(parts.of(document.when, 0)),
            )
        )
    return lines


class _Parts:
    """The parts of conditions, with what ``held`` says of each. ``unread``: the set of a
    comparison whose path was not recorded."""

    def __init__(self, scope: Scope, held: Held, unread: Mask) -> None:
        self._scope = scope
        self._held = held
        self._unread = unread

    def mask(self, document: object) -> Mask:
        if document is None:
            return 1 << TRUE
        self._scope.begin_rule()
        return possible_condition(document, self._scope, set())(self._held, self._unread)

    def of(self, document: object, depth: int) -> Iterator[Part]:
        assert isinstance(document, dict)
        ((operator, operand),) = document.items()
        truth = _words(self.mask(document))
        if operator not in ("all", "any", "not"):
            yield Part(depth, json_text(document).decode(), truth)
            return
        yield Part(depth, operator, truth)
        for part in [operand] if operator == "not" else operand:
            yield from self.of(part, depth + 1)


def _words(mask: Mask) -> str:
    found = [WORDS[truth] for truth in (TRUE, FALSE, UNKNOWN) if mask & 1 << truth]
    return " or ".join(found) or _NOT_READ
