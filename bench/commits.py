"""Records per second, durable before the answer, at 1, 8 and 64 concurrent callers.

Rounds are interleaved: each way in turn at each number of callers, beginning with another way
each round, so that what else the machine does hits all alike. Ratios are taken within a round;
each figure is the median of its rounds.

Owns: the closed loop of callers and the figures. Refuses: the ways (``ways.py``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import anyio
import msgspec

from bench.drafts import Drafts
from bench.ways import WAYS, Way, open_ways
from spool.config import SpoolConfig

CALLERS = (1, 8, 64)


class Load(msgspec.Struct, frozen=True):
    """``seconds``: how long each way has its callers, per round and number of callers; each
    caller makes one record at the least."""

    rounds: int = 9
    seconds: float = 0.5

    @property
    def steps(self) -> int:
        return self.rounds * len(CALLERS) * WAYS


class Sample(msgspec.Struct, frozen=True):
    """One way in one round. ``p50_us``: of a caller's wait; ``stored``: read back afterwards."""

    records_per_second: float
    syncs_per_record: float
    p50_us: float
    cpu_us_per_record: float
    answered: int
    stored: int


class CommitRow(msgspec.Struct, frozen=True):
    """One way at one number of callers: medians of the rounds, counts over all of them.

    ``spool_is_faster_by``: how many times as many records per second the spool makes durable.
    """

    way: str
    callers: int
    records_per_second: float
    syncs_per_record: float
    p50_us: float
    cpu_us_per_record: float
    answered: int
    stored: int
    spool_is_faster_by: float


async def measure_commits(
    directory: Path, load: Load, config: SpoolConfig, advance: Callable[[], None]
) -> list[CommitRow]:
    """Every way at every number of callers; ``advance`` is called after each step."""
    drafts = Drafts.of_a_daemon()
    samples: dict[tuple[str, int], list[Sample]] = {}
    async with open_ways(directory, config) as ways:
        for way in ways:
            await sample(way, drafts, CALLERS[-1], load.seconds)
        for number in range(load.rounds):
            first = number % len(ways)
            for callers in CALLERS:
                for way in ways[first:] + ways[:first]:
                    taken = await sample(way, drafts, callers, load.seconds)
                    samples.setdefault((way.name, callers), []).append(taken)
                    advance()
        names = [way.name for way in ways]
    return [
        _row(name, callers, samples[name, callers], samples[names[0], callers])
        for callers in CALLERS
        for name in names
    ]


async def sample(way: Way, drafts: Drafts, callers: int, seconds: float) -> Sample:
    """``callers`` in a closed loop for ``seconds``."""
    waits_us: list[float] = []

    async def call() -> None:
        now = began
        while now < began + seconds:
            draft = drafts.decision()
            submitted = time.perf_counter()
            await way.commit(draft)
            now = time.perf_counter()
            waits_us.append((now - submitted) * 1e6)

    syncs, cpu, began = way.syncs, time.process_time(), time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for _ in range(callers):
            tasks.start_soon(call)
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    answered = len(waits_us)
    return Sample(
        records_per_second=answered / took,
        syncs_per_record=(way.syncs - syncs) / answered,
        p50_us=median(waits_us),
        cpu_us_per_record=cpu / answered * 1e6,
        answered=answered,
        stored=await way.take_stored(),
    )


def _row(name: str, callers: int, samples: Sequence[Sample], spool: Sequence[Sample]) -> CommitRow:
    return CommitRow(
        way=name,
        callers=callers,
        records_per_second=median(one.records_per_second for one in samples),
        syncs_per_record=median(one.syncs_per_record for one in samples),
        p50_us=median(one.p50_us for one in samples),
        cpu_us_per_record=median(one.cpu_us_per_record for one in samples),
        answered=sum(one.answered for one in samples),
        stored=sum(one.stored for one in samples),
        spool_is_faster_by=median(
            ours.records_per_second / theirs.records_per_second
            for ours, theirs in zip(spool, samples, strict=True)
        ),
    )
