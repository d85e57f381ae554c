"""All mutants and the unmodified source on the same seeds, as many children as there are cores.

Every patch is applied before the first world is run, so that one that does not fit is told at
once. Owns: the order of work and the report. Refuses: what a verdict is (``trial.py``).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path

import msgspec

from tests.mutants import tree, trial
from tests.mutants.mutant import Mutant
from tests.mutants.trial import Limits, Trial, Verdict


class Report(msgspec.Struct, frozen=True):
    """``faults``: what is wrong with patches or with the unmodified source; nothing that was
    found with one of them stands for anything. ``unmodified``: seeds that it passed."""

    verdicts: list[Verdict]
    unmodified: list[int]
    faults: list[str]

    @property
    def sound(self) -> bool:
        """Whether every mutant is caught, and nothing else is wrong."""
        return not self.faults and all(one.problem is None for one in self.verdicts)


class Campaign:
    """One run. ``root``: of the source; ``place``: an empty directory for the copies; ``say``
    gets a line as each mutant is done."""

    def __init__(
        self,
        root: Path,
        place: Path,
        seeds: tuple[int, ...],
        say: Callable[[str], None],
        limits: Limits,
    ) -> None:
        self._root = root
        self._place = place
        self._seeds = seeds
        self._say = say
        self._limits = limits
        self._faults: list[str] = []
        self._passed: set[int] = set()

    def run(self, mutants: list[Mutant]) -> Report:
        """Try every mutant."""
        unmodified = tree.copy_source(self._root, self._place / "unmodified")
        copies = [(mutant, copy) for mutant in mutants if (copy := self._copy(mutant)) is not None]
        verdicts: list[Verdict] = []
        if not self._faults:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                self._check(pool, unmodified, self._first_seeds(mutants))
                if not self._faults:
                    verdicts = self._try(pool, copies)
                used = {one.seed for one in verdicts if one.problem is None and one.seed}
                self._check(pool, unmodified, used - self._passed)
        return Report(verdicts, sorted(self._passed), self._faults)

    def _copy(self, mutant: Mutant) -> Path | None:
        copy = tree.copy_source(self._root, self._place / mutant.name)
        try:
            tree.apply(mutant, copy)
        except tree.PatchFailed as failed:
            self._faults.append(str(failed))
            return None
        return copy

    def _first_seeds(self, mutants: list[Mutant]) -> set[int]:
        """Those that a mutant names; the others only if they are what catches one."""
        return {seed for mutant in mutants for seed in mutant.seeds}

    def _check(self, pool: ThreadPoolExecutor, unmodified: Path, seeds: set[int]) -> None:
        """The unmodified source has to pass on ``seeds``."""
        # The largest worlds are the first of the fixed seeds.
        order = [seed for seed in self._seeds if seed in seeds]
        trials = pool.map(lambda seed: trial.run(unmodified, (seed,), self._limits), order)
        for seed, done in zip(order, trials, strict=True):
            problem = _problem(done)
            if problem is None:
                self._passed.add(seed)
                self._say(f"unmodified, seed {seed}: passed in {done.seconds} s")
            else:
                self._faults.append(f"the unmodified source does not pass seed {seed}: {problem}")

    def _try(self, pool: ThreadPoolExecutor, copies: list[tuple[Mutant, Path]]) -> list[Verdict]:
        def attempt(mutant: Mutant, copy: Path) -> Verdict:
            return trial.judge(mutant, trial.run(copy, self._order(mutant), self._limits))

        futures: list[Future[Verdict]] = [pool.submit(attempt, *one) for one in copies]
        for done in as_completed(futures):
            self._say(line(done.result()))
        return [future.result() for future in futures]

    def _order(self, mutant: Mutant) -> tuple[int, ...]:
        first = tuple(seed for seed in mutant.seeds if seed in self._seeds)
        return first + tuple(seed for seed in self._seeds if seed not in first)


def _problem(done: Trial) -> str | None:
    broken = [violation for world in done.worlds for violation in world.violations]
    nothing = None if done.worlds else "no world was run"
    return done.failure or next(iter(broken), nothing)


def line(verdict: Verdict) -> str:
    """One verdict as a line of text."""
    seconds = f"{verdict.seconds} s"
    if verdict.problem is not None:
        return f"{verdict.mutant}: NOT CAUGHT, {verdict.problem} ({seconds})"
    return f"{verdict.mutant}: caught by {verdict.checker}, seed {verdict.seed} ({seconds})"
