"""What the store's answers prove of our records, held against everything this volume has seen.

Owns: asking ``gateway.acknowledgement``, remembering the newest checkpoint, and what is wrong with
a store that does not prove. Refuses: deleting (``source.py``), and stopping anything: calls go on,
what is not proved stays on the disk and is sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from gateway import acknowledgement
from gateway.acknowledgement import LogKeys
from gateway.errors import DocumentInvalid
from gateway.shipping import ShipAnswer
from spool.scan import StoredRecord
from spool.seen import SeenLog


class Prover:
    """``trouble``: why the newest answer proved nothing, or None. ``contradicted``: whether the
    store has shown a log that does not continue what was seen. ``keys``: of the trusted root."""

    def __init__(
        self, seen: SeenLog, place: tuple[str, str], keys: Callable[[], LogKeys | None]
    ) -> None:
        self.seen = seen
        self.trouble: str | None = None
        self._contradicted = False
        self._place = place
        self._keys = keys

    @property
    def contradicted(self) -> bool:
        return self._contradicted or self.seen.contradictions > 0

    async def prove(self, answer: ShipAnswer, records: Sequence[StoredRecord]) -> frozenset[int]:
        """Seqs of ``records`` that the store is proved to keep."""
        keys = self._keys()
        if keys is None:
            self.trouble = "no root is held yet: the store's signature cannot be checked"
            return frozenset()
        hashes = {one.seq: _digest(one) for one in records}
        try:
            proven = acknowledgement.prove(
                answer, hashes, place=self._place, seen=self.seen.current, keys=keys
            )
        except DocumentInvalid as error:
            self.trouble = f"the store's proof does not hold: {error.detail}"
            if error.reason == "history" and answer.checkpoint is not None:
                self._contradicted = True
                shown, leading = answer.checkpoint, answer.consistency or []
                # A volume without room for the two notes changes nothing else; the alarm is up.
                with suppress(OSError):
                    await self.seen.contradict(shown, leading, error.detail)
            return frozenset()
        self.seen.saw(proven.opened)
        resolved = (one.seq for one in records if one.seq <= answer.through_seq)
        bare = next((seq for seq in resolved if seq not in proven.seqs), None)
        self.trouble = None if bare is None else f"the store proves nothing of seq {bare}"
        return proven.seqs


def _digest(stored: StoredRecord) -> bytes:
    return bytes.fromhex(stored.record_hash().removeprefix("sha256:"))
