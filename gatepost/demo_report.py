"""What the demonstration prints: calls, records, the verifier's verdict, next steps.

Owns: the tables. Refuses: judging; ``demo.py`` has the verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

from gatepost.terminal import cell

if TYPE_CHECKING:
    from gatepost.demo import Row

_ANSWER_CHARACTERS_MAX = 40


def calls(console: Console, rows: Sequence[Row]) -> None:
    """One row per call: what happened, and how often the far end was reached."""
    table = _table("Calls", "call", "asked for", "outcome", "far end", "the client saw")
    for row in rows:
        call = row.call
        colour = "green" if row.as_it_should_be else "red"
        table.add_row(
            call.name,
            cell(call.asked),
            cell(call.outcome, colour),
            str(row.upstream_requests),
            cell(call.exception or call.detail[:_ANSWER_CHARACTERS_MAX]),
        )
    console.print(table)


def records(console: Console, found: Sequence[dict[str, object]]) -> None:
    """The decisions in the central store."""
    columns = ("person", "operation", "asked for", "data", "outcome", "reason")
    table = _table(f"Records in the store: decisions of agent {_agent(found)}", *columns)
    for item in found:
        asked = item.get("tool") or item.get("model")
        shown = (item.get("person"), item.get("operation"), asked, item.get("level"))
        ruled = (item.get("outcome"), item.get("reason"))
        table.add_row(*(cell(str(value or "-")) for value in (*shown, *ruled)))
    console.print(table)


def verdict(console: Console, verified: dict[str, object] | None, flipped_exit: int | None) -> None:
    """What the offline verifier said, and about the copy with one byte flipped."""
    table = _table("Offline verifier", "verdict", "state", "checked")
    verdicts = (verified or {}).get("verdicts")
    for one in verdicts if isinstance(verdicts, list) else []:
        table.add_row(*(cell(str(one.get(name))) for name in ("name", "state", "counted")))
    console.print(table)
    noticed = "found out" if flipped_exit == 1 else "NOT found out"
    console.print(f"a copy of the export with one byte flipped: {noticed}")


def _table(title: str, *columns: str) -> Table:
    """A table that folds its cells rather than cutting them off on a narrow terminal."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for name in columns:
        table.add_column(name, overflow="fold")
    return table


def _agent(found: Sequence[dict[str, object]]) -> str:
    return ", ".join(sorted({str(item.get("agent")) for item in found}))


def next_steps(console: Console) -> None:
    """How to point one's own agent at Gatepost."""
    console.print(
        "\nPoint your own agent at it, with .venv/bin in your PATH:\n"
        "  gatepost up                  # keeps this set-up running in .gatepost/\n"
        '  eval "$(gatepost env)"       # in the agent\'s shell: base URLs, NO_PROXY\n'
        "  gatepost tail                # watch decisions and the spool",
        highlight=False,
    )
