"""What several worlds amount to together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tests.sim.world import Outcome


class Totals:
    """Sums over ``outcomes``. ``unsynced``: crashes that came between a write and its sync, with
    written bytes that were not durable; ``names``: crashes between operations on directories;
    ``amended``: bodies that reached a provider otherwise than they were asked."""

    def __init__(self, outcomes: Sequence[Outcome]) -> None:
        self.calls = sum(one.calls for one in outcomes)
        self.crashes = sum(one.crashes for one in outcomes)
        self.cuts = sum(one.cuts for one in outcomes)
        self.hours = sum(one.hours for one in outcomes)
        before: Counter[str] = Counter()
        for one in outcomes:
            before.update(one.crashes_before)
        self.unsynced = before["sync"]
        self.names = before["names"]
        self.amended = sum(one.counts.get("bodies changed", 0) for one in outcomes)

    def __str__(self) -> str:
        return (
            f"all: {self.calls} calls, {self.crashes} crashes ({self.unsynced} between a write "
            f"and its sync, {self.names} between operations on directories), {self.cuts} "
            f"connections cut, {self.amended} bodies amended, {self.hours:.1f} virtual hours"
        )
