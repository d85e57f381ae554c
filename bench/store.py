"""The record store: taking in, looking up, proving, and the memory of its process.

One database is built and then read by everything else. A million records (``--records 1000000``)
take a quarter of an hour; the default is smaller.

Owns: the run and its tables. Refuses: the figures themselves.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bench import store_ingest, store_reading
from bench.store_feed import Feed
from bench.store_ingest import Ingested
from bench.store_reading import Asked, Held, Proved


class Measured(msgspec.Struct, frozen=True):
    """One run. ``load``: of the machine in the minute before it, in processes."""

    load: float
    ingested: Ingested
    pages: list[Asked]
    proved: Proved
    held: Held


def run(records: int, leaves: int, console: Console) -> Measured:
    """Take in ``records``, and prove in a tree of ``leaves``."""
    load = os.getloadavg()[0]
    with (
        tempfile.TemporaryDirectory(dir=os.environ.get("GATEPOST_BENCH_DIR")) as directory,
        Progress(console=console, transient=True) as progress,
    ):
        task = progress.add_task("taking in records", total=records)
        feed = Feed(Path(directory))
        try:
            ingested = store_ingest.run(
                feed, records, lambda done: progress.update(task, completed=done)
            )
            progress.update(task, description="looking up", total=None)
            pages = store_reading.pages(feed)
            progress.update(task, description="growing a tree", total=leaves, completed=0)
            proved = store_reading.proofs(
                feed.connection, leaves, lambda done: progress.update(task, completed=done)
            )
        finally:
            feed.close()
        progress.update(task, description="exporting everything", total=None)
        held = store_reading.memory(feed)
    return Measured(load, ingested, pages, proved, held)


def show(found: Measured, console: Console) -> None:
    """A table for each."""
    ingested = found.ingested
    table = Table(
        title=f"Record store: {ingested.records} records taken in, load {found.load:.1f}",
        title_justify="left",
        box=None,
    )
    table.add_column("step")
    table.add_column("CPU µs per record", justify="right")
    for name, microseconds in ingested.steps.items():
        table.add_row(name, f"{microseconds:.1f}")
    table.add_row("whole", f"{ingested.whole:.1f}")
    console.print(table)
    console.print(
        f"{ingested.records_per_second:.0f} records per second of one core;"
        f" {ingested.share:.2f} of a bare insert; {ingested.database_bytes / 1e6:.0f} MB"
    )
    table = Table(title="A page of 100", title_justify="left", box=None)
    table.add_column("filter")
    table.add_column("rows", justify="right")
    table.add_column("ms", justify="right")
    for one in found.pages:
        table.add_row(one.asked, str(one.rows), f"{one.milliseconds:.2f}")
    console.print(table)
    proved = found.proved
    table = Table(title=f"Proofs at {proved.leaves} leaves, CPU µs", title_justify="left", box=None)
    for name in ("", "made", "checked"):
        table.add_column(name, justify="right")
    table.add_row("inclusion", f"{proved.inclusion_made:.0f}", f"{proved.inclusion_checked:.0f}")
    table.add_row(
        "consistency", f"{proved.consistency_made:.0f}", f"{proved.consistency_checked:.0f}"
    )
    console.print(table)
    held = found.held
    console.print(
        f"resident memory of the services: {held.started / 2**20:.0f} MiB at the start,"
        f" {held.after_export / 2**20:.0f} MiB at most after an export of"
        f" {held.exported_bytes / 1e6:.0f} MB"
    )
