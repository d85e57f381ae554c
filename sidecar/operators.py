"""What operators and probes ask a daemon over HTTP: the admin socket and the probe port.

Owns: ``/status``, ``/policy/status``, ``POST /policy/refresh``, ``/spool/status`` (one line of
JSON per change with ``?follow=1``) and ``/decisions`` (the same) on the admin socket; ``/livez``,
``/readyz``, ``/metrics`` on the probe port, and nothing else. Refuses: changing anything but
asking for a policy refresh; liveness never depends on the central services.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
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
_METHODS: Final = MappingProxyType(
    {
        "/status": ("GET",),
        "/policy/status": ("GET",),
        "/policy/refresh": ("POST",),
        "/spool/status": ("GET",),
        "/decisions": ("GET",),
    }
)
_FOLLOWED: Final = frozenset({"/spool/status", "/decisions"})
_PROBED: Final = MappingProxyType(dict.fromkeys(("/livez", "/readyz", "/metrics"), ("GET", "HEAD")))

FOLLOW_SECONDS: Final = 1.0
"""A follower gets a line at least this often, if only an empty one, so that a silent daemon and a
dead one differ, and one who hung up is noticed."""


class Operators:
    """Serves the admin socket. ``refresh`` asks for policy now and says what came of it."""

    def __init__(
        self,
        status: Callable[[], DaemonStatus],
        refresh: Callable[[], Awaitable[str]],
        recent: RecentDecisions,
        spool_changed: Callable[[int], Awaitable[int]],
        follow_seconds: float = FOLLOW_SECONDS,
    ) -> None:
        self._status = status
        self._refresh = refresh
        self._recent = recent
        self._spool_changed = spool_changed
        self._follow_seconds = follow_seconds

    async def handle(self, incoming: Incoming) -> None:
        """Answer one operator's request."""
        head = incoming.head
        await incoming.read_body(_BODY_BYTES_MAX)
        if not await _is_served(incoming, _METHODS):
            return
        if head.query not in ("", "follow=1") or (head.query and head.path not in _FOLLOWED):
            await _plain(incoming, 400, "the only query is follow=1\n")
            return
        match head.path, head.query:
            case "/status", _:
                await _json(incoming, self._status())
            case "/policy/status", _:
                await _json(incoming, self._status().policy)
            case "/policy/refresh", _:
                await _json(incoming, {"result": await self._refresh()})
            case "/spool/status", "":
                await _json(incoming, self._spool_report())
            case "/spool/status", _:
                await self._follow_spool(incoming)
            case "/decisions", "":
                await _json(incoming, self._recent.newest())
            case "/decisions", _:
                await self._follow_decisions(incoming)

    def _spool_report(self) -> SpoolReport:
        status = self._status()
        return SpoolReport(
            spool=status.spool,
            shipping=status.shipping,
            recovery=status.recovery,
            alarms=status.alarms,
        )

    async def _follow_spool(self, incoming: Incoming) -> None:
        await incoming.send_head(200, _LINES, None)
        while True:
            report = self._spool_report()
            await incoming.send(msgspec.json.encode(report) + b"\n")
            with anyio.move_on_after(self._follow_seconds):
                await self._spool_changed(report.spool.changes)

    async def _follow_decisions(self, incoming: Incoming) -> None:
        await incoming.send_head(200, _LINES, None)
        seen = self._recent.count
        fresh = self._recent.newest()
        while True:
            # Without news an empty line: sending it also finds out who has hung up.
            lines = [msgspec.json.encode(decision) + b"\n" for decision in fresh]
            await incoming.send(b"".join(lines) or b"\n")
            with anyio.move_on_after(self._follow_seconds):
                await self._recent.wait_beyond(seen)
            fresh = self._recent.since(seen)
            seen = self._recent.count


class Probes:
    """Serves the probe port: for the kubelet and for Prometheus."""

    def __init__(self, status: Callable[[], DaemonStatus], metrics: Metrics) -> None:
        self._status = status
        self._metrics = metrics

    async def handle(self, incoming: Incoming) -> None:
        """Answer one probe."""
        if not await _is_served(incoming, _PROBED):
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


async def _is_served(incoming: Incoming, methods: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether the path takes the method; if not, the request is answered."""
    allowed = methods.get(incoming.head.path)
    if allowed is None:
        await _plain(incoming, 404, "unknown path\n")
        return False
    if incoming.head.method not in allowed:
        allow = (("allow", ", ".join(allowed)),)
        await incoming.answer(
            Answer(status=405, headers=_TEXT + allow, body=f"{allowed[0]} only\n".encode())
        )
        return False
    return True


async def _json(incoming: Incoming, value: object) -> None:
    body = msgspec.json.encode(value) + b"\n"
    await incoming.answer(Answer(status=200, headers=_JSON, body=body))


async def _plain(incoming: Incoming, status: int, text: str) -> None:
    await incoming.answer(Answer(status=status, headers=_TEXT, body=text.encode()))
