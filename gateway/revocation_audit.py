"""Records by keys that were taken back: which of them still count.

A stolen key signs whatever time its thief likes, so a time says nothing. What counts is that a
witness saw the log with the record in it before the key was distrusted.

Owns: the revocations verdict. Refuses: opening revocations (``head_audit.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from gateway.head_audit import HeadAudit, Window
from gateway.log_audit import Mark, Place
from gateway.timestamp import time_text
from gateway.verdicts import Tallies


class Witnessed(msgspec.Struct, frozen=True):
    """Enough witnesses had seen the log with its first ``size`` leaves at ``time_us``."""

    size: int
    time_us: int


class RevocationAudit:
    """Tell it of every record and where it is placed, then ask ``finish``."""

    def __init__(self, head: HeadAudit, tallies: Tallies) -> None:
        self._head = head
        self._tallies = tallies
        self._concerned: dict[int, tuple[Mark, int]] = {}
        self._places: dict[int, Place] = {}

    def record(self, mark: Mark) -> None:
        """A record whose signature is valid."""
        for revocation, from_us in self._head.revoked:
            if revocation.kid != mark.kid:
                continue
            if revocation.serial is not None and self._otherwise(mark):
                continue
            known = self._concerned.get(mark.line)
            if known is None or from_us < known[1]:
                self._concerned[mark.line] = (mark, from_us)

    def placed(self, mark: Mark, place: Place) -> None:
        """Its leaf was found."""
        if mark.line in self._concerned:
            self._places[mark.line] = place

    def finish(self, witnessed: Sequence[Witnessed], *, proved: bool) -> None:
        """``proved``: the leaves are those of the checkpoint."""
        places: Mapping[int, Place] = self._places if proved else {}
        for line, (mark, from_us) in self._concerned.items():
            self._tallies.count("revocations")
            place = places.get(line)
            if place is not None and any(
                place.index < one.size and one.time_us < from_us for one in witnessed
            ):
                continue
            times = [mark.time_us, None if place is None else place.received_us]
            since = time_text(from_us)
            if any(one is not None and one >= from_us for one in times):
                self._tallies.false("revocations", f"its key is not trusted from {since} on", line)
            else:
                cause = f"only a claim puts it before {since}, from when its key is not trusted"
                self._tallies.incomplete("revocations", cause, line)

    def _otherwise(self, mark: Mark) -> bool:
        """Whether another certificate, that nobody took back, entitles the record's key."""
        taken = {one.serial for one, _ in self._head.revoked if one.kid == mark.kid}
        windows: list[Window] = self._head.windows.get(mark.kid, [])
        return any(
            one.serial not in taken
            and (mark.time_us is None or one.not_before_us <= mark.time_us <= one.not_after_us)
            for one in windows
        )
