"""Operators and probes of a simulated world: they ask for everything that the daemon shows.

Owns: asking on the admin socket and the probe port, and holding the answers against each other
and against the daemon's own status. Refuses: changing anything, but for asking for policy now.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

import anyio
import msgspec

from policy_cache.status import PolicyStatus
from sidecar.recent import RecentDecision
from sidecar.status import DaemonStatus, SpoolReport
from tests.sim.configuration import ADMIN, PROBE
from tests.sim.ledger import Ledger
from tests.sim.net import Host, Refused

_REFRESHED: Final = ("activated", "refreshed", "unchanged", "not_modified", "too_soon")
_NOT_REFRESHED: Final = ("unreachable: ", "rejected: ")
_PATIENCE_SECONDS: Final = 10.0
_FOLLOWED_SECONDS: Final = 20.0
_LOST: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)


class _Refresh(msgspec.Struct):
    result: str


class Operator:
    """``status``: of the daemon now, None while there is none that listens."""

    def __init__(
        self,
        host: Host,
        ledger: Ledger,
        status: Callable[[], DaemonStatus | None],
        chance: random.Random,
    ) -> None:
        self._host = host
        self._ledger = ledger
        self._status = status
        self._chance = chance

    async def look(self) -> None:
        """Ask for one thing."""
        looks = (
            self._see_status,
            self._see_policy,
            self._refresh,
            self._see_spool,
            self._follow_spool,
            self._see_decisions,
            self._follow_decisions,
            self._see_errors,
            self._probe,
            self._see_metrics,
        )
        await self._chance.choice(looks)()

    # -- operators

    async def _see_status(self) -> None:
        body = await self._get(ADMIN, "/status", 200)
        if body is not None:
            status = msgspec.json.decode(body, type=DaemonStatus)
            if status.ready == bool(status.not_ready):
                self._complain(f"ready {status.ready}, because of {status.not_ready}")

    async def _see_policy(self) -> None:
        body = await self._get(ADMIN, "/policy/status", 200)
        if body is not None:
            msgspec.json.decode(body, type=PolicyStatus)

    async def _refresh(self) -> None:
        body = await self._get(ADMIN, "/policy/refresh", 200, method="POST")
        if body is not None:
            result = msgspec.json.decode(body, type=_Refresh).result
            if result not in _REFRESHED and not result.startswith(_NOT_REFRESHED):
                self._complain(f"a refresh came to {result!r}")

    async def _see_spool(self) -> None:
        body = await self._get(ADMIN, "/spool/status", 200)
        if body is not None:
            self._check_reports([msgspec.json.decode(body, type=SpoolReport)])

    async def _follow_spool(self) -> None:
        lines = await self._follow("/spool/status")
        self._check_reports([msgspec.json.decode(line, type=SpoolReport) for line in lines])

    def _check_reports(self, reports: list[SpoolReport]) -> None:
        """What one follower sees of one instance only grows, and nothing is ahead of the disk."""
        before = None
        for one in (report.spool for report in reports):
            if not one.acked_seq <= one.durable_seq <= one.last_seq:
                self._complain(f"acked {one.acked_seq}, durable {one.durable_seq}")
            now = (one.changes, one.last_seq, one.durable_seq, one.acked_seq)
            if before is not None and any(a > b for a, b in zip(before, now, strict=True)):
                self._complain(f"the spool went back from {before} to {now}")
            before = now

    async def _see_decisions(self) -> None:
        body = await self._get(ADMIN, "/decisions", 200)
        if body is not None:
            self._check_decisions(msgspec.json.decode(body, type=list[RecentDecision]))

    async def _follow_decisions(self) -> None:
        lines = await self._follow("/decisions")
        self._check_decisions([msgspec.json.decode(one, type=RecentDecision) for one in lines])

    def _check_decisions(self, seen: list[RecentDecision]) -> None:
        """Each is of a call that was made, and none is shown twice to one follower."""
        ids = [one.id for one in seen]
        if len(set(ids)) != len(ids):
            self._complain("a decision is shown twice")
        for one in seen:
            if one.model is not None and one.model not in self._ledger.calls:
                self._complain(f"a decision on {one.model}, which nobody asked for")

    async def _see_errors(self) -> None:
        await self._get(ADMIN, "/nowhere", 404)
        await self._get(ADMIN, "/status", 405, method="DELETE")
        await self._get(ADMIN, "/status?follow=1", 400)

    # -- probes

    async def _probe(self) -> None:
        if await self._get(PROBE, "/livez", 200) not in (None, b"ok\n"):
            self._complain("alive, and does not say so")
        status = self._status()
        ready = await self._get(PROBE, "/readyz", None)
        after = self._status()
        if ready is None or status is None or after is None:
            return
        # It may have changed while the question was on its way.
        if status.ready == after.ready and (ready == b"ok\n") != status.ready:
            self._complain(f"ready {status.ready}, and /readyz says {ready!r}")

    async def _see_metrics(self) -> None:
        body = await self._get(PROBE, "/metrics", 200)
        status = self._status()
        if body is None or status is None:
            return
        shown = dict(line.rsplit(" ", 1) for line in body.decode().splitlines() if line[0] != "#")
        for outcome, count in status.counters.decisions.items():
            told = float(shown.get(f'gatepost_decisions_total{{outcome="{outcome}"}}', 0))
            if told > count:
                self._complain(f"{told} decisions {outcome} in metrics, {count} in the status")

    # -- asking

    async def _get(
        self, address: str, path: str, wanted: int | None, *, method: str = "GET"
    ) -> bytes | None:
        """The body of a whole answer, None if none came."""
        answer = b""
        with anyio.move_on_after(_PATIENCE_SECONDS):
            answer = await self._read(address, f"{method} {path}", close=True)
        head, end, body = answer.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
        if not end or not length or len(body) < int(length):
            return None
        status = int(head[9:12])
        if wanted is not None and status != wanted:
            self._complain(f"{method} {path} is answered with {status}")
        return body

    async def _follow(self, path: str) -> list[bytes]:
        """Lines that came in a while; the last one may be cut, and is left out."""
        self._heard = b""
        with anyio.move_on_after(self._chance.random() * _FOLLOWED_SECONDS):
            await self._read(ADMIN, f"GET {path}?follow=1", close=False)
        chunks = self._heard.partition(b"\r\n\r\n")[2]
        lines = [line.strip() for line in chunks.split(b"\n")[:-1]]
        return [line for line in lines if line.startswith(b"{") and line.endswith(b"}")]

    async def _read(self, address: str, line: str, *, close: bool) -> bytes:
        try:
            stream = await self._host.connect(address)
        except Refused:
            return b""
        self._heard = b""
        ending = "connection: close\r\n" if close else ""
        try:
            await stream.send(f"{line} HTTP/1.1\r\nhost: x\r\n{ending}\r\n".encode())
            while True:
                self._heard += await stream.receive()
        except _LOST:
            return self._heard
        finally:
            stream.close()

    def _complain(self, text: str) -> None:
        self._ledger.violate("status", text)
