"""What an instance says about itself while it runs: heartbeats and chain-heads.

Owns: when a heartbeat is due (turn-aways or the seen checkpoint changed, at most every 15
minutes; at once for a certificate), posting the chain-head every 60 s, whether or not shipping
works, and passing on what the store says it lacks. A certificate for which there is no room is
owed until it is written, because a successor needs it. Refuses: failing a call for any of it; a
full spool or an absent store is in the status and comes again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio

from gateway import documents, limits
from gateway.documents import ChainHead, Envelope, LogSeen
from gateway.errors import DocumentInvalid, TurnAway
from gateway.ports import Service, ServiceAnswer, ServiceUnreachable, WallClock
from gateway.recording import Scribe
from gateway.seal import sha256_text
from gateway.shipping import (
    CERTIFICATE_UNKNOWN,
    CHAIN_HEADS_PATH,
    decode_head_answer,
    refusal_code,
)
from gateway.tally import Tally
from sidecar import journal
from sidecar.eventlog import EventLog
from sidecar.instance import Instance
from spool.ranges import NONE, SeqRanges
from spool.seen import SeenLog
from spool.ship import Shipper
from spool.spool import Spool

_ROOM_SECONDS = 5.0
"""Between two looks for room for a certificate that is owed."""


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
        shipper: Shipper,
        seen: SeenLog,
        post_certificate: Callable[[str], Awaitable[None]],
        clock: WallClock,
        log: EventLog,
    ) -> None:
        self._instance = instance
        self._spool = spool
        self._scribe = scribe
        self._tally = tally
        self._store = store
        self._shipper = shipper
        self._seen = seen
        self._seen_recorded: LogSeen | None = None
        self._post_certificate = post_certificate
        self._clock = clock
        self._log = log
        self._turned_away_recorded = 0
        self._owed: deque[Envelope] = deque()
        self._owing = anyio.Event()
        self._writing = anyio.Lock()

    async def run_heartbeats(self) -> None:
        """A heartbeat whenever turn-aways were counted or the log was seen to grow since the last,
        every 15 minutes at most."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._write_what_is_owed)
            while True:
                await anyio.sleep(limits.HEARTBEAT_SECONDS_MAX)
                counted = self._tally.turned_away_total != self._turned_away_recorded
                if counted or self._seen.stated() != self._seen_recorded:
                    await self.heartbeat(None)

    async def _write_what_is_owed(self) -> None:
        while True:
            await self._owing.wait()
            await anyio.sleep(_ROOM_SECONDS)
            await self.heartbeat(None)

    async def heartbeat(self, certificate: Envelope | None) -> None:
        """Write one now; with ``certificate`` if a new or late one came, and each that is owed."""
        if certificate is not None:
            self._owed.append(certificate)
        async with self._writing:
            while await self._write(self._owed[0] if self._owed else None) and self._owed:
                pass

    async def _write(self, certificate: Envelope | None) -> bool:
        """Whether it was written; a certificate that was is owed no longer."""
        spool = self._spool
        counted, seen = self._tally.turned_away_total, self._seen.stated()
        draft = journal.heartbeat(
            self._scribe,
            self._clock.wall_us(),
            durable_seq=spool.durable_seq,
            record_hash=self._durable_hash(),
            acked_seq=spool.acked_seq,
            counters=self._tally.counters(),
            log_seen=seen,
            certificate=certificate,
        )
        try:
            await spool.submit(spool.kept_reservation(), draft).wait()
        except TurnAway as failed:
            self._not_written(failed.code)
            return False
        self._turned_away_recorded, self._seen_recorded = counted, seen
        if certificate is not None:
            self._owed.popleft()
        if not self._owed and self._owing.is_set():
            self._owing = anyio.Event()
        return True

    def _not_written(self, code: str) -> None:
        if not self._owed or code != "spool_full":
            self._log.warning("record_lost", kind="heartbeat", code=code)
            self._owing = anyio.Event()
        elif not self._owing.is_set():
            self._log.warning("spool_full")
            self._owing.set()

    async def run_chain_heads(self) -> None:
        """Post the chain-head every 60 s on a connection of its own, once certified; and at once
        when the store is back, before what it acknowledged is deleted here."""
        await self._instance.certified.wait()
        while True:
            await self.post_chain_head()
            # A disk that fails is found by the spool; what was seen is written again in a minute.
            with suppress(OSError):
                await self._seen.keep()
            with anyio.move_on_after(limits.CHAIN_HEAD_SECONDS):
                await self._shipper.wait_back()

    async def post_chain_head(self) -> None:
        """Tell the store where the chain stands, so that a lost tail shows; hear what it lacks."""
        spool = self._spool
        head = ChainHead(
            instance=self._instance.id,
            durable_seq=spool.durable_seq,
            record_hash=self._durable_hash(),
            acked_seq=spool.acked_seq,
            counters=self._tally.counters(),
            log_seen=self._seen.stated(),
        )
        missing = (await self._said_of(head)).through(head.acked_seq)
        fresh = await self._shipper.heard(missing)
        if fresh:
            self._log.error(
                "store_lost_records",
                records=fresh.count,
                first_seq=fresh.first,
                last_seq=fresh.last,
                held=self._spool.unresent_records,
            )

    async def _said_of(self, head: ChainHead) -> SeqRanges:
        """What the store says that it lacks of the chain; nothing where it says nothing."""
        try:
            answer = await self._post(head)
            if answer.status == 412 and refusal_code(answer.body) == CERTIFICATE_UNKNOWN:
                await self._post_certificate(self._instance.id)
                answer = await self._post(head)
        except ServiceUnreachable as unreachable:
            self._log.warning("chain_head_failed", reason=unreachable.kind)
            return NONE
        if answer.status >= 300:
            self._log.warning("chain_head_failed", status=answer.status)
            return NONE
        try:
            said = decode_head_answer(answer.body)
        except DocumentInvalid as error:
            self._log.warning("chain_head_failed", reason=str(error))
            return NONE
        return SeqRanges((one.first_seq, one.last_seq) for one in said.missing)

    async def _post(self, head: ChainHead) -> ServiceAnswer:
        body = documents.encode(self._instance.sign_document(documents.CHAIN_HEAD, head))
        return await self._store.call("POST", CHAIN_HEADS_PATH, body=body)

    def _durable_hash(self) -> str:
        """Of the newest durable record; before the first, what ``prev`` of seq 0 is."""
        return self._spool.durable_hash or sha256_text(self._instance.signer.public)
