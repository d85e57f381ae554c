"""A record put to a bundle again: its own says the same, and of another is said what is proved."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from gateway.replay import Replay
from tests.unit.gateway.replaying import call_by, digest_of, policy_by, recorded, verdict_of

DENIALS = {"restricted", "assurance_too_low", "scope_insufficient"}
"""Which of these a denial has depends on every rule that denies."""
POLICIES, CALLS = 60, 8


@pytest.mark.parametrize("seed", range(6))
def test_the_bundle_that_decided_says_the_same(seed: int) -> None:
    chance = Random(seed)
    reasons: Counter[str] = Counter()
    for _ in range(POLICIES):
        document = policy_by(chance)
        replay = Replay(document, digest_of(document))
        for _ in range(CALLS):
            decision = recorded(document, call_by(chance))
            found = replay.judge(decision)
            assert found.own
            assert found.verdict in ("same", "not_by_rules"), (found, decision)
            assert found.before == found.after or found.verdict == "not_by_rules"
            reasons[decision.decision.reason] += 1
    assert len(reasons) >= 10, reasons


@pytest.mark.parametrize("seed", range(6))
def test_what_is_said_of_another_bundle_is_what_it_would_have_ruled(seed: int) -> None:
    chance = Random(seed)
    verdicts: Counter[str] = Counter()
    for _ in range(POLICIES):
        document, other = policy_by(chance), policy_by(chance)
        replay = Replay(other, None)
        for _ in range(CALLS):
            made = call_by(chance)
            decision = recorded(document, made)
            found = replay.judge(decision)
            ruling, before = verdict_of(other, made).ruling, decision.decision
            assert ruling.outcome in found.after.outcomes, (found, ruling)
            assert ruling.reason in {*found.after.reasons, *DENIALS}, (found, ruling)
            assert set(found.after.rules) <= set(ruling.rules), (found, ruling)
            if found.verdict in ("same", "not_by_rules"):
                assert ruling.outcome == before.outcome, (found, ruling)
            if found.verdict == "changed":
                now = (ruling.outcome, ruling.reason, [*ruling.rules], [*ruling.obligations])
                then = (before.outcome, before.reason, before.rules, before.obligations)
                assert now != then, (found, ruling)
            verdicts[found.verdict] += 1
    assert min(verdicts.values()) >= 5, verdicts
    assert len(verdicts) == 4, verdicts
