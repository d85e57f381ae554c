"""Hints that something in a directory has changed, from the kernel.

Owns: the one use of watchfiles. Refuses: promising anything: an event may be missed, come late or
mean nothing, so whoever listens reads on a timer too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import anyio


async def follow_changes(
    directories: Iterable[str], changed: Callable[[], None], failed: Callable[[str], None]
) -> None:
    """Call ``changed`` after each change right below one of ``directories``, until cancelled.

    Returns where the kernel cannot tell (out of inotify watches, a directory that is not there),
    after ``failed`` was told why. Uses a thread.
    """
    # Imported here: it costs 100 ms of a start, and most daemons have nothing to watch.
    from watchfiles import awatch

    stop = anyio.Event()
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_set_when_cancelled, stop)
            async for _ in awatch(
                *directories, recursive=False, watch_filter=None, stop_event=stop
            ):
                changed()
    except* OSError as errors:
        failed(str(errors.exceptions[0]))


async def _set_when_cancelled(stop: anyio.Event) -> None:
    # The watching thread looks at the event twenty times a second; without it, it would hold up
    # the end of the daemon until its own timeout of five seconds.
    try:
        await anyio.sleep_forever()
    finally:
        stop.set()
