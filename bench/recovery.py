"""How long a start takes to examine the full spool of a process that ended.

Read twice: with the kernel's page cache dropped for these files, as after a reboot of the node,
and right after that, as after a crash of the process alone. What lies below the file system may
still hold the bytes.

Owns: a full spool and the time of ``find_dead``. Refuses: damage; it is the simulation's.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import anyio
import msgspec

from bench.drafts import PLACE, Drafts
from bench.draining import fill
from bench.ways import new_sealer
from gateway.io.disk import ThreadDisk
from spool.config import SpoolConfig
from spool.recover import find_dead
from spool.spool import Spool


class Recovery(msgspec.Struct, frozen=True):
    """``answered``: receipts given while it was filled; ``records``: found again.
    ``cpu_seconds``: user and system time of the cold pass, which a busy machine stretches less."""

    spool_bytes: int
    answered: int
    records: int
    cold_seconds: float
    warm_seconds: float
    cpu_seconds: float

    @property
    def mib_per_second(self) -> float:
        return self.spool_bytes / 2**20 / self.cold_seconds

    @property
    def records_per_second(self) -> float:
        return self.records / self.cold_seconds


async def measure_recovery(config: SpoolConfig, advance: Callable[[int], None]) -> Recovery:
    """Fill the spool of ``config`` until it turns calls away, then examine it as a start does."""
    answered = await _fill(config, advance)
    disk = ThreadDisk()
    _drop_from_cache(Path(config.directory))
    cpu = time.process_time()
    cold_seconds, records, spool_bytes = await _examine(disk, config.directory)
    cpu = time.process_time() - cpu
    warm_seconds, _, _ = await _examine(disk, config.directory)
    return Recovery(spool_bytes, answered, records, cold_seconds, warm_seconds, cpu)


async def _fill(config: SpoolConfig, advance: Callable[[int], None]) -> int:
    sealer = new_sealer()
    spool = await Spool.open(ThreadDisk(), config, sealer, sealer.instance, timer=time.perf_counter)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(spool.run)
        # More than fits: it ends when the spool is full.
        answered = await fill(spool, Drafts.of_a_daemon(), config.spool_bytes_max, advance)
        await spool.close()
    return answered


async def _examine(disk: ThreadDisk, root: str) -> tuple[float, int, int]:
    """(seconds, records, bytes) of one pass; the locks are given back."""
    began = time.perf_counter()
    dead, alone = await find_dead(disk, root, PLACE, wall_us=0)
    seconds = time.perf_counter() - began
    assert not alone, alone
    for one in dead:
        one.release()
    return (
        seconds,
        sum(one.findings.records for one in dead),
        sum(one.bytes_used for one in dead),
    )


def _drop_from_cache(root: Path) -> None:
    for path in root.rglob("*.log"):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            # Only clean pages can be dropped.
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
