"""What a sync that takes seconds does to everything else in the daemon.

The whole daemon runs in this process, on the real disk with a port that delays each sync in the
disk thread. Calls wait for their records meanwhile, as they must; a second task measures how late
the event loop wakes it, and a third asks the probe over HTTP.

Owns: the stall and these three. Refuses: the daemon.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial

import anyio
import msgspec

from bench.load import Plan, request
from bench.ports import WatchedDisk
from bench.stage import Stage
from gateway.io.clock import SystemClock
from sidecar.app import Announcement, Daemon
from sidecar.eventlog import EventLog
from sidecar.outside import real_outside

_TICK_SECONDS = 0.005
_CALLS = 8
_PROBE = b"GET /livez HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"


class Stalled(msgspec.Struct, frozen=True):
    """``call_seconds``: the slowest call that waited for the stalled sync. Lags and probe times
    are the longest seen: during the stall, and in as long a time before it."""

    stall_seconds: float
    calls_answered: int
    call_seconds: float
    probes_answered: int
    probe_ms_max: float
    lag_ms_max: float
    lag_ms_max_before: float


class _Watch:
    """Wakes up every few milliseconds, and asks the probe in between."""

    def __init__(self, probe_port: int) -> None:
        self._probe_port = probe_port
        self.lag_seconds = 0.0
        self.probe_seconds = 0.0
        self.probes = 0

    async def tick(self) -> None:
        while True:
            due = time.perf_counter() + _TICK_SECONDS
            await anyio.sleep(_TICK_SECONDS)
            self.lag_seconds = max(self.lag_seconds, time.perf_counter() - due)

    async def probe(self) -> None:
        async with await anyio.connect_tcp("127.0.0.1", self._probe_port) as stream:
            while True:
                began = time.perf_counter()
                await stream.send(_PROBE)
                answer = await stream.receive()
                assert answer.startswith(b"HTTP/1.1 200"), answer
                self.probe_seconds = max(self.probe_seconds, time.perf_counter() - began)
                self.probes += 1
                await anyio.sleep(_TICK_SECONDS)


async def measure_stall(ready: Stage, stall_seconds: float) -> Stalled:
    """One daemon: a quiet time, then calls during a stalled sync."""
    config = ready.config()
    disk, stop = WatchedDisk(), anyio.Event()
    outside = msgspec.structs.replace(real_outside(config), disk=disk)
    announced: list[Announcement] = []
    listening = anyio.Event()

    def announce(announcement: Announcement) -> None:
        announced.append(announcement)
        listening.set()

    with ready.event_log("stalled") as events:
        daemon = Daemon(config, outside, EventLog(SystemClock(), events), announce)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(daemon.run, stop)
            await listening.wait()
            probe_port = announced[0].probe_port
            assert probe_port is not None
            target = str(ready.home.agent_socket)
            await _call(target, [])
            before = await _watched(probe_port, partial(anyio.sleep, stall_seconds))
            took: list[float] = []
            disk.stall_seconds = stall_seconds
            during = await _watched(probe_port, partial(_calls, target, took))
            disk.stall_seconds = 0.0
            stop.set()
    return Stalled(
        stall_seconds=stall_seconds,
        calls_answered=len(took),
        call_seconds=max(took),
        probes_answered=during.probes,
        probe_ms_max=during.probe_seconds * 1e3,
        lag_ms_max=during.lag_seconds * 1e3,
        lag_ms_max_before=before.lag_seconds * 1e3,
    )


async def _watched(probe_port: int, work: Callable[[], Awaitable[None]]) -> _Watch:
    watch = _Watch(probe_port)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch.tick)
        tasks.start_soon(watch.probe)
        await work()
        tasks.cancel_scope.cancel()
    return watch


async def _calls(target: str, took: list[float]) -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(_CALLS):
            tasks.start_soon(_call, target, took)


async def _call(target: str, took: list[float]) -> None:
    data = request(Plan(f"unix:{target}", "/openai/v1/chat/completions", 1, 1))
    began = time.perf_counter()
    async with await anyio.connect_unix(target) as stream:
        await stream.send(data)
        answer = await stream.receive()
    assert answer.startswith(b"HTTP/1.1 200"), answer
    took.append(time.perf_counter() - began)
