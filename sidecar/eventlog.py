"""The daemon's log: JSON lines on stderr with fixed event names.

Owns: the event names, the rate limit per event, and what may stand in a line. Refuses: bodies,
header values, queries and persons; values are words, numbers and paths of our own. A line is
printable ASCII: what a terminal could take for a command is escaped.
"""

from __future__ import annotations

import json
import sys
from typing import Final, TextIO

import anyio

from gateway.ports import WallClock
from gateway.rate import KeyedBuckets
from gateway.timestamp import time_text

EVENTS: Final = frozenset(
    {
        "starting",
        "listening",
        "draining",
        "drained",
        "stopped",
        "enrolled",
        "enrolment_failed",
        "certificate_rotated",
        "certificate_refused",
        "policy_activated",
        "policy_rejected",
        "policy_locked",
        "policy_ageing",
        "policy_unreachable",
        "policy_persist_failed",
        "policy_report_failed",
        "spool_failed",
        "spool_full",
        "recovered",
        "recovery_failed",
        "chain_head_failed",
        "store_lost_records",
        "exchange_failed",
        "forward_failed",
        "completion_lost",
        "record_lost",
        "connection_failed",
        "clock_suspect",
        "keys_unreadable",
        "keys_reloaded",
        "running_as_root",
    }
)
_LINES_PER_SECOND_MAX: Final = 5
_LINES_BURST_MAX: Final = 20
_VALUE_CHARACTERS_MAX: Final = 300

LineValue = str | int | float | bool | None


class EventLog:
    """Writes one JSON object per line: time, level, event, and the event's own members."""

    def __init__(self, clock: WallClock, stream: TextIO | None = None) -> None:
        self._clock = clock
        self._stream = sys.stderr if stream is None else stream
        self._buckets: KeyedBuckets[str] = KeyedBuckets(
            _LINES_PER_SECOND_MAX, _LINES_BURST_MAX, len(EVENTS)
        )
        self._held_back: dict[str, int] = {}

    def info(self, event: str, **values: LineValue) -> None:
        self._write("info", event, values)

    def warning(self, event: str, **values: LineValue) -> None:
        self._write("warning", event, values)

    def error(self, event: str, **values: LineValue) -> None:
        self._write("error", event, values)

    def fault(self, event: str, error: BaseException) -> None:
        """An unexpected exception: its type and place, never its text, which may quote input."""
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        where = "" if place is None else f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}"
        self._write("error", event, {"error": type(error).__name__, "where": where[-80:]})

    def _write(self, level: str, event: str, values: dict[str, LineValue]) -> None:
        if event not in EVENTS:
            raise ValueError(f"unknown log event {event!r}; add it to eventlog.EVENTS")
        if not self._buckets.take(event, anyio.current_time()):
            self._held_back[event] = self._held_back.get(event, 0) + 1
            return
        line: dict[str, LineValue] = {
            "time": time_text(self._clock.wall_us()),
            "level": level,
            "event": event,
        }
        for name, value in values.items():
            line[name] = _bounded(value) if isinstance(value, str) else value
        held_back = self._held_back.pop(event, 0)
        if held_back:
            line["held_back"] = held_back
        try:
            self._stream.write(json.dumps(line, separators=(",", ":")) + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            # A full log volume or a closed pipe must not end what the line only reports.
            self._held_back[event] = held_back + 1


def _bounded(text: str) -> str:
    """``text``, not too long, and without the halves of characters that file names may have."""
    return text[:_VALUE_CHARACTERS_MAX].encode("utf-8", "backslashreplace").decode()
