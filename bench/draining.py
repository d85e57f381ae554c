"""How fast a backlog gets into a live record store, and what both ends pay for it.

The store is the real process on SQLite, reached over loopback HTTP; it checks every signature and
the chain, and answers when its own disk holds the batch.

Owns: filling a certified instance's spool and shipping it. Refuses: everything of the shipper.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import anyio
import msgspec

from bench.daemon import cpu_us
from bench.drafts import Drafts
from bench.instance import certified_instance
from bench.stage import Stage
from gatepost.stack import operator
from gateway.io.clock import SystemClock
from gateway.limits import QUERY_PAGE_MAX
from sidecar.parts import Parts
from spool.spool import Spool

_FILLERS = 64


class Drained(msgspec.Struct, frozen=True):
    """``stored``: of the instance, counted in the store afterwards. CPU is user and system."""

    records: int
    stored: int
    records_per_second: float
    sender_cpu_us_per_record: float
    store_cpu_us_per_record: float


async def fill(spool: Spool, drafts: Drafts, records: int, advance: Callable[[int], None]) -> int:
    """Make ``records`` records durable, or as many as there is room for; returns how many."""
    left = records
    done = 0

    async def filler() -> None:
        nonlocal left, done
        while left > 0 and spool.state[0] in ("ok", "pressure"):
            left -= 1
            await spool.commit(spool.reserve(1), drafts.decision())
            done += 1
            advance(1)

    async with anyio.create_task_group() as tasks:
        for _ in range(_FILLERS):
            tasks.start_soon(filler)
    return done


async def measure_drain(ready: Stage, records: int, advance: Callable[[int], None]) -> Drained:
    """Fill a new instance's spool with ``records`` records and ship them all."""
    with ready.event_log("drain") as events:
        async with certified_instance(ready.config(), events) as parts:
            return await _measure(ready, parts, records, advance)


async def _measure(
    ready: Stage, parts: Parts, records: int, advance: Callable[[int], None]
) -> Drained:
    drafts = Drafts(parts.scribe, SystemClock())
    filled = await fill(parts.spool, drafts, records, advance)
    wanted = parts.spool.backlog_records
    sender, store = time.process_time(), cpu_us(ready.central.pid)
    began = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(parts.shipper.run)
        seen = 0
        while parts.spool.backlog_records:
            seen = await parts.spool.wait_change(seen)
        seconds = time.perf_counter() - began
        sender, store = time.process_time() - sender, cpu_us(ready.central.pid) - store
        tasks.cancel_scope.cancel()
    assert filled + 1 == wanted, "the start record is one of those that were shipped"
    stored = await anyio.to_thread.run_sync(partial(_stored, ready, parts.instance.id))
    return Drained(
        records=wanted,
        stored=stored,
        records_per_second=wanted / seconds,
        sender_cpu_us_per_record=sender / wanted * 1e6,
        store_cpu_us_per_record=store / wanted,
    )


class _Page(msgspec.Struct):
    items: list[msgspec.Raw]
    next_cursor: str | None


def _stored(ready: Stage, instance: str) -> int:
    """How many records of ``instance`` the store lists."""
    client = operator(ready.home, ready.central_url)
    asked: dict[str, str | int] = {"instance": instance, "limit": QUERY_PAGE_MAX}
    count = 0
    while True:
        page = msgspec.json.decode(client.get("/v1/records", asked), type=_Page)
        count += len(page.items)
        if page.next_cursor is None:
            return count
        asked["cursor"] = page.next_cursor
