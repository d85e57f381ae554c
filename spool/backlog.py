"""What waits for the store: how many bytes of records, and for how long.

Four bytes are kept per waiting record, and one age per second, so that a backlog of any length
stays cheap.

Owns: this account of one live instance. Refuses: deciding what may be deleted (``shelf.py``).
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Sequence
from typing import Final

_AGE_STEP_SECONDS: Final = 1.0
_COMPACT_FROM: Final = 4096


class Backlog:
    """Durable records that the store has not acknowledged. Times are of the caller's clock.

    ``frame_bytes``: what their frames take in segments, in all.
    """

    def __init__(self) -> None:
        self.frame_bytes = 0
        self._sizes = array("I")
        self._done = 0
        self._first_seq = 0
        self._ages: deque[tuple[int, float]] = deque()

    def __repr__(self) -> str:
        return f"Backlog(records={len(self._sizes) - self._done}, bytes={self.frame_bytes})"

    def became_durable(self, now: float, durable_seq: int, sizes: Sequence[int]) -> None:
        """The records up to ``durable_seq``, with frames of these ``sizes``, wait from now on."""
        self._sizes.extend(sizes)
        self.frame_bytes += sum(sizes)
        if not self._ages or now - self._ages[-1][1] >= _AGE_STEP_SECONDS:
            self._ages.append((durable_seq, now))

    def acknowledged(self, through_seq: int) -> None:
        """Records up to ``through_seq`` no longer wait."""
        until = min(through_seq + 1 - self._first_seq, len(self._sizes))
        if until > self._done:
            self.frame_bytes -= sum(self._sizes[self._done : until])
            self._done = until
        if self._done >= _COMPACT_FROM or self._done == len(self._sizes):
            self._first_seq += self._done
            del self._sizes[: self._done]
            self._done = 0
        while self._ages and self._ages[0][0] <= through_seq:
            self._ages.popleft()

    def oldest_seconds(self, now: float) -> float | None:
        """How long the oldest record has waited, to the second; None without a backlog."""
        if self._done == len(self._sizes):
            return None
        return now - self._ages[0][1] if self._ages else 0.0
