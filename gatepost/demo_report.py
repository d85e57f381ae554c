"""What the demonstration prints: calls, records, the verifier's verdict, next steps.

Owns: the tables. Refuses: judging; ``demo.py`` has the verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from gatepost.terminal import cell

if TYPE_CHECKING:
    from gatepost.demo import Row

_DETAIL_CHARACTERS_MAX = 60


def calls(console: Console, rows: Sequence[Row]) -> None:
    """One row per call: what happened, and how often the far end was reached."""
    table = Table(title="Calls", title_justify="left")
    for name in ("call", "client", "asked for", "outcome", "far end", "answer or exception"):
        table.add_column(name)
    for row in rows:
        call = row.call
        colour = "green" if row.as_it_should_be else "red"
        told = call.detail if call.exception is None else f"{call.exception}: {call.detail}"
        table.add_row(
            call.name,
            call.client,
            cell(call.asked),
            cell(call.outcome, colour),
            str(row.upstream_requests),
            cell(told[:_DETAIL_CHARACTERS_MAX]),
        )
    console.print(table)


def records(console: Console, found: Sequence[dict[str, object]]) -> None:
    """The decisions in the central store."""
    table = Table(title="Records in the store", title_justify="left")
    columns = ("person", "agent", "operation", "model", "tool", "level", "outcome", "reason")
    for name in ("id", *columns):
        table.add_column(name)
    for item in found:
        table.add_row(
            cell(str(item.get("id", ""))[-12:]),
            *(cell(str(item.get(name) or "-")) for name in columns),
        )
    console.print(table)


def verdict(console: Console, verified: dict[str, object] | None, flipped_exit: int | None) -> None:
    """What the offline verifier said, and about the copy with one byte flipped."""
    table = Table(title="Offline verifier", title_justify="left")
    for name in ("verdict", "state", "checked"):
        table.add_column(name)
    verdicts = (verified or {}).get("verdicts")
    for one in verdicts if isinstance(verdicts, list) else []:
        table.add_row(*(cell(str(one.get(name))) for name in ("name", "state", "counted")))
    console.print(table)
    noticed = "found out" if flipped_exit == 1 else "NOT found out"
    console.print(f"a copy of the export with one byte flipped: {noticed}")


def next_steps(console: Console) -> None:
    """How to point one's own agent at Gatepost."""
    console.print(
        "\nPoint your own agent at it:\n"
        "  gatepost up                  # keeps this set-up running in .gatepost/\n"
        '  eval "$(gatepost env)"       # in the agent\'s shell: base URLs, NO_PROXY\n'
        "  gatepost tail                # watch decisions and the spool",
        highlight=False,
    )
