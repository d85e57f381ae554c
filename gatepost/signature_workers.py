"""Processes that verify the signatures of an export, a block each at a time.

Owns: how many there are, starting and ending them, and what is said when one dies. Refuses: any
verdict; they are asked of bytes and answer with valid or not. It needs nothing but the standard
library beside ``gateway``: the bare verifier uses it, too.

Whoever judges has a third of the work, and has it alone: more than three processes are no faster.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from gatepost.export_file import Unusable
from gateway import signature_check
from gateway.signature_check import Answers, SameThread, SignatureCheck, Task

JOBS_MAX: Final = 64
_JOBS_OF_USE: Final = 3
_WORTH_BYTES: Final = 16 * 1024 * 1024
"""Exports below this size are verified sooner than processes start."""
_BLOCKS_PER_WORKER: Final = 4


def jobs_for(export: Path) -> int:
    """How many processes should verify ``export`` where nobody said."""
    if not export.is_file() or export.stat().st_size < _WORTH_BYTES:
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(cores or 1, _JOBS_OF_USE)


@contextmanager
def signature_check_of(jobs: int) -> Iterator[SignatureCheck]:
    """Somebody who verifies in ``jobs`` processes beside this one; with one job, here."""
    if jobs == 1:
        yield SameThread()
        return
    # Forked ones would share locks with the threads that are here already.
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), _leave_interrupts_alone)
    try:
        yield _Workers(pool, _BLOCKS_PER_WORKER * jobs)
    finally:
        pool.shutdown(cancel_futures=True)


class _Workers:
    def __init__(self, pool: ProcessPoolExecutor, blocks_ahead: int) -> None:
        self.blocks_ahead = blocks_ahead
        self._pool = pool

    def begin(self, tasks: Sequence[Task]) -> Answers:
        if not tasks:
            return list
        try:
            return _answers(self._pool.submit(signature_check.verify, tasks))
        except BrokenProcessPool as error:
            raise _died() from error


def _answers(future: Future[list[bool]]) -> Callable[[], list[bool]]:
    def answers() -> list[bool]:
        try:
            return future.result()
        except BrokenProcessPool as error:
            raise _died() from error

    return answers


def _died() -> Unusable:
    return Unusable("a process that verified signatures ended early; --jobs 1 needs none")


def _leave_interrupts_alone() -> None:
    # Whoever started them hears of it and ends them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
