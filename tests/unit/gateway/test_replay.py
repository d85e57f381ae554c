"""A record put to a bundle again: the one that decided says the same, another proves what it can."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from gateway.decide import Permit
from gateway.policy import Policy
from gateway.replay import Replay
from tests.unit.gateway import replaying
from tests.unit.gateway.replaying import Call, digest_of, policy_by, call_by, recorded, verdict_of

DENIALS = {"restricted", "assurance_too_low", "scope_insufficient"}


@pytest.mark.parametrize("seed", range(8))
def test_the_bundle_that_decided_says_the_same(seed: int) -> None:
    chance = Random(seed)
    seen: Counter[str] = Counter()
    for _ in range(100):
        document = policy_by(chance)
        replay = Replay(document, digest_of(document))
        for _ in range(6):
            decision = recorded(document, call_by(chance))
            found = replay.judge(decision)
            assert found.own
            assert found.verdict in ("same", "not_by_rules"), (found, decision)
            assert (found.after.outcomes, found.after.reasons) == (
                [decision.decision.outcome],
                [decision.decision.reason],
            )
            seen[found.verdict, decision.decision.reason] += 1
    print(seen)


@pytest.mark.parametrize("seed", range(8))
def test_what_is_said_of_another_bundle_is_what_it_would_have_ruled(seed: int) -> None:
    chance = Random(seed)
    seen: Counter[str] = Counter()
    for _ in range(100):
        document, other = policy_by(chance), policy_by(chance)
        replay = Replay(other, None)
        for _ in range(6):
            made = call_by(chance)
            decision = recorded(document, made)
            found = replay.judge(decision)
            ruling, before = verdict_of(other, made).ruling, decision.decision
            if found.after.outcomes:
                assert ruling.outcome in found.after.outcomes, (found, ruling)
                assert ruling.reason in {*found.after.reasons, *DENIALS}, found
            if found.verdict in ("same", "not_by_rules"):
                assert ruling.outcome == before.outcome, found
            if found.verdict == "changed":
                now = (ruling.outcome, ruling.reason, [*ruling.rules], [*ruling.obligations])
                then = (before.outcome, before.reason, before.rules, before.obligations)
                assert now != then, found
            seen[found.verdict] += 1
    print(seen)
