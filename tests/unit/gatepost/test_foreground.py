"""A daemon in the foreground of its process."""

from __future__ import annotations

import gc

import anyio

from gatepost import foreground
from sidecar.config import parse
from sidecar.eventlog import EventLog
from sidecar.outside import Outside
from tests.unit.sidecar.config_text import SMALLEST, toml

EXIT_CODE = 3


def test_a_daemon_does_not_stop_to_look_for_garbage_in_what_it_imported() -> None:
    looked_at: list[int] = []

    async def live(outside: Outside, log: EventLog, stop: anyio.Event) -> int:
        looked_at.append(len(gc.get_objects()))
        return EXIT_CODE

    before = len(gc.get_objects())
    assert foreground.run_daemon(parse(toml(SMALLEST)), live) == EXIT_CODE
    assert looked_at[0] < before / 10
    assert len(gc.get_objects()) > before / 2, "what a process does afterwards is its own matter"
