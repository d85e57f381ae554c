"""``gatepost drain``: ship and delete what dead instances left on a volume, without serving calls.

Owns: the command, its time limit and what is shown: a bar on a terminal, else a line of JSON per
change. Refuses: the draining (``sidecar/drain.py``), the event loop and signals
(``foreground.py``).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import anyio
import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from gatepost import foreground
from gatepost.terminal import cell, plain
from sidecar.config import SidecarConfig
from sidecar.drain import Drainer, DrainProgress
from sidecar.eventlog import EventLog
from sidecar.outside import Outside

_EVERY_SECONDS: Final = 30.0
_GRACE_SHARE: Final = 0.2
"""Of a time limit: what an orderly end may use for shipping at the most."""
_CLOSING_SHARE: Final = 0.05
"""Of a time limit: for closing the spool and the connections after that."""

Tell = Callable[[DrainProgress], None]


@click.command()
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    required=True,
    help="The TOML configuration of the drainer: the daemon's own form.",
)
@click.option("--watch", is_flag=True, help="Go on, and look again, until SIGTERM.")
@click.option(
    "--every-seconds",
    type=click.FloatRange(min=0.1),
    help=f"Between two looks of --watch; {_EVERY_SECONDS:.0f} if not given.",
)
@click.option(
    "--timeout-seconds",
    type=click.FloatRange(min=0.5),
    help="End by then at the latest, with 75 if something is left.",
)
@click.option("--admin-socket", help="Serve the status here, for `gatepost status --socket`.")
@click.option("--json", "as_json", is_flag=True, help="Lines of JSON, on a terminal too.")
def drain(
    path: Path,
    watch: bool,
    every_seconds: float | None,
    timeout_seconds: float | None,
    admin_socket: str | None,
    as_json: bool,
) -> None:
    """Ship and delete what dead instances left on the spool's volume.

    Exit 0: nothing dead is left there. 75: something is. 74: the disk failed. 78: configuration.
    Directories that a live process holds are not touched.
    """
    if watch and timeout_seconds is not None:
        raise click.UsageError("--timeout-seconds is not for --watch, which SIGTERM ends")
    if every_seconds is not None and not watch:
        raise click.UsageError("--every-seconds needs --watch")
    config = _in_time(foreground.load(path), timeout_seconds)
    every = (every_seconds or _EVERY_SECONDS) if watch else None

    async def live(outside: Outside, log: EventLog, stop: anyio.Event) -> int:
        drainer = Drainer(
            config, outside, log, tell, every_seconds=every, admin_socket=admin_socket
        )
        if timeout_seconds is None:
            return await drainer.run(stop)
        async with anyio.create_task_group() as tasks:
            until_end = timeout_seconds * (1 - _CLOSING_SHARE) - config.grace_seconds
            tasks.start_soon(_stop_after, until_end, stop)
            code = await drainer.run(stop)
            tasks.cancel_scope.cancel()
        return code

    with _shown(config, as_json) as tell:
        code = foreground.run_daemon(config, live)
    raise SystemExit(code)


def _in_time(config: SidecarConfig, timeout_seconds: float | None) -> SidecarConfig:
    """``config`` with a grace period that lies within the time limit."""
    if timeout_seconds is None:
        return config
    grace_seconds = min(config.grace_seconds, timeout_seconds * _GRACE_SHARE)
    return msgspec.structs.replace(config, grace_seconds=grace_seconds)


async def _stop_after(seconds: float, stop: anyio.Event) -> None:
    await anyio.sleep(seconds)
    stop.set()


@contextmanager
def _shown(config: SidecarConfig, as_json: bool) -> Iterator[Tell]:
    """How progress is shown. What is left stands on standard error, whichever way."""
    console = Console()
    if as_json or not console.is_terminal:
        yield _line
        return
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=console
    ) as progress:
        yield Bar(progress, config.spool.directory).tell


def _line(seen: DrainProgress) -> None:
    sys.stdout.write(msgspec.json.encode(seen).decode() + "\n")
    sys.stdout.flush()
    if seen.code is not None:
        for text in left_texts(seen):
            click.echo(f"gatepost: {text}", err=True)


class Bar:
    """Progress on a terminal: records shipped of those found, and at the end what is left."""

    def __init__(self, progress: Progress, directory: str) -> None:
        self._progress = progress
        self._directory = directory
        self._task = progress.add_task("looking", total=None)

    def tell(self, seen: DrainProgress) -> None:
        total = seen.records if seen.records or seen.phase != "enrolling" else None
        self._progress.update(
            self._task, description=seen.phase, total=total, completed=seen.shipped
        )
        if seen.code is None:
            return
        console = self._progress.console
        console.print(cell(f"{self._directory}: {summary(seen)}"))
        for text in left_texts(seen):
            console.print(cell(text, "yellow"))


def summary(seen: DrainProgress) -> str:
    """One line about a drain that has ended."""
    used = f"; {seen.in_use} in use by live processes" if seen.in_use else ""
    if not seen.found and not seen.left:
        return f"nothing dead on the volume{used}"
    gone = f"{seen.gone} of {seen.found} dead instances shipped and removed"
    return f"{gone}, {seen.shipped} of {seen.records} records{used}"


def left_texts(seen: DrainProgress) -> Iterator[str]:
    """One line for each directory that is left."""
    for left in seen.left:
        records = "" if left.records is None else f"{left.records} records, "
        yield f"left: {left.instance}: {records}{plain(left.why)}"
