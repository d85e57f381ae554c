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
"""Different checkpoints that are remembered; a daemon sees a new one every 15 minutes at most."""


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
        self._pin: Checkpoint | None = None
        self._proof: tuple[Consistency, int] | None = None
        self.pin_holds = False
        """Whether the pinned checkpoint was found to be an earlier state of this log."""

    def pin(self, checkpoint: Checkpoint) -> None:
        """The auditor saw this one, and opened it with the keys of the log."""
        self._pin = checkpoint

    def seen(self, log_seen: LogSeen, line: int) -> None:
        """A daemon signed that it saw this."""
        if len(self._seen) < _NAMED_MAX:
            self._seen.setdefault(log_seen, line)

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

    def _judge(
        self, seen: Checkpoint, what: str, line: int | None, current: Current | None
    ) -> bool:
        """Whether ``seen`` is proved to be an earlier state; says so if not."""
        name = f"{what} ({seen.size} leaves of {seen.origin})"
        if current is None:
            self._tallies.incomplete("consistency", f"{name} has nothing to be held against", line)
            return False
        now = current.checkpoint
        closed = {one.closed_origin for one in current.statements}
        if seen.origin != now.origin and seen.origin not in closed:
            cause = f"{name} is of another log than {now.origin}, and no statement leads there"
            self._tallies.false("consistency", cause, line)
            return False
        if seen.size > now.size or seen.size < 0:
            cause = f"{name} is larger than the log is here, {now.size}"
            self._tallies.false("consistency", cause, line)
            return False
        return self._compare(seen, name, line, current)

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
