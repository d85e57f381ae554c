"""Counts of one process since its start: decisions, completions and turn-aways.

Owns: the counters that heartbeat and seal records carry. Refuses: labels that come from a
request; codes are the closed table's and listeners are configuration's.
"""

from __future__ import annotations

from gateway.documents import Counters


class Tally:
    """Cumulative counters; ``counters()`` is a snapshot for a record, a metric or a status."""

    def __init__(self) -> None:
        self._decisions: dict[str, int] = {}
        self._completions: dict[str, int] = {}
        self._turned_away: dict[str, dict[str, int]] = {}
        self.turned_away_total = 0

    def __repr__(self) -> str:
        return f"Tally(decisions={self._decisions}, turned_away={self.turned_away_total})"

    def decided(self, outcome: str) -> None:
        self._decisions[outcome] = self._decisions.get(outcome, 0) + 1

    def completed(self, outcome: str) -> None:
        self._completions[outcome] = self._completions.get(outcome, 0) + 1

    def turned_away(self, code: str, listener: str) -> None:
        by_listener = self._turned_away.setdefault(code, {})
        by_listener[listener] = by_listener.get(listener, 0) + 1
        self.turned_away_total += 1

    def counters(self) -> Counters:
        """The counts so far, keys sorted so that equal counts have equal bytes."""
        return Counters(
            decisions=dict(sorted(self._decisions.items())),
            completions=dict(sorted(self._completions.items())),
            turned_away={
                code: dict(sorted(by_listener.items()))
                for code, by_listener in sorted(self._turned_away.items())
            },
        )
