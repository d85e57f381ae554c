"""The rulings that a policy may give on a recorded call, from what its conditions may have been.

``conclude`` asks three things of the results, one after the other: does a denial apply, a grant, a
demand for approval? Then it gathers obligations, and a body is changed or not. Rules of one kind
that may or may not apply are taken to do so together: whether *any* of them applies is all that
the outcome depends on.

Owns: that reduction, and what a route's upstreams do to an allow. Refuses: judging a record
(``replay.py``); the order of effects is ``judgement.conclude``'s alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import msgspec

from gateway.errors import CODES
from gateway.judgement import Judgement, conclude
from gateway.obligation import bodily, obligation_text
from gateway.policy import Obligation
from gateway.possibility import IS_TRUE, IS_UNKNOWN, Mask, one_of
from gateway.record import UpstreamRef
from gateway.table import Candidates, Rule
from gateway.truth import FALSE, TRUE, UNKNOWN, Truth


class End(msgspec.Struct, frozen=True, kw_only=True):
    """One ruling that may come out.

    ``rules``: ids of the rules that decide it for certain; ``open_rules``: of those that do in some
    of the cases that it stands for. Without any, and ``exact``, it is one case, and all members
    hold. ``narrowing``: the obligations of an allow.
    """

    outcome: str
    reason: str
    status: int | None
    rules: tuple[str, ...] = ()
    open_rules: frozenset[str] = frozenset()
    unknown_rules: tuple[str, ...] = ()
    narrowing: tuple[Obligation, ...] = ()
    shadow: str | None = None
    exact: bool = True

    @property
    def obligations(self) -> tuple[str, ...]:
        """Their texts, as a record would hold them but for its caps."""
        return tuple(map(obligation_text, self.narrowing))


def refusal(code: str) -> End:
    """The ruling by something other than a rule: ``decide.refuse``."""
    status = CODES[code].status
    return End(
        outcome="deny" if status in (401, 403) else "error_closed", reason=code, status=status
    )


def provider_side(reason: str) -> End:
    """The denial of what the provider would run or read."""
    return End(outcome="deny", reason=reason, status=CODES["denied"].status)


def ends_of(candidates: Candidates, masks: Sequence[Mask]) -> list[End]:
    """What may come of ``masks``: an end per combination of what may or may not apply.

    With one end nothing is open, and it is exact but for ``unknown_rules`` and ``shadow``.
    """
    results, kinds = _fixed(candidates, masks)
    if not kinds:
        return [_end(conclude(candidates, results), frozenset())]
    is_open = frozenset(candidates.rules[place].id for one in kinds.values() for place in one)
    found = []
    for applied in product((True, False), repeat=len(kinds)):
        for places, applies in zip(kinds.values(), applied, strict=True):
            for place in places:
                results[place] = _representative(candidates.rules[place], masks[place], applies)
        found.append(_end(conclude(candidates, results), is_open))
    return found


def _end(judgement: Judgement, is_open: frozenset[str]) -> End:
    return End(
        outcome=judgement.outcome,
        reason=judgement.reason,
        status=None if judgement.code is None else CODES[judgement.code].status,
        rules=tuple(rule for rule in judgement.rules if rule not in is_open),
        open_rules=is_open.intersection(judgement.rules),
        unknown_rules=judgement.unknown_rules,
        narrowing=judgement.obligations,
        shadow=judgement.shadow,
        exact=not is_open,
    )


def _fixed(
    candidates: Candidates, masks: Sequence[Mask]
) -> tuple[list[Truth], dict[tuple[str, bool], list[int]]]:
    """A result for each rule, and the places of those that may or may not apply, by kind."""
    results: list[Truth] = []
    kinds: dict[tuple[str, bool], list[int]] = {}
    for place, (rule, mask) in enumerate(zip(candidates.rules, masks, strict=True)):
        only = one_of(mask)
        if only is not None:
            results.append(only)
            continue
        applying, idle = _split(rule, mask)
        if applying and idle and not rule.shadow:
            kind = (rule.effect, bool(bodily(rule.obligations)))
            kinds.setdefault(kind, []).append(place)
        results.append(_representative(rule, mask, bool(applying) and not rule.shadow))
    return results, kinds


def _split(rule: Rule, mask: Mask) -> tuple[Mask, Mask]:
    """The results of ``mask`` with which ``rule`` applies, and those with which it does not."""
    applying = IS_TRUE if rule.effect == "grant" else IS_TRUE | IS_UNKNOWN
    return mask & applying, mask & ~applying


def _representative(rule: Rule, mask: Mask, applies: bool) -> Truth:
    wanted = _split(rule, mask)[0 if applies else 1] or mask
    return TRUE if wanted & IS_TRUE else UNKNOWN if wanted & IS_UNKNOWN else FALSE


def upstream_left(end: End, upstreams: Sequence[UpstreamRef]) -> bool:
    """Whether one of ``upstreams`` is where the obligations of ``end`` let the call go."""
    return any(
        all(
            (one.regions is None or upstream.region in one.regions)
            and (one.upstreams is None or upstream.name in one.upstreams)
            for one in end.narrowing
        )
        for upstream in upstreams
    )


def nowhere(end: End) -> End:
    """``end``, an allow, where no upstream is left."""
    return msgspec.structs.replace(
        end, outcome="deny", reason="upstream_not_permitted", status=CODES["denied"].status
    )


def unmet(end: End) -> End:
    """``end``, an allow, where the body could not be changed as its obligations want it."""
    code = "obligation_unsupported"
    return msgspec.structs.replace(end, outcome="deny", reason=code, status=CODES[code].status)


def opened(end: End) -> End:
    """``end`` under the signed exception for an expired copy."""
    if end.outcome != "allow":
        return end
    return msgspec.structs.replace(end, outcome="error_open", reason="fail_open")
