"""``gatepost tail``: a live view of the spool and the last decisions.

Owns: drawing. Refuses: keeping anything; what scrolls by stands in the records.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Final

import click
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table

from gatepost.admin_socket import decode, follow
from gatepost.faults import InputOutputError
from gatepost.status import socket_of
from gatepost.terminal import cell
from sidecar.recent import RecentDecision
from sidecar.status import SpoolReport

_LINES: Final = 20
_SPOOL: Final = "/spool/status?follow=1"
_DECISIONS: Final = "/decisions?follow=1"
_COLOURS: Final = {"allow": "green", "deny": "red", "approval_required": "yellow"}


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
            return Group(spool_panel(self._spool), decision_table(list(self._decisions)))


def decision_table(decisions: list[RecentDecision]) -> Table:
    """One row per decision, oldest first."""
    table = Table(
        "time", "agent", "person", "asked for", "data", "outcome", "reason", box=None, expand=True
    )
    for one in decisions:
        asked = one.tool or one.model or one.operation
        table.add_row(
            cell(one.time[11:23]),
            cell(one.agent or "-"),
            cell(one.person or "-"),
            cell(f"{one.route}: {asked}"),
            cell(" ".join([one.level or "-", *one.categories])),
            cell(one.outcome, _COLOURS.get(one.outcome, "magenta")),
            cell(one.reason),
        )
    return table


def spool_panel(report: SpoolReport | None) -> Panel:
    """How full the spool is, how far it is shipped, and what is wrong."""
    if report is None:
        return Panel("waiting for the daemon", title="spool")
    spool, shipping = report.spool, report.shipping
    full = spool.bytes_used / spool.bytes_max if spool.bytes_max else 0.0
    text = cell(
        f"{spool.state}  {full:5.1%} of {spool.bytes_max / 2**20:.0f} MiB   "
        f"durable {spool.durable_seq}   acknowledged {spool.acked_seq}   "
        f"to ship {spool.backlog_records}   commit p50 {spool.commit.p50_us or 0} µs   "
        f"sync p99 {spool.commit.sync_p99_us or 0} µs   "
        f"shipping {shipping.state}, circuit {shipping.circuit}"
    )
    alarms = list(report.alarms)
    if shipping.last_error and shipping.consecutive_failures:
        alarms.append(shipping.last_error)
    if alarms:
        text.append("\n").append_text(cell("; ".join(alarms), "red"))
    return Panel(text, title=f"spool of {spool.instance}")


@click.command()
@click.option("--config", type=click.Path(path_type=Path), help="The daemon's configuration.")
@click.option("--socket", help="The daemon's admin socket, instead of --config.")
@click.option("--json", "as_json", is_flag=True, help="One JSON line per change of the spool.")
@click.option("--decisions", is_flag=True, help="With --json: one line per decision instead.")
def tail(config: Path | None, socket: str | None, as_json: bool, decisions: bool) -> None:
    """Watch a daemon's spool and decisions until interrupted."""
    if decisions and not as_json:
        raise click.UsageError("--decisions goes with --json; the live view shows both")
    path = socket_of(config, socket)
    # Ctrl-C is how it ends.
    with suppress(KeyboardInterrupt):
        if as_json:
            for line in follow(path, _DECISIONS if decisions else _SPOOL):
                click.echo(line.rstrip())
        else:
            _watch(path)


def _watch(path: str) -> None:
    view = View()
    threading.Thread(target=_feed_decisions, args=(path, view), daemon=True).start()
    with Live(view, console=Console(), refresh_per_second=8):
        for line in follow(path, _SPOOL):
            view.note(decode(path, line, SpoolReport))


def _feed_decisions(path: str, view: View) -> None:
    # The other thread follows the same daemon, and says what is wrong with it.
    with suppress(InputOutputError):
        for line in follow(path, _DECISIONS):
            view.add(decode(path, line, RecentDecision))
