"""What an instance says about itself while it runs: heartbeats and chain-heads.

Owns: when a heartbeat is due (turn-aways or the seen checkpoint changed, at most every 15
minutes; at once for a certificate) and posting the chain-head every 60 s, whether or not
shipping works. Refuses: failing a call for either; a full spool or an absent store is in the
status and comes again.
"""

from __future__ import annotations

import anyio

from gateway import documents, limits
from gateway.documents import ChainHead, Envelope
from gateway.errors import TurnAway
from gateway.ports import Service, ServiceUnreachable, WallClock
from gateway.recording import Scribe
from gateway.seal import sha256_text
from gateway.tally import Tally
from sidecar import journal
from sidecar.eventlog import EventLog
from sidecar.instance import Instance
from spool.spool import Spool


class Upkeep:
    """The instance's own signs of life."""

    def __init__(
        self,
        *,
        instance: Instance,
        spool: Spool,
        scribe: Scribe,
        tally: Tally,
        store: Service,
        clock: WallClock,
        log: EventLog,
    ) -> None:
        self._instance = instance
        self._spool = spool
        self._scribe = scribe
        self._tally = tally
        self._store = store
        self._clock = clock
        self._log = log
        self._turned_away_recorded = 0

    async def run_heartbeats(self) -> None:
        """A heartbeat whenever turn-aways were counted since the last, every 15 minutes at most."""
        while True:
            await anyio.sleep(limits.HEARTBEAT_SECONDS_MAX)
            if self._tally.turned_away_total != self._turned_away_recorded:
                await self.heartbeat(None)

    async def heartbeat(self, certificate: Envelope | None) -> None:
        """Write one now; with ``certificate`` if a new or late one came."""
        spool = self._spool
        counted = self._tally.turned_away_total
        draft = journal.heartbeat(
            self._scribe,
            self._clock.wall_us(),
            durable_seq=spool.durable_seq,
            record_hash=self._durable_hash(),
            acked_seq=spool.acked_seq,
            counters=self._tally.counters(),
            log_seen=None,
            certificate=certificate,
        )
        try:
            await spool.submit(spool.kept_reservation(), draft).wait()
        except TurnAway as failed:
            self._log.warning("record_lost", kind="heartbeat", code=failed.code)
            return
        self._turned_away_recorded = counted

    async def run_chain_heads(self) -> None:
        """Post the chain-head every 60 s on a connection of its own, once certified."""
        await self._instance.certified.wait()
        while True:
            await self.post_chain_head()
            await anyio.sleep(limits.CHAIN_HEAD_SECONDS)

    async def post_chain_head(self) -> None:
        """Tell the store where the chain stands, so that a lost tail shows."""
        spool = self._spool
        head = ChainHead(
            instance=self._instance.id,
            durable_seq=spool.durable_seq,
            record_hash=self._durable_hash(),
            acked_seq=spool.acked_seq,
            counters=self._tally.counters(),
            log_seen=None,
        )
        body = documents.encode(self._instance.sign_document(documents.CHAIN_HEAD, head))
        try:
            answer = await self._store.call("POST", "/v1/chain-heads", body=body)
        except ServiceUnreachable as unreachable:
            self._log.warning("chain_head_failed", reason=unreachable.kind)
            return
        if answer.status >= 300:
            self._log.warning("chain_head_failed", status=answer.status)

    def _durable_hash(self) -> str:
        """Of the newest durable record; before the first, what ``prev`` of seq 0 is."""
        return self._spool.durable_hash or sha256_text(self._instance.signer.public)
