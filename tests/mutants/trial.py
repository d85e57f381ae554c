"""Worlds in a child process on a copy of the source, and what they say of a mutant.

Owns: the child, its time limit, and the verdict. A mutant is caught by the violation of a law
alone, by a checker that its patch names. Refuses: counting anything else as caught: an error, a
crash or a hang of the child, a violation of another kind.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import msgspec

from tests.mutants.inside import World
from tests.mutants.mutant import Mutant

_LINES_SHOWN: Final = 3


class Trial(msgspec.Struct, frozen=True):
    """What one child did. ``failure``: why it did not come to its end, or None."""

    worlds: list[World]
    failure: str | None
    seconds: float


class Verdict(msgspec.Struct, frozen=True):
    """``problem`` says why the mutant is not caught; with None, the others say how it was."""

    mutant: str
    seconds: float
    problem: str | None = None
    checker: str | None = None
    seed: int | None = None
    violation: str | None = None


class Limits(msgspec.Struct, frozen=True):
    """``seconds``: for all worlds of one child. ``calls``: of each agent, 0 for the plan's own."""

    seconds: float = 900.0
    calls: int = 0


def run(tree: Path, seeds: tuple[int, ...], limits: Limits) -> Trial:
    """Run the worlds of ``seeds`` in ``tree`` up to the first that breaks a law."""
    command = [
        sys.executable,
        "-B",
        "-m",
        "tests.mutants.inside",
        *map(str, (limits.calls, *seeds)),
    ]
    began = time.perf_counter()
    failure: str | None = None
    try:
        done = subprocess.run(
            command, cwd=tree, capture_output=True, timeout=limits.seconds, check=False
        )
        output = done.stdout
        if done.returncode != 0:
            last = done.stderr.decode(errors="replace").strip().splitlines()[-_LINES_SHOWN:]
            failure = f"the simulator ended with {done.returncode}: {' / '.join(last)}"
    except subprocess.TimeoutExpired as late:
        output = late.stdout or b""
        failure = f"no end within {limits.seconds:g} s"
    whole = [line for line in output.splitlines(keepends=True) if line.endswith(b"\n")]
    worlds = [msgspec.json.decode(line, type=World) for line in whole]
    return Trial(worlds, failure, round(time.perf_counter() - began, 1))


def judge(mutant: Mutant, trial: Trial) -> Verdict:
    """Whether ``trial`` caught ``mutant``."""
    verdict = Verdict(mutant.name, trial.seconds)
    if trial.failure is not None:
        return msgspec.structs.replace(verdict, problem=trial.failure)
    broken = next((world for world in trial.worlds if world.violations), None)
    if broken is None:
        count = len(trial.worlds)
        return msgspec.structs.replace(verdict, problem=f"survived the worlds of {count} seeds")
    checker, _, violation = broken.violations[0].partition(": ")
    problem = None
    if checker not in mutant.checkers:
        named = " or ".join(mutant.checkers)
        problem = f"noticed by {checker}, and its patch says {named}: {violation}"
    return Verdict(mutant.name, trial.seconds, problem, checker, broken.seed, violation)
