"""What witnesses had seen of a log, by the policy of the auditor who names them.

Owns: the witnesses verdict, and the moment at which enough of them had seen a checkpoint: that of
the export, and the one that the auditor kept. Refuses: who signs the log (a root says that, and the
log lines of a policy are passed over), and witnesses that nobody named.
"""

from __future__ import annotations

from typing import Final

from gateway import checkpoint, note
from gateway.checkpoint import Opened
from gateway.errors import DocumentInvalid
from gateway.note import Cosigned
from gateway.revocation_audit import Witnessed
from gateway.verdicts import Tallies
from gateway.witness_policy import Policy

_SECOND_US: Final = 1_000_000


class WitnessAudit:
    """``policy``: whose cosignatures count and which of them are enough; with None, or a policy
    that asks for nobody, nothing is asked."""

    def __init__(self, policy: Policy | None, tallies: Tallies) -> None:
        self._policy = None if policy is None or policy.quorum is None else policy
        self._tallies = tallies
        self.cosigned: list[Cosigned] = []
        """By witnesses that were named, under the checkpoint of the export."""
        self.now: Witnessed | None = None
        """Where they are enough."""
        self.earlier: Witnessed | None = None
        """The same of the checkpoint that the auditor kept."""

    def checkpoint(self, opened: Opened | None, line: int | None) -> None:
        """Judge the checkpoint of the export, None where none counts."""
        policy = self._policy
        if policy is None:
            return
        if opened is None:
            self._tallies.incomplete("witnesses", "there is no checkpoint to be cosigned", None)
            return
        try:
            self.cosigned = note.cosigned(opened.note, [one.key for one in policy.witnesses])
        except DocumentInvalid as error:
            self._tallies.false("witnesses", str(error), line)
            return
        self._tallies.count("witnesses", len(self.cosigned))
        self.now = _by_quorum(policy, opened.checkpoint.size, self.cosigned)
        if self.now is None:
            count = f"{len(self.cosigned)} of {len(policy.witnesses)} witnesses"
            cause = f"{count} cosigned the checkpoint, and they are no quorum"
            self._tallies.incomplete("witnesses", cause, line)

    def kept(self, pin: str) -> None:
        """The checkpoint that the auditor kept, which was found to be of this log."""
        policy = self._policy
        if policy is None:
            return
        try:
            parsed = note.parse(pin)
            size = checkpoint.read(parsed.text).size
            found = note.cosigned(parsed, [one.key for one in policy.witnesses])
        except DocumentInvalid as error:
            self._tallies.false("witnesses", f"the pinned checkpoint: {error}", None)
            return
        self.earlier = _by_quorum(policy, size, found)

    def witnessed(self) -> list[Witnessed]:
        """What enough witnesses had seen, and when."""
        return [one for one in (self.now, self.earlier) if one is not None]


def _by_quorum(policy: Policy, size: int, cosigned: list[Cosigned]) -> Witnessed | None:
    """The first moment at which those who had cosigned by then were a quorum."""
    names = {one.key: one.name for one in policy.witnesses}
    seen: set[str] = set()
    for one in sorted(cosigned, key=lambda one: one.time):
        seen.add(names[one.key])
        if policy.met(seen):
            return Witnessed(size, one.time * _SECOND_US)
    return None
