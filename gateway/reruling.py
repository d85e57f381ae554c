"""The order of judgement again, for a record: what a policy gives where it is asked once more.

As ``decide.py``: the state of the policy copy, what the provider would run, the rules, the
upstreams. The state is the recorded one, whatever the policy: it says how old the daemon's copy
was. Against the very bundle that decided, the record's packed results settle what its facts leave
open, and the daemon is believed in what no record holds: how long ago a head expired, what
stood in the part of a list that was cut, which upstreams a route had where none was left, and
whether a body could be changed as obligations want it.

Owns: that order, and which results can be believed. Refuses: the verdict (``replay.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import msgspec

from gateway import limits
from gateway.comparison import Scope
from gateway.condition import never_known
from gateway.inputs import ARGUMENTS, DERIVED
from gateway.judgement import unpack_results
from gateway.obligation import bodily, obligation_text
from gateway.policy import Grant, Policy, Restriction
from gateway.possibility import (
    ALL_ARGUMENTS,
    ANY,
    IS_UNKNOWN,
    NEVER,
    Held,
    Mask,
    Possible,
    always,
    one_of,
    possible_condition,
)
from gateway.record import Decision
from gateway.recorded import PERMITTED, every_upstream, held_of
from gateway.replayed import (
    End,
    ends_of,
    nowhere,
    opened,
    provider_side,
    refusal,
    unmet,
    upstream_left,
)
from gateway.table import Candidates, compile_policy, scope_of
from gateway.target import Named, named
from gateway.truth import Truth

NAMES: Final = frozenset({"model.requested", "model.tool", "model.tool_server", "agent.id"})
"""Members that choose the candidate rules, and stand cut in denials of earlier versions."""


class Rerun(msgspec.Struct, frozen=True, kw_only=True):
    """``ends``: what may come out; empty where that may be anything. ``settled``: every result of
    a rule is known.

    ``missing``: paths without which more cannot be said. ``contradiction``: what in the record
    its own facts exclude, None if nothing. Both are for people.
    """

    ends: list[End]
    settled: bool = True
    missing: tuple[str, ...] = ()
    contradiction: str | None = None


class _Lifted(msgspec.Struct, frozen=True):
    """A rule's condition as a set. ``facts``: those of ``paths`` that are facts if recorded."""

    possible: Possible
    paths: frozenset[str]
    facts: frozenset[str]


class _Asked(msgspec.Struct, frozen=True):
    """One call, and the rules that are or may be about it."""

    held: Held
    name: Named
    candidates: Candidates


class Reruler:
    """A policy that recorded calls are put to. ``digest``: of the bundle it comes from, or None.

    Raises DocumentInvalid as ``compile_policy``.
    """

    def __init__(self, policy: Policy, digest: str | None) -> None:
        self.table = compile_policy(policy)
        self._digest = digest
        self._remembered: dict[tuple[Named, tuple[Mask, ...]], list[End]] = {}
        scope = scope_of(policy)
        documents: list[Restriction | Grant] = [*policy.restrictions, *policy.grants]
        self._lifted = [_lifted(document.when, scope) for document in documents]

    def is_own(self, decision: Decision) -> bool:
        """Whether this is the very bundle that ruled on it."""
        return self._digest is not None and decision.policy.digest == self._digest

    def rerun(self, decision: Decision) -> Rerun:
        """What this policy gives for the call of ``decision``."""
        state, policy = decision.policy.state, self.table.policy
        if state == "empty":
            return Rerun(ends=[refusal("policy_unavailable")])
        if state == "locked":
            return Rerun(ends=[refusal("policy_locked")])
        if state == "stale" and policy.defaults.on_stale == "deny":
            return Rerun(ends=[refusal("policy_expired")])
        if state != "expired":
            return self._ruled(decision)
        closed = refusal("policy_expired")
        own = self.is_own(decision)
        if not self._may_open(decision) or (own and decision.decision.reason == "policy_expired"):
            return Rerun(ends=[closed])
        found = self._ruled(decision)
        ends = [opened(end) for end in found.ends]
        if ends and not own:
            # How long the exception reached counts from the head's expiry, which no record holds.
            ends.append(closed)
        return msgspec.structs.replace(found, ends=ends)

    def _may_open(self, decision: Decision) -> bool:
        choice, data = self.table.policy.open_on_expired, decision.data
        if choice is None or data.completeness != "full" or data.level == "restricted":
            return False
        return data.level in choice.levels and decision.model.route in choice.routes

    def _ruled(self, decision: Decision) -> Rerun:
        held = held_of(decision)
        own = self.is_own(decision)
        refused, certain = self._provider_side(decision, held, own=own)
        if certain:
            return Rerun(ends=refused)
        cut_names = tuple(sorted(NAMES.intersection(held.gaps)))
        if cut_names:
            return Rerun(ends=[], settled=False, missing=cut_names)
        asked = _Asked(held, name := named(held.inputs), self.table.candidates(name))
        if own:
            found = self._of_results(decision, asked)
        else:
            found = self._of_masks(asked, self._masks(asked, ANY))
        ends = [placed for end in found.ends for placed in _placed(end, decision, own=own)]
        return msgspec.structs.replace(found, ends=refused + ends)

    def _provider_side(
        self, decision: Decision, held: Held, *, own: bool
    ) -> tuple[list[End], bool]:
        """Denials before any rule, and whether one of them is certain."""
        ends: list[End] = []
        if decision.decision.reason == "unknown_tool_type":
            return [provider_side("unknown_tool_type")], True
        # Among the recorded tools are those of unknown types; where rules were asked there were
        # none.
        if decision.decision.reason == "policy_expired" and decision.model.hosted_tools:
            ends.append(provider_side("unknown_tool_type"))
        for path, reason, allowed in (
            ("model.hosted_tools", "hosted_tool_denied", self.table.hosted_tool_allowed),
            ("model.references", "reference_denied", self.table.reference_allowed),
        ):
            if path in held.gaps:
                if not own:
                    ends.append(provider_side(reason))
                elif decision.decision.reason == reason:
                    return [provider_side(reason)], True
            elif not all(map(allowed, held.inputs.texts(path))):
                return [*ends, provider_side(reason)], True
        return ends, False

    def _masks(self, asked: _Asked, unread: Mask) -> list[Mask]:
        """The possible results of each candidate."""
        held, candidates = asked.held, asked.candidates
        inputs, facts, gaps = held.inputs, held.facts, held.gaps
        masks = []
        for rule, condition in zip(candidates.rules, candidates.conditions, strict=True):
            lifted = self._lifted[rule.place]
            if condition is never_known:
                masks.append(IS_UNKNOWN)
            elif lifted.facts <= facts and (not gaps or lifted.paths.isdisjoint(gaps)):
                masks.append(1 << condition(inputs))
            else:
                masks.append(lifted.possible(held, unread))
        return masks

    def _of_results(self, decision: Decision, asked: _Asked) -> Rerun:
        """As the recorded results say, where its facts can have given them."""
        candidates = asked.candidates
        try:
            results = _unpacked(decision.facts.results, len(candidates.rules))
        except ValueError as error:
            return self._of_masks(asked, self._masks(asked, ANY), contradiction=str(error))
        masks = self._masks(asked, NEVER)
        contradiction = None
        for place, truth in enumerate(results):
            bit = 1 << truth
            if masks[place] & bit:
                masks[place] = bit
                continue
            # The daemon recorded all that it read, so a fact that this result needs is gone. Or
            # none would give it.
            rule = candidates.rules[place]
            if candidates.conditions[place] is not never_known:
                masks[place] = self._lifted[rule.place].possible(asked.held, ANY)
            if not masks[place] & bit:
                contradiction = f"the facts do not give the recorded result of rule {rule.id!r}"
        return self._of_masks(asked, masks, contradiction=contradiction)

    def _of_masks(
        self, asked: _Asked, masks: Sequence[Mask], *, contradiction: str | None = None
    ) -> Rerun:
        held, missing, settled = asked.held, set[str](), True
        for rule, mask in zip(asked.candidates.rules, masks, strict=True):
            if one_of(mask) is None:
                settled, lifted = False, self._lifted[rule.place]
                missing |= (lifted.facts - held.facts) | lifted.paths.intersection(held.gaps)
        # Calls of one kind have few sets of results, and the end of each is worked out once.
        key = (asked.name, tuple(masks))
        ends = self._remembered.get(key)
        if ends is None:
            if len(self._remembered) >= limits.POLICY_CANDIDATES_KEPT_MAX:
                self._remembered.clear()
            ends = self._remembered[key] = ends_of(asked.candidates, masks)
        return Rerun(
            ends=ends,
            settled=settled,
            missing=tuple(sorted(missing)),
            contradiction=contradiction,
        )


@lru_cache(maxsize=1024)
def _unpacked(text: str, count: int) -> tuple[Truth, ...]:
    return tuple(unpack_results(text, count))


def _lifted(when: object, scope: Scope) -> _Lifted:
    paths: set[str] = set()
    possible = always if when is None else possible_condition(when, scope, paths)
    facts = {path for path in paths if path.startswith(ARGUMENTS) or path in DERIVED}
    return _Lifted(possible, frozenset(paths), frozenset(facts | (paths & {ALL_ARGUMENTS})))


def _placed(end: End, decision: Decision, *, own: bool) -> list[End]:
    """``end``, if it is an allow, with what the route and the body make of its obligations."""
    if end.outcome != "allow":
        return [end]
    routed = _routed(end, decision, own=own)
    return [final for one in routed for final in _amended(one, decision, own=own)]


def _amended(end: End, decision: Decision, *, own: bool) -> list[End]:
    owed = set(map(obligation_text, bodily(end.narrowing)))
    ruling = decision.decision
    if end.outcome != "allow" or not owed:
        return [end]
    if own:
        return [unmet(end) if ruling.reason == "obligation_unsupported" else end]
    if ruling.outcome in PERMITTED and owed.issubset(ruling.obligations):
        return [end]
    # No record holds the body, so whether it can be changed is not known.
    return [end, unmet(end)]


def _routed(end: End, decision: Decision, *, own: bool) -> list[End]:
    ruling = decision.decision
    if upstream_left(end, decision.model.upstreams):
        return [end]
    if every_upstream(decision):
        return [nowhere(end)]
    if own:
        permitted = ruling.outcome in PERMITTED
        return [nowhere(end) if permitted or ruling.reason == "upstream_not_permitted" else end]
    # A denial's record names no upstreams. A route has at least one.
    return [end, nowhere(end)] if end.narrowing else [end]
