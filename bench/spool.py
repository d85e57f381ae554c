"""What the spool costs and how fast it is, by ratios within one run.

Owns: the sizes of a run, its order, and how it is shown. Refuses: each measurement (the modules
of its parts) and absolute promises: the disk's own figure stands beside the others.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench.claims import Claim, commit_claims, slower_claims, stall_claims
from bench.commits import CommitRow, Load, measure_commits
from bench.disk import fdatasync_p50_us
from bench.draining import Drained, measure_drain
from bench.recovery import Recovery, measure_recovery
from bench.slower import SlowerRow, measure_slower, steps
from bench.stage import Stage, stage
from bench.stalled import Stalled, measure_stall
from bench.volume import bench_directory, file_system
from gatepost.foreground import SWITCH_SECONDS
from spool.config import SpoolConfig


class Sizes(msgspec.Struct, frozen=True):
    """How much of each is done. The defaults are those of ``make bench``."""

    load: Load = Load()
    full_bytes: int = 256 * 1024 * 1024
    segment_bytes: int = 4 * 1024 * 1024
    drained_records: int = 20_000
    stall_seconds: float = 2.0


class SpoolResult(msgspec.Struct):
    """Everything that one run measured; ``claims``: what was expected of it."""

    file_system: str
    fdatasync_p50_us: int
    commits: list[CommitRow]
    slower: list[SlowerRow]
    recovery: Recovery
    drain: Drained
    stall: Stalled
    claims: list[Claim]


def run(sizes: Sizes, console: Console) -> SpoolResult:
    """Measure on the volume of ``GATEPOST_BENCH_DIR``, in the event loop that the daemon uses."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        with bench_directory() as directory, stage(directory) as ready:
            return anyio.run(
                _run, directory, ready, sizes, console, backend_options={"use_uvloop": True}
            )
    finally:
        sys.setswitchinterval(usual)


async def _run(directory: Path, ready: Stage, sizes: Sizes, console: Console) -> SpoolResult:
    def config(name: str) -> SpoolConfig:
        return SpoolConfig(
            directory=str(directory / name),
            spool_bytes_max=sizes.full_bytes,
            segment_bytes=sizes.segment_bytes,
        )

    fdatasync_us = fdatasync_p50_us(directory)
    with _bar(console, "durable before the answer", sizes.load.steps) as advance:
        commits = await measure_commits(
            directory, sizes.load, config("commits"), lambda: advance(1)
        )
    with _bar(console, "where a sync takes longer", steps(sizes.load)) as advance:
        slower = await measure_slower(sizes.load, config("slower"), lambda: advance(1))
    with _bar(console, "filling a spool", None) as advance:
        recovery = await measure_recovery(config("full"), advance)
    with _bar(console, "filling and draining", sizes.drained_records) as advance:
        drain = await measure_drain(ready, sizes.drained_records, advance)
    with _bar(console, f"a sync of {sizes.stall_seconds:g} s", None):
        stall = await measure_stall(ready, sizes.stall_seconds)
    return SpoolResult(
        file_system=file_system(directory),
        fdatasync_p50_us=fdatasync_us,
        commits=commits,
        slower=slower,
        recovery=recovery,
        drain=drain,
        stall=stall,
        claims=[*commit_claims(commits), *slower_claims(slower), *stall_claims(stall)],
    )


@contextmanager
def _bar(console: Console, what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    columns = (TextColumn(what), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda count: progress.advance(task, count)


def show(result: SpoolResult, console: Console) -> None:
    """Print ``result`` as tables."""
    console.print(_commit_table(result))
    console.print(_slower_table(result))
    recovery, drain, stall = result.recovery, result.drain, result.stall
    console.print(
        f"recovery of {recovery.spool_bytes / 2**20:.0f} MiB, {recovery.records} records: "
        f"{recovery.cold_seconds:.2f} s ({recovery.mib_per_second:.0f} MiB/s, "
        f"{recovery.records_per_second:.0f} records/s), "
        f"{recovery.warm_seconds:.2f} s from the page cache, "
        f"{recovery.cpu_seconds:.2f} s of CPU\n"
        f"drain of {drain.records} records into a live store: "
        f"{drain.records_per_second:.0f} records/s, CPU per record: "
        f"{drain.sender_cpu_us_per_record:.0f} µs here, "
        f"{drain.store_cpu_us_per_record:.0f} µs in the store\n"
        f"{stall.calls_answered} calls during a sync of {stall.stall_seconds:g} s: the slowest "
        f"took {stall.call_seconds:.1f} s"
    )
    claims = Table("expected of the spool", "expected", "got", "holds", title="Expectations")
    for claim in result.claims:
        claims.add_row(claim.what, claim.expected, claim.got, "yes" if claim.holds else "NO")
    console.print(claims)


def _commit_table(result: SpoolResult) -> Table:
    title = (
        f"Durable before the answer, on {result.file_system}, "
        f"fdatasync p50 {result.fdatasync_p50_us} µs"
    )
    columns = (
        "way",
        "callers",
        "records/s",
        "syncs/record",
        "wait p50 µs",
        "CPU µs/record",
        "spool is faster",
    )
    table = Table(*columns, title=title)
    for row in result.commits:
        table.add_row(
            row.way,
            str(row.callers),
            f"{row.records_per_second:.0f}",
            f"{row.syncs_per_record:.3f}",
            f"{row.p50_us:.0f}",
            f"{row.cpu_us_per_record:.0f}",
            f"{row.spool_is_faster_by:.2f}x",
        )
    return table


def _slower_table(result: SpoolResult) -> Table:
    table = Table(
        "sync + ms",
        "callers",
        "records/s",
        "ungrouped",
        "spool is faster",
        title="The same where each sync takes longer",
    )
    for row in result.slower:
        table.add_row(
            f"{row.added_ms:g}",
            str(row.callers),
            f"{row.records_per_second:.0f}",
            f"{row.ungrouped_records_per_second:.0f}",
            f"{row.spool_is_faster_by:.1f}x",
        )
    return table
