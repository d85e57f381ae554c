"""Worlds side by side: each in a process of its own, as many at a time as there are cores.

A world is one history whatever runs beside it, so the processes share nothing: each has its own
key files and its own rule pack. Owns: the processes, and telling a world that does not end from
one that does. Refuses: what a world is.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import warnings
from collections.abc import Sequence
from multiprocessing.pool import AsyncResult, Pool
from typing import Final

from tests.sim.place import place_of
from tests.sim.world import Outcome, plan_of, run_world

WORLD_SECONDS_MAX: Final = 300.0
"""Of real time, from when it is waited for. A world of the fixed set takes some ten seconds."""


class DoesNotEnd(AssertionError):
    """A world that is still not at its end: something in it goes round for ever."""


class Workers:
    """Runs the worlds of ``seeds``, in that order; a single one in this very process, where a
    debugger reaches it. ``stop`` ends what is still running."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self._pool: Pool | None = None
        self._coming: dict[int, AsyncResult[Outcome]] = {}
        if len(seeds) > 1:
            # Not forked from the test runner, in whatever state it is, but from a process that has
            # run a small world and nothing else; one world each, whose memory goes with it, so
            # that nobody has to look for garbage in it either.
            context = multiprocessing.get_context("forkserver")
            # Every worker imports what the runner was started from, too: then it is there already.
            context.set_forkserver_preload(["tests.sim.warmed", "pytest"])
            self._pool = context.Pool(os.cpu_count(), gc.disable, maxtasksperchild=1)
            for seed in seeds:
                self._coming[seed] = self._pool.apply_async(run_alone, (seed,))

    def outcome(self, seed: int) -> Outcome:
        """Wait for the world of ``seed``. Raises DoesNotEnd, and what the world raised."""
        if self._pool is None:
            return run_alone(seed)
        try:
            return self._coming[seed].get(WORLD_SECONDS_MAX)
        except multiprocessing.TimeoutError:
            raise DoesNotEnd(f"seed {seed} has not ended in {WORLD_SECONDS_MAX:.0f} s") from None

    def stop(self) -> None:
        if self._pool is not None:
            self._pool.terminate()
            self._pool.join()


def run_alone(seed: int) -> Outcome:
    """The world of ``seed`` as its own plan says, with files of its own."""
    with place_of(seed) as files, warnings.catch_warnings():
        warnings.simplefilter("error")
        return run_world(seed, plan_of(seed), files)
