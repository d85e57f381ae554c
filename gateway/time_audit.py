"""Whether the times that records claim can be true, by what the log knows.

A record was signed before it arrived, and after the checkpoints that its chain had seen by then. A
time outside of that, by more than a suspect clock explains, is false, whoever's clock it was.

Owns: this comparison, and how many records stand below a size. Refuses: times that no log bears
out: those are claims, and counted as such.
"""

from __future__ import annotations

from typing import Final

from gateway import limits, seal
from gateway.documents import LogSeen
from gateway.errors import DocumentInvalid
from gateway.log_audit import Mark, Place
from gateway.log_history import LogHistory
from gateway.timestamp import time_text
from gateway.verdicts import Tallies

_SLACK_US: Final = limits.CLOCK_SUSPECT_SECONDS * 1_000_000
_KEPT: Final = 1_000


class TimeAudit:
    """Tell it of every record that was placed. ``below``: a size that somebody pinned."""

    def __init__(self, tallies: Tallies, below: int) -> None:
        self._tallies = tallies
        self._below = below
        self._floors: dict[str, list[tuple[int, int]]] = {}
        self._timed = 0
        self._troubles: list[tuple[str, int]] = []
        self.placed_count = 0
        self.placed_below = 0

    def placed(self, mark: Mark, place: Place, history: LogHistory | None) -> None:
        """``history``: the tree so far, of a complete export."""
        self.placed_count += 1
        self.placed_below += place.index < self._below
        if mark.time_us is not None:
            self._compare(mark, mark.time_us, place)
        if mark.log_seen is not None and history is not None:
            floor_us = _floor(mark.log_seen, history)
            if floor_us is not None:
                self._floors.setdefault(mark.instance, []).append((mark.seq, floor_us))

    def finish(self, *, proved: bool) -> None:
        """``proved``: the leaves are those of the checkpoint. If not, no time is more than a
        claim."""
        if not proved:
            if self._timed:
                cause = "no checkpoint bears out when the records arrived"
                self._tallies.incomplete("time", cause, None)
            return
        self._tallies.count("time", self._timed)
        for cause, line in self._troubles:
            self._tallies.false("time", cause, line)

    def _compare(self, mark: Mark, time_us: int, place: Place) -> None:
        self._timed += 1
        if time_us > place.received_us + _SLACK_US:
            self._trouble(
                mark, f"{_text(time_us)} is later than it arrived, {_text(place.received_us)}"
            )
        for seq, floor_us in reversed(self._floors.get(mark.instance, ())):
            if seq < mark.seq:
                if time_us < floor_us - _SLACK_US:
                    cause = f"{_text(time_us)} is earlier than what its chain had seen by then"
                    self._trouble(mark, f"{cause}, a leaf of {_text(floor_us)}")
                return

    def _trouble(self, mark: Mark, cause: str) -> None:
        if len(self._troubles) < _KEPT:
            self._troubles.append((f"the record's time {cause}", mark.line))


def _floor(log_seen: LogSeen, history: LogHistory) -> int | None:
    """When the newest leaf arrived that ``log_seen`` covers, if it is true."""
    size = log_seen.size
    if not 0 < size <= history.size:
        return None
    try:
        root = seal.unbase64(log_seen.root, "root")
    except DocumentInvalid:
        return None
    return history.received_us(size - 1) if history.root(size) == root else None


def _text(time_us: int) -> str:
    try:
        return time_text(time_us)
    except (ValueError, OverflowError):
        return f"{time_us} µs"
