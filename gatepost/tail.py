"""``gatepost tail``: a live view of the spool and the last decisions.

Owns: drawing. Refuses: keeping anything; what scrolls by stands in the records.
"""

from __future__ import annotations

import threading
from collections import deque
from pathlib import Path

import click
import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table

from gatepost.admin_socket import follow
from gatepost.status import socket_of
from sidecar.recent import RecentDecision
from sidecar.status import SpoolReport

_LINES = 20
_COLOURS = {"allow": "green", "deny": "red", "approval_required": "yellow"}


class View:
    """The newest lines, filled by one thread and drawn by another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._decisions: deque[RecentDecision] = deque(maxlen=_LINES)
        self._spool: SpoolReport | None = None

    def add(self, decision: RecentDecision) -> None:
        with self._lock:
            self._decisions.append(decision)

    def note(self, report: SpoolReport) -> None:
        with self._lock:
            self._spool = report

    def __rich__(self) -> Group:
        with self._lock:
            return Group(_spool_panel(self._spool), decision_table(list(self._decisions)))


def decision_table(decisions: list[RecentDecision]) -> Table:
    """One row per decision, oldest first."""
    table = Table(
        "time", "agent", "person", "asked for", "data", "outcome", "reason", box=None, expand=True
    )
    for one in decisions:
        colour = _COLOURS.get(one.outcome, "magenta")
        asked = one.tool or one.model or one.operation
        table.add_row(
            one.time[11:23],
            one.agent or "-",
            one.person or "-",
            f"{one.route}: {asked}",
            " ".join([one.level or "-", *one.categories]),
            f"[{colour}]{one.outcome}[/{colour}]",
            one.reason,
        )
    return table


def _spool_panel(report: SpoolReport | None) -> Panel:
    if report is None:
        return Panel("waiting for the daemon", title="spool")
    spool, shipping = report.spool, report.shipping
    full = spool.bytes_used / spool.bytes_max if spool.bytes_max else 0.0
    text = (
        f"{spool.state}  {full:5.1%} of {spool.bytes_max / 2**20:.0f} MiB   "
        f"durable {spool.durable_seq}   acknowledged {spool.acked_seq}   "
        f"to ship {spool.backlog_records}   commit p50 {spool.commit.p50_us or 0} µs   "
        f"shipping {shipping.state}"
    )
    alarms = [*spool.alarms, *shipping.alarms]
    if shipping.last_error and shipping.consecutive_failures:
        alarms.append(shipping.last_error)
    if alarms:
        text += "\n[red]" + "; ".join(alarms) + "[/red]"
    return Panel(text, title=f"spool of {spool.instance}")


@click.command()
@click.option("--config", type=click.Path(path_type=Path), help="The daemon's configuration.")
@click.option("--socket", help="The daemon's admin socket, instead of --config.")
@click.option("--json", "as_json", is_flag=True, help="One JSON line per change of the spool.")
@click.option("--decisions", is_flag=True, help="With --json: one line per decision instead.")
def tail(config: Path | None, socket: str | None, as_json: bool, decisions: bool) -> None:
    """Watch a daemon's spool and decisions until interrupted."""
    path = socket_of(config, socket)
    if as_json:
        target = "/decisions?follow=1" if decisions else "/spool/status?follow=1"
        for line in follow(path, target):
            click.echo(line.rstrip())
        return
    view = View()
    threading.Thread(target=_feed_decisions, args=(path, view), daemon=True).start()
    with Live(view, console=Console(), refresh_per_second=8):
        for line in follow(path, "/spool/status?follow=1"):
            view.note(msgspec.json.decode(line, type=SpoolReport))


def _feed_decisions(path: str, view: View) -> None:
    for line in follow(path, "/decisions?follow=1"):
        view.add(msgspec.json.decode(line, type=RecentDecision))
