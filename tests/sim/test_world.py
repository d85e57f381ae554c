"""The whole daemon in simulated worlds: no law of the product is broken under any weather.

One seed is one world and one history. ``make sim SEED=7`` replays one, ``make sim SEEDS=200`` runs
the first 200; a world's plan follows from its seed.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.sim.seeds import FIXED, asked_seeds
from tests.sim.totals import Totals
from tests.sim.workers import WORLD_SECONDS_MAX, Workers
from tests.sim.world import Outcome, Plan, run_world

SEEDS = asked_seeds(os.environ)


@pytest.mark.timeout(WORLD_SECONDS_MAX + 60)
@pytest.mark.parametrize("seed", SEEDS)
def test_no_law_is_broken_in_the_world_of(
    seed: int, workers: Workers, outcomes: list[Outcome]
) -> None:
    outcome = workers.outcome(seed)
    outcomes.append(outcome)
    if outcome.violations:
        pytest.fail(
            f"{outcome}\nreplay it with: make sim SEED={seed}\n"
            + "\n".join([*outcome.violations[:10], "the last lines of the daemon's log:"])
            + "\n"
            + "\n".join(outcome.log),
            pytrace=False,
        )
    assert outcome.calls > 100
    assert outcome.counts["exit 0"] > 0


if set(FIXED) <= set(SEEDS):

    @pytest.mark.timeout(WORLD_SECONDS_MAX * len(FIXED))
    def test_the_fixed_worlds_call_and_crash_enough(workers: Workers) -> None:
        totals = Totals([workers.outcome(seed) for seed in FIXED])
        assert totals.calls >= 20_000
        assert totals.crashes >= 2_000
        assert totals.unsynced >= 0.45 * totals.crashes
        assert totals.names >= 0.10 * totals.crashes
        assert totals.amended >= 200


def test_one_seed_is_one_history(files: Path) -> None:
    plan = Plan(calls=8)
    assert run_world(4, plan, files).history == run_world(4, plan, files).history


def test_two_seeds_are_two_histories(files: Path) -> None:
    plan = Plan(calls=4)
    assert run_world(1, plan, files).history != run_world(2, plan, files).history
