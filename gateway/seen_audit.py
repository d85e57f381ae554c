"""Whether the log only grew: every checkpoint that somebody saw, held against the export's.

Owns: the consistency verdict. What was seen comes from the auditor (an earlier checkpoint, pinned)
and from daemons, who sign what they saw into their heartbeats. In a complete export each must be
the root of the first leaves of the rebuilt tree; elsewhere only the pinned one can be held, by the
proof that was asked for with it. Refuses: signatures, and what is in the log (``log_audit.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from gateway import merkle, seal
from gateway.checkpoint import Checkpoint
from gateway.documents import LogSeen, LogStatement
from gateway.errors import DocumentInvalid
from gateway.log_history import LogHistory
from gateway.log_line import Consistency
from gateway.verdicts import Tallies

_NAMED_MAX: Final = 10_000
"""Different checkpoints that are remembered. Of a long log there are more: those that the leaves so
far bear out are then let go, and only counted."""
_ORIGINS_MAX: Final = 16
"""Logs of which some are let go; there is one, and those that it took the place of."""


class Current(msgspec.Struct, frozen=True):
    """What the export ends in. ``history``: of complete exports, if its leaves lead there."""

    checkpoint: Checkpoint
    history: LogHistory | None
    statements: Sequence[LogStatement]


class SeenAudit:
    """Tell it what was seen, then ask ``finish``."""

    def __init__(self, tallies: Tallies) -> None:
        self._tallies = tallies
        self._seen: dict[LogSeen, int] = {}
        self._agreed: dict[str, tuple[int, int]] = {}
        """Origin → how many were let go, and the line of the first."""
        self._crowded = False
        self._unheld = 0
        self._pin: Checkpoint | None = None
        self._proof: tuple[Consistency, int] | None = None
        self.pin_holds = False
        """Whether the pinned checkpoint was found to be an earlier state of this log."""

    def pin(self, checkpoint: Checkpoint) -> None:
        """The auditor saw this one, and opened it with the keys of the log."""
        self._pin = checkpoint

    def seen(self, log_seen: LogSeen, line: int, history: LogHistory | None) -> None:
        """A daemon signed that it saw this. ``history``: the tree so far, of a complete export."""
        if log_seen in self._seen:
            return
        if len(self._seen) >= _NAMED_MAX and history is not None and not self._crowded:
            self._let_go(history)
        if len(self._seen) < _NAMED_MAX:
            self._seen[log_seen] = line
        else:
            self._unheld += 1

    def _let_go(self, history: LogHistory) -> None:
        """Forget those that ``history`` bears out: it only grows, so they stay true."""
        kept: dict[LogSeen, int] = {}
        for log_seen, line in self._seen.items():
            count, first = self._agreed.get(log_seen.origin, (0, line))
            room = count > 0 or len(self._agreed) < _ORIGINS_MAX
            if room and 0 <= log_seen.size <= history.size and _bears_out(history, log_seen):
                self._agreed[log_seen.origin] = count + 1, first
            else:
                kept[log_seen] = line
        self._seen = kept
        # What disagrees is not looked at again and again, however much of it there is.
        self._crowded = len(kept) > _NAMED_MAX // 2

    def proof(self, found: Consistency, line: int) -> None:
        """The line that leads from an earlier size. Raises DocumentInvalid for a second one."""
        if self._proof is not None:
            raise DocumentInvalid("unreadable", "a second consistency proof")
        self._proof = (found, line)

    def finish(self, current: Current | None) -> None:
        """Hold all of it against ``current`` (None: the export ends in nothing that counts)."""
        if self._pin is not None:
            self.pin_holds = self._judge(self._pin, "the pinned checkpoint", None, current)
        for log_seen, line in self._seen.items():
            try:
                root = seal.unbase64(log_seen.root, "root")
            except DocumentInvalid as error:
                self._tallies.false("consistency", f"log_seen: {error}", line)
                continue
            checkpoint = Checkpoint(log_seen.origin, log_seen.size, root)
            self._judge(checkpoint, "a daemon's log_seen", line, current)
        for origin, (count, line) in self._agreed.items():
            name = f"the first of {count} log_seen of daemons ({origin})"
            if self._is_of_this_log(origin, name, line, current) is not None:
                self._tallies.count("consistency", count)
        if self._unheld:
            cause = f"{self._unheld} log_seen of daemons were too many to be held against the log"
            self._tallies.incomplete("consistency", cause, None)

    def _judge(
        self, seen: Checkpoint, what: str, line: int | None, current: Current | None
    ) -> bool:
        """Whether ``seen`` is proved to be an earlier state; says so if not."""
        name = f"{what} ({seen.size} leaves of {seen.origin})"
        held = self._is_of_this_log(seen.origin, name, line, current)
        if held is None:
            return False
        size = held.checkpoint.size
        if seen.size > size or seen.size < 0:
            cause = f"{name} is larger than the log is here, {size}"
            self._tallies.false("consistency", cause, line)
            return False
        return self._compare(seen, name, line, held)

    def _is_of_this_log(
        self, origin: str, name: str, line: int | None, current: Current | None
    ) -> Current | None:
        """``current``, if ``name`` is of its log or of one that it took the place of; says so if
        not."""
        if current is None:
            self._tallies.incomplete("consistency", f"{name} has nothing to be held against", line)
            return None
        now = current.checkpoint.origin
        if origin != now and origin not in {one.closed_origin for one in current.statements}:
            cause = f"{name} is of another log than {now}, and no statement leads there"
            self._tallies.false("consistency", cause, line)
            return None
        return current

    def _compare(self, seen: Checkpoint, name: str, line: int | None, current: Current) -> bool:
        now = current.checkpoint
        if current.history is not None:
            root = current.history.root(seen.size)
        elif seen.size == now.size:
            root = now.root
        elif line is None and self._proof is not None and seen.origin == now.origin:
            return self._led(seen, name, self._proof, now)
        else:
            hint = f"; ask for the export with from={seen.size}" if line is None else ""
            cause = f"nothing here leads from {name} to the checkpoint{hint}"
            self._tallies.incomplete("consistency", cause, line)
            return False
        if root != seen.root:
            cause = f"{name} has another root than these leaves had then: two histories"
            if seen.origin != now.origin:
                cause = f"{name} held leaves that were lost when it was closed"
            self._tallies.false("consistency", cause, line)
            return False
        self._tallies.count("consistency")
        return True

    def _led(
        self, seen: Checkpoint, name: str, proof: tuple[Consistency, int], now: Checkpoint
    ) -> bool:
        found, line = proof
        if (found.old_size, found.new_size) != (seen.size, now.size):
            cause = f"the proof leads from {found.old_size} to {found.new_size}, not from {name}"
            self._tallies.incomplete("consistency", cause, line)
            return False
        try:
            hashes = [seal.unbase64(one, "proof") for one in found.hashes]
            merkle.check_consistency(seen.size, seen.root, now.size, now.root, hashes)
        except DocumentInvalid as error:
            self._tallies.false("consistency", f"{name}: {error}", line)
            return False
        self._tallies.count("consistency")
        return True


def _bears_out(history: LogHistory, log_seen: LogSeen) -> bool:
    try:
        return history.root(log_seen.size) == seal.unbase64(log_seen.root, "root")
    except DocumentInvalid:
        return False
