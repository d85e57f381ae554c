"""What the store has acknowledged and lacks, of one live instance: a store restored from a backup.

Owns: which seqs are to be sent again, which came back, and which are not asked for again because
they never reached the store: it refused them, or they do not read back. Pure. Refuses: reading
and keeping segments (``source.py``, ``shelf.py``), and lowering what was acknowledged: that the
store said it had a record stays true, and is what shows that it lost it.
"""

from __future__ import annotations

from collections.abc import Iterable

from spool.ranges import NONE, SeqRanges


class Resend:
    """``lost``: acknowledged, and not in the store as far as is known; ``resent``: how many came
    back; ``ever``: whether anything was lost at all."""

    def __init__(self) -> None:
        self.lost = NONE
        self.resent = 0
        self.ever = False
        self._asked = NONE
        self._under_way = NONE
        self._withheld = NONE

    def __repr__(self) -> str:
        return f"Resend(pending={self.pending}, lost={self.lost})"

    @property
    def pending(self) -> SeqRanges:
        """What is to be sent again."""
        return self._asked | self._under_way

    def forgotten(self, missing: SeqRanges, held_from: int | None) -> SeqRanges:
        """The store lacks ``missing``; those of it that were not known to be lost.

        ``held_from``: records from this seq on are still on disk; None: none are.
        """
        lost = missing - self._withheld
        fresh = lost - self.lost
        self.lost |= lost
        self.ever = self.ever or bool(lost)
        if held_from is not None:
            self._asked |= lost.since(held_from) - self.pending
        return fresh

    def begin(self) -> int | None:
        """Take up what was asked for since; from which seq to read again, or None: read on."""
        if not self._asked:
            return None
        self._under_way, self._asked = self.pending, NONE
        return self._under_way.first

    def wants(self, seq: int) -> bool:
        """Whether an acknowledged record is to be sent all the same."""
        return seq in self._under_way

    def withhold(self, seq: int) -> None:
        """The store refuses the record at ``seq``, and it was set aside."""
        self._withheld |= SeqRanges([(seq, seq)])

    def resolved(self, sent: Iterable[int], acked_seq: int, through_seq: int) -> None:
        """``sent`` is resolved, and with it all up to ``through_seq`` that was to be sent.

        ``acked_seq``: what was acknowledged before. What was not sent does not read back.
        """
        again = self._under_way.through(through_seq)
        owed = again | SeqRanges([(acked_seq + 1, through_seq)])
        arrived = SeqRanges((seq, seq) for seq in sent) - self._withheld
        self._withheld |= owed - arrived
        self._under_way -= again
        back = again - (again - arrived)
        self.lost -= back
        self.resent += back.count
