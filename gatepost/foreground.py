"""A daemon in the foreground of this process: its configuration, event loop, signals, exit code.

Owns: what ``gatepost run`` and ``gatepost drain`` have in common. Refuses: forking and writing
pid files; the kubelet, systemd or a shell does that better.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

import anyio
import click

from gateway.errors import ConfigInvalid, ListenFailed, TurnAway
from sidecar.config import SidecarConfig, read
from sidecar.eventlog import EventLog
from sidecar.lifecycle import EXIT_CONFIGURATION, EXIT_DISK_FAILED
from sidecar.outside import Outside, real_outside

SWITCH_SECONDS: Final = 0.001
"""How long the disk thread may wait for a busy event loop to hand over the interpreter. Beside a
loop that never waits, a synced write took 8 ms with the default of 5 ms, 1.5 ms with this; in the
benchmark, whose loop waits often, the two cannot be told apart."""

Live = Callable[[Outside, EventLog, anyio.Event], Awaitable[int]]
"""The life of a daemon until the event is set; returns its exit code."""


def load(path: Path) -> SidecarConfig:
    """The configuration in ``path``; one that cannot be used ends the command with 78."""
    try:
        return read(str(path))
    except OSError as error:
        click.echo(f"gatepost: {path}: {error.strerror}", err=True)
        raise SystemExit(EXIT_CONFIGURATION) from error
    except ConfigInvalid as error:
        click.echo(f"gatepost: {error}", err=True)
        raise SystemExit(EXIT_CONFIGURATION) from error


def run_daemon(config: SidecarConfig, live: Live) -> int:
    """Run ``live`` until it ends by itself, or SIGTERM or SIGINT ends it; the exit code."""
    sys.setswitchinterval(SWITCH_SECONDS)
    # What was imported lives as long as the process. To look for garbage in it would stop the event
    # loop for 50 ms each time; frozen, it is not looked at.
    gc.freeze()
    try:
        code = anyio.run(_live, config, live, backend_options={"use_uvloop": _has_uvloop()})
    finally:
        gc.unfreeze()
    _drop_what_cannot_be_written()
    return code


def _drop_what_cannot_be_written() -> None:
    """A log on a full volume must not change the exit code: Python ends with 120 where the last
    lines of a standard stream cannot be written (docs.python.org/3/library/sys.html#sys.exit)."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


async def _live(config: SidecarConfig, live: Live) -> int:
    outside = real_outside(config)
    log = EventLog(outside.clock)
    if os.geteuid() == 0:
        log.warning("running_as_root", uid=0)
    stop = anyio.Event()
    code = EXIT_CONFIGURATION
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_wait_for_signal, stop)
        try:
            code = await live(outside, log, stop)
        except* (ConfigInvalid, ListenFailed) as errors:
            for error in _leaves(errors):
                click.echo(f"gatepost: {error}", err=True)
        except* TurnAway as failures:
            # Only the disk turns a start away: nothing was done yet.
            for error in _leaves(failures):
                click.echo(f"gatepost: {error}", err=True)
            code = EXIT_DISK_FAILED
        tasks.cancel_scope.cancel()
    return code


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    """The plain exceptions in ``group``: task groups nest."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


async def _wait_for_signal(stop: anyio.Event) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            stop.set()


def _has_uvloop() -> bool:
    try:
        import uvloop  # noqa: F401 - only its presence matters; not on every platform
    except ImportError:
        return False
    return True
