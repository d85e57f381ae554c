"""Our verifier and python-tuf play the same histories; where they part, it is by intent.

The first difference ends a history: from then on the two hold different things.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.sim.loop import simulate
from tests.unit.policy_cache.differences import DIFFERENCES, Past, listed
from tests.unit.policy_cache.gatepost_client import GatepostClient
from tests.unit.policy_cache.histories import History, Step
from tests.unit.policy_cache.tuf_client import TufClient

HISTORIES = 1_000
STEPS = 6
REFUSALS = frozenset({"signature", "threshold", "rollback", "expired", "digest", "version"})
"""What both refused must have been refused for each of these."""


async def _play(steps: list[Step], directory: Path, seen: Counter[str]) -> None:
    ours, theirs = GatepostClient(steps[0].roots[0]), TufClient(directory, steps[0].roots[0])
    past = Past()
    for step in steps:
        our, their = await ours.see(step), theirs.see(step)
        if our.agrees(their):
            seen[our.code or "accepted"] += 1
            past.note(step, our)
            continue
        difference = listed(step, our, their, past)
        assert difference is not None, f"{step.what}: ours {our}, theirs {their}\n{step}"
        seen[difference.name] += 1
        return


@pytest.mark.timeout(600)
def test_histories_are_judged_as_python_tuf_judges_them_but_for_the_listed_differences(
    tmp_path: Path,
) -> None:
    seen: Counter[str] = Counter()
    for seed in range(HISTORIES):
        directory = tmp_path / str(seed)
        directory.mkdir()
        steps = History(seed).steps(STEPS)
        simulate(seed, lambda steps=steps, at=directory: _play(steps, at, seen))  # type: ignore[misc]
    assert {one.name for one in DIFFERENCES} <= seen.keys()
    assert seen.keys() >= REFUSALS
    assert seen["accepted"] > HISTORIES
    assert sum(seen[code] for code in REFUSALS) > HISTORIES
