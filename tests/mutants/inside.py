"""Runs worlds in a copy of the source: ``python -m tests.mutants.inside CALLS SEED...`` in it.

``CALLS``: of each agent, or 0 for as many as the plan of the seed says.

Prints a line of JSON for each world, and ends behind the first that broke a law. Anything else
that goes wrong (a module that can't be imported, a simulator that raises) ends it with a
traceback, so that it is never taken for a law that was noticed to be broken.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import msgspec

from tests.mutants.tree import SOURCES
from tests.sim.place import place_of
from tests.sim.world import plan_of, run_world


class World(msgspec.Struct, frozen=True):
    """What came of one world. ``violations``: each is ``checker: text``, the first one first."""

    seed: int
    seconds: float
    violations: list[str]


def strangers(root: Path) -> list[str]:
    """Modules of ours that were loaded from elsewhere than ``root``."""
    ours = {name.partition("/")[0] for name in SOURCES}
    return [
        f"{name} from {module.__file__}"
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] in ours
        and getattr(module, "__file__", None)
        and not Path(str(module.__file__)).resolve().is_relative_to(root)
    ]


def _check_source(root: Path) -> None:
    elsewhere = strangers(root)
    if elsewhere:
        sys.exit(f"not a world of this copy: {'; '.join(elsewhere)}")


def main(calls: int, seeds: list[int]) -> None:
    """One world after the other, in the directory in which this was started."""
    root = Path.cwd().resolve()
    _check_source(root)
    for seed in seeds:
        began = time.perf_counter()
        plan = plan_of(seed)
        if calls:
            plan = msgspec.structs.replace(plan, calls=calls)
        with place_of(seed) as files:
            outcome = run_world(seed, plan, files)
        world = World(seed, round(time.perf_counter() - began, 1), outcome.violations)
        _check_source(root)
        print(msgspec.json.encode(world).decode(), flush=True)
        if world.violations:
            return


if __name__ == "__main__":
    main(int(sys.argv[1]), [int(seed) for seed in sys.argv[2:]])
