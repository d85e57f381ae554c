"""The record store: taking in, looking up, proving, and the memory of its process.

One database is built and then read by everything else. To take in a million records would need a
quarter of an hour; ``--filled 1000000`` fills the store with copies of the rows of those that were
taken in (``store_fill.py``) before it is asked.

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

from bench import store_fill, store_ingest, store_reading
from bench.store_feed import Feed
from bench.store_ingest import Ingested
from bench.store_reading import Asked, Held, Proved


class Measured(msgspec.Struct, frozen=True):
    """One run. ``load``: of the machine in the minute before it, in processes. ``rows``: of the
    store that ``pages`` were asked of, copies among them."""

    load: float
    ingested: Ingested
    rows: int
    pages: list[Asked]
    proved: Proved
    held: Held


def run(records: int, leaves: int, console: Console, *, filled: int = 0) -> Measured:
    """Take in ``records``, fill the store up to ``filled`` rows, and prove in a tree of
    ``leaves``."""
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
            progress.update(task, description="exporting everything", total=None)
            held = store_reading.memory(feed)
            progress.update(task, description="filling", total=max(records, filled), completed=0)
            rows = store_fill.fill(feed, filled, lambda done: progress.update(task, completed=done))
            progress.update(task, description="looking up", total=None)
            pages = store_reading.pages(feed)
            progress.update(task, description="growing a tree", total=leaves, completed=0)
            proved = store_reading.proofs(
                feed.connection, leaves, lambda done: progress.update(task, completed=done)
            )
        finally:
            feed.close()
    return Measured(load, ingested, rows, pages, proved, held)


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
    copied = max(0, found.rows - ingested.records)
    table = Table(
        title=f"A page of 100 of {found.rows} records, {copied} of them copies; CPU ms",
        title_justify="left",
        box=None,
    )
    table.add_column("filter")
    for name in ("rows", "ms", "deep rows", "deep ms", "pages to the first row or the end"):
        table.add_column(name, justify="right")
    for one in found.pages:
        table.add_row(
            one.asked,
            str(one.rows),
            f"{one.milliseconds:.2f}",
            str(one.deep_rows),
            f"{one.deep_milliseconds:.2f}",
            str(one.pages),
        )
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
