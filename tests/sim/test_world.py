"""The whole daemon in simulated worlds: no law of the product is broken under any weather.

One seed is one world and one history. ``make sim SEED=7`` replays one; its plan follows from it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.sim.seeds import FIXED
from tests.sim.world import Outcome, Plan, plan_of, run_world

_ASKED = os.environ.get("GATEPOST_SIM_SEED", "")
SEEDS = (int(_ASKED),) if _ASKED else FIXED


@pytest.mark.parametrize("seed", SEEDS)
def test_no_law_is_broken_in_the_world_of(seed: int, files: Path, outcomes: list[Outcome]) -> None:
    outcome = run_world(seed, plan_of(seed), files)
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


def test_one_seed_is_one_history(files: Path) -> None:
    plan = Plan(calls=8)
    assert run_world(4, plan, files).history == run_world(4, plan, files).history


def test_two_seeds_are_two_histories(files: Path) -> None:
    plan = Plan(calls=4)
    assert run_world(1, plan, files).history != run_world(2, plan, files).history
