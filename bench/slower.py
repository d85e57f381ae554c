"""What grouping is worth where a sync takes longer than on the disk at hand.

The same closed loop as ``commits.py``, the spool against one sync per record; each sync of a file
waits longer in the disk's thread, as one on a network volume does. SQLite syncs by itself and
cannot be slowed down so, and has no row here.

Owns: the delays, and these rounds. Refuses: the loop of callers and the ways.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Final

import msgspec

from bench.commits import Load, sample
from bench.drafts import Drafts
from bench.ways import open_spools
from spool.config import SpoolConfig

ADDED_MS: Final = (1.0, 2.0, 5.0)
CALLERS: Final = 64


class SlowerRow(msgspec.Struct, frozen=True):
    """``added_ms``: what each sync took more than the disk needs; ``spool_is_faster_by``: as in
    ``CommitRow``, against one sync per record. Medians of the rounds."""

    added_ms: float
    callers: int
    records_per_second: float
    ungrouped_records_per_second: float
    spool_is_faster_by: float


async def measure_slower(
    load: Load, config: SpoolConfig, advance: Callable[[], None]
) -> list[SlowerRow]:
    """Both spools at ``CALLERS`` callers under each delay; ``advance`` after each step."""
    drafts = Drafts.of_a_daemon()
    found: dict[float, list[tuple[float, float]]] = {added_ms: [] for added_ms in ADDED_MS}
    async with open_spools(config) as ways:
        for _ in range(load.rounds):
            for added_ms, pairs in found.items():
                rates = []
                for way in ways:
                    way.slow_down(added_ms / 1e3)
                    taken = await sample(way, drafts, CALLERS, load.seconds)
                    rates.append(taken.records_per_second)
                    advance()
                pairs.append((rates[0], rates[1]))
    return [
        SlowerRow(
            added_ms=added_ms,
            callers=CALLERS,
            records_per_second=median(grouped for grouped, _ in pairs),
            ungrouped_records_per_second=median(single for _, single in pairs),
            spool_is_faster_by=median(grouped / single for grouped, single in pairs),
        )
        for added_ms, pairs in found.items()
    ]


def steps(load: Load) -> int:
    """How often ``advance`` is called."""
    return load.rounds * len(ADDED_MS) * 2
