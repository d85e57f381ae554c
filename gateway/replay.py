"""Recorded decisions put to a policy again: what is the same, what is not, what cannot be said.

Claims, against the bundle that decided: *same* is the whole ruling (outcome, reason, rules,
obligations, shadow outcome) from the record's facts and packed results, which do not contradict
each other. Against any other: *same* and *changed* are proved for every value that the missing
facts may have had; *undetermined* says that the proof did not succeed, not that two values with
two outcomes exist.

Owns: the verdict on one record. Refuses: signatures and chains (``evidence.py``): a replay says
what the words of a record amount to, not that they are the daemon's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from gateway import limits
from gateway import vocabulary as words
from gateway.cutting import Cutter
from gateway.facts import NONE
from gateway.policy import ENGINE, Policy
from gateway.record import Decision
from gateway.replayed import End, provider_side, refusal
from gateway.reruling import Reruler, Rerun
from gateway.table import Table

Verdict = Literal["same", "changed", "undetermined", "not_by_rules"]
VERDICTS: Final[tuple[Verdict, ...]] = ("same", "changed", "undetermined", "not_by_rules")

_ALSO_OF_IDENTITY: Final = frozenset({"assurance_too_low", "scope_insufficient"})
"""Reasons that are a rule's where a rule decided, and else identity's."""
_OF_POLICY: Final = _ALSO_OF_IDENTITY | {
    "granted",
    "no_grant",
    "restricted",
    "approval_required",
    "obligation_unsupported",
    "hosted_tool_denied",
    "reference_denied",
    "upstream_not_permitted",
    "fail_open",
    "unknown_tool_type",
    "policy_expired",
}
"""Reasons that depend on what a bundle says; with all others no bundle was asked."""
_OF_DENIALS: Final = _ALSO_OF_IDENTITY | {"restricted"}
"""Reasons of a denial by restrictions: which one depends on all that deny."""
_UNKNOWN_TOOL: Final = provider_side("unknown_tool_type")
_STATES: Final = {"policy_unavailable": "empty", "policy_locked": "locked"}
"""Reason → the one state of the policy copy that it is given in."""


class Ruling(msgspec.Struct, frozen=True):
    """``rules``: those that decide; ``open_rules``: those that may. ``outcomes`` and ``reasons``:
    one of each, or all that are possible."""

    outcomes: list[str]
    reasons: list[str]
    rules: list[str]
    open_rules: list[str] = []


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict on the decision ``id``. ``own``: whether the bundle is the one that decided.

    ``differs``: members of the ruling that changed. ``missing``: policy paths that the record
    does not hold whole and that what is open depends on. ``note``: what a person should know.
    """

    id: str
    time: str
    verdict: Verdict
    own: bool
    before: Ruling
    after: Ruling
    differs: list[str] = []
    missing: list[str] = []
    note: str | None = None


class Replay:
    """Puts recorded decisions to ``policy``. ``digest``: of its bundle, None without one.

    Raises DocumentInvalid for a policy that no daemon would use.
    """

    def __init__(self, policy: Policy, digest: str | None) -> None:
        self._reruler = Reruler(policy, digest)

    @property
    def table(self) -> Table:
        """The compiled policy."""
        return self._reruler.table

    def judge(self, decision: Decision) -> Replayed:
        """The verdict on ``decision``."""
        unknown = _unknown_word(decision)
        if unknown is not None:
            return self._told(decision, "undetermined", [], note=unknown)
        if not _of_policy(decision):
            return self._elsewhere(decision)
        found = self._reruler.rerun(decision)
        ruling, state = decision.decision, decision.policy.state
        # With these no rule was asked; under this bundle, too, none is.
        if ruling.reason == "policy_expired" and state == "expired":
            by_itself = found.ends == [refusal("policy_expired")]
        else:
            by_itself = ruling.reason == "unknown_tool_type" and found.ends == [_UNKNOWN_TOOL]
        if by_itself:
            return self._elsewhere(decision)
        return self._compared(decision, found)

    def _elsewhere(self, decision: Decision) -> Replayed:
        """The verdict on a ruling for which no bundle was asked."""
        ruling, reason = decision.decision, decision.decision.reason
        end = _UNKNOWN_TOOL if reason == "unknown_tool_type" else refusal(reason)
        differs = _differences(decision, end, settled=True)
        if decision.facts != NONE:
            differs.append("facts")
        if _STATES.get(reason, decision.policy.state) != decision.policy.state:
            differs.append("policy.state")
        if differs:
            note = f"a ruling with the reason {ruling.reason!r} cannot have these members"
            return self._told(decision, "changed", [end], differs=differs, note=note)
        return self._told(decision, "not_by_rules", [end])

    def _compared(self, decision: Decision, found: Rerun) -> Replayed:
        settled = found.settled and self._reruler.is_own(decision)
        fitting = [end for end in found.ends if _fits(decision, end, settled=settled)]
        outcomes = {end.outcome for end in found.ends}
        missing = list(found.missing)
        if found.contradiction is not None:
            return self._told(
                decision, "changed", found.ends, differs=["facts"], missing=missing,
                note=found.contradiction,
            )  # fmt: skip
        if found.ends and not fitting:
            differs = _least_difference(decision, found.ends, settled=settled)
            return self._told(decision, "changed", found.ends, differs=differs, missing=missing)
        if len(outcomes) != 1:
            return self._told(decision, "undetermined", found.ends, missing=missing)
        return self._told(decision, "same", found.ends, missing=missing)

    def _told(
        self,
        decision: Decision,
        verdict: Verdict,
        ends: Sequence[End],
        *,
        differs: Sequence[str] = (),
        missing: Sequence[str] = (),
        note: str | None = None,
    ) -> Replayed:
        ruling = decision.decision
        return Replayed(
            id=decision.id,
            time=decision.time.decided,
            verdict=verdict,
            own=self._reruler.is_own(decision),
            before=Ruling([ruling.outcome], [ruling.reason], ruling.rules),
            after=_after(ends),
            differs=list(differs),
            missing=list(missing),
            note=note,
        )


def _of_policy(decision: Decision) -> bool:
    ruling = decision.decision
    if ruling.reason in _ALSO_OF_IDENTITY:
        return bool(ruling.rules or decision.facts.results)
    return ruling.reason in _OF_POLICY


def _unknown_word(decision: Decision) -> str | None:
    """What a later version wrote that this one cannot put to a policy."""
    for path, word, known in (
        ("decision.outcome", decision.decision.outcome, words.OUTCOMES),
        ("decision.reason", decision.decision.reason, words.DECISION_REASONS),
        ("policy.state", decision.policy.state, words.POLICY_STATES),
        ("policy.engine", decision.policy.engine, _ENGINES),
    ):
        if word not in known:
            return f"{path} is {word!r}, which this version does not know"
    return None


_ENGINES: Final = frozenset({ENGINE, None})


def _fits(decision: Decision, end: End, *, settled: bool) -> bool:
    """Whether the recorded ruling can be ``end``."""
    if end.exact:
        return not _differences(decision, end, settled=settled)
    ruling = decision.decision
    if ruling.outcome != end.outcome:
        return False
    if ruling.reason != end.reason and not {ruling.reason, end.reason} <= _OF_DENIALS:
        return False
    recorded = set(ruling.rules)
    if len(recorded) < limits.RULES_MAX and not recorded.issuperset(end.rules):
        return False
    return recorded <= end.open_rules.union(end.rules)


def _differences(decision: Decision, end: End, *, settled: bool) -> list[str]:
    """Members of the recorded ruling that are not those of ``end``, which is exact.

    ``settled``: whether it is known to the last result, by the bundle that decided.
    """
    ruling = decision.decision
    cut = Cutter(b"")
    differs = []
    if ruling.outcome != end.outcome:
        differs.append("outcome")
    if ruling.reason != end.reason:
        differs.append("reason")
    if ruling.rules != _cut_rules(cut, end.rules):
        differs.append("rules")
    if ruling.obligations != cut.texts(
        "", end.obligations, limits.OBLIGATIONS_MAX, limits.OBLIGATION_BYTES_MAX
    ):
        differs.append("obligations")
    if not settled:
        return differs
    if ruling.unknown_rules != _cut_rules(cut, end.unknown_rules):
        differs.append("unknown_rules")
    if decision.policy.shadow != end.shadow:
        differs.append("shadow")
    if ruling.status != end.status:
        differs.append("status")
    if ruling.fail_open != (end.outcome == "error_open"):
        differs.append("fail_open")
    return differs


def _cut_rules(cut: Cutter, rules: Sequence[str]) -> list[str]:
    return cut.texts("", rules, limits.RULES_MAX, limits.RULE_ID_BYTES_MAX)


def _least_difference(decision: Decision, ends: Sequence[End], *, settled: bool) -> list[str]:
    """What differs from the end that is nearest."""
    of_each = [_differences(decision, end, settled=settled) or ["rules"] for end in ends]
    return min(of_each, key=lambda differs: ("outcome" in differs, len(differs)))


def _after(ends: Sequence[End]) -> Ruling:
    if not ends:
        return Ruling([], [], [])
    certain = set(ends[0].rules).intersection(*(end.rules for end in ends))
    possible = {rule for end in ends for rule in (*end.rules, *end.open_rules)}
    return Ruling(
        outcomes=sorted({end.outcome for end in ends}),
        reasons=sorted({end.reason for end in ends}),
        rules=sorted(certain),
        open_rules=sorted(possible - certain),
    )
