"""``gatepost run``: the daemon in the foreground.

Owns: the command and the announcement. Refuses: the event loop and signals (``foreground.py``).
"""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
import click
import msgspec

from gatepost import foreground
from sidecar.app import Announcement, Daemon
from sidecar.eventlog import EventLog
from sidecar.outside import Outside


@click.command()
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    required=True,
    help="The daemon's TOML configuration.",
)
def run(path: Path) -> None:
    """Run the daemon until SIGTERM. Exit 0 drained, 74 disk failed, 75 unsent, 78 configuration."""
    config = foreground.load(path)

    async def live(outside: Outside, log: EventLog, stop: anyio.Event) -> int:
        return await Daemon(config, outside, log, _announce).run(stop)

    raise SystemExit(foreground.run_daemon(config, live))


def _announce(announcement: Announcement) -> None:
    sys.stdout.write(msgspec.json.encode(announcement).decode() + "\n")
    sys.stdout.flush()
