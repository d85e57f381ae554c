"""What operators and probes ask a daemon over HTTP: the admin socket and the probe port.

Owns: ``/status``, ``/policy/status``, ``POST /policy/refresh``, ``/spool/status`` (one line of
JSON per change with ``?follow=1``), ``/decisions?follow=1`` on the admin socket; ``/livez``,
``/readyz``, ``/metrics`` on the probe port, and nothing else. Refuses: changing anything but
asking for a policy refresh; liveness never depends on the central services.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import anyio
import msgspec

from gateway.wire import Answer, Incoming
from sidecar.metrics import Metrics
from sidecar.recent import RecentDecisions
from sidecar.status import DaemonStatus, SpoolReport

_JSON: Final = (("content-type", "application/json"),)
_TEXT: Final = (("content-type", "text/plain; charset=utf-8"),)
_LINES: Final = (("content-type", "application/x-ndjson"),)
_METRICS: Final = (("content-type", "text/plain; version=0.0.4; charset=utf-8"),)
_BODY_BYTES_MAX: Final = 1024
FOLLOW_SECONDS: Final = 1.0
"""A follower gets a line at least this often, so that a silent daemon and a dead one differ."""


class Operators:
    """Serves the admin socket. ``refresh`` asks for policy now and says what came of it."""

    def __init__(
        self,
        status: Callable[[], DaemonStatus],
        refresh: Callable[[], Awaitable[str]],
        recent: RecentDecisions,
        spool_changed: Callable[[int], Awaitable[int]],
    ) -> None:
        self._status = status
        self._refresh = refresh
        self._recent = recent
        self._spool_changed = spool_changed

    async def handle(self, incoming: Incoming) -> None:
        """Answer one operator's request."""
        head = incoming.head
        await incoming.read_body(_BODY_BYTES_MAX)
        follow = head.query == "follow=1"
        match head.method, head.path:
            case "GET", "/status":
                await _json(incoming, self._status())
            case "GET", "/policy/status":
                await _json(incoming, self._status().policy)
            case "POST", "/policy/refresh":
                await _json(incoming, {"result": await self._refresh()})
            case "GET", "/spool/status" if follow:
                await self._follow_spool(incoming)
            case "GET", "/spool/status":
                await _json(incoming, self._spool_report())
            case "GET", "/decisions" if follow:
                await self._follow_decisions(incoming)
            case "GET", "/decisions":
                await _json(incoming, self._recent.newest())
            case _:
                await _plain(incoming, 404, "unknown path\n")

    def _spool_report(self) -> SpoolReport:
        status = self._status()
        return SpoolReport(spool=status.spool, shipping=status.shipping)

    async def _follow_spool(self, incoming: Incoming) -> None:
        await incoming.send_head(200, _LINES, None)
        while True:
            report = self._spool_report()
            await incoming.send(msgspec.json.encode(report) + b"\n")
            with anyio.move_on_after(FOLLOW_SECONDS):
                await self._spool_changed(report.spool.changes)

    async def _follow_decisions(self, incoming: Incoming) -> None:
        await incoming.send_head(200, _LINES, None)
        seen = self._recent.count
        for line in self._recent.newest():
            await incoming.send(msgspec.json.encode(line) + b"\n")
        while True:
            await self._recent.wait_beyond(seen)
            fresh = self._recent.since(seen)
            seen = self._recent.count
            for line in fresh:
                await incoming.send(msgspec.json.encode(line) + b"\n")


class Probes:
    """Serves the probe port: for the kubelet and for Prometheus."""

    def __init__(self, status: Callable[[], DaemonStatus], metrics: Metrics) -> None:
        self._status = status
        self._metrics = metrics

    async def handle(self, incoming: Incoming) -> None:
        """Answer one probe."""
        if incoming.head.method not in ("GET", "HEAD"):
            await _plain(incoming, 405, "GET only\n")
            return
        match incoming.head.path:
            case "/livez":
                await _plain(incoming, 200, "ok\n")
            case "/readyz":
                status = self._status()
                text = "ok\n" if status.ready else "".join(f"{why}\n" for why in status.not_ready)
                await _plain(incoming, 200 if status.ready else 503, text)
            case "/metrics":
                await incoming.answer(
                    Answer(status=200, headers=_METRICS, body=self._metrics.text())
                )
            case _:
                await _plain(incoming, 404, "unknown path\n")


async def _json(incoming: Incoming, value: object) -> None:
    body = msgspec.json.encode(value) + b"\n"
    await incoming.answer(Answer(status=200, headers=_JSON, body=body))


async def _plain(incoming: Incoming, status: int, text: str) -> None:
    await incoming.answer(Answer(status=status, headers=_TEXT, body=text.encode()))
