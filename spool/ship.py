"""Shipping: every durable record reaches the store, in seq order, and is deleted only then.

One request at a time. The store verifies the chain as it comes, and finds duplicates by hash, so
sending again is always safe. Nothing here gives up: as long as the process lives it tries, and
what is left at its end is on disk for the next one.

Owns: whose turn it is, repeating, poison, drain and the figures of ``ShipStatus``. Refuses: HTTP
(``post.py``), files (``source.py``), and admission: a store that is down fills the spool, which
turns calls away by itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import anyio
from anyio.lowlevel import checkpoint
from tenacity import AsyncRetrying, RetryCallState

from gateway import limits
from gateway.ports import Entropy, Service, WallClock
from spool import retry
from spool.batch import LINES_PER_STEP, Body, BodyBuilder
from spool.config import SpoolConfig
from spool.dead import DeadInstance
from spool.post import Poster, Refused, Taken
from spool.prove import Prover
from spool.ranges import SeqRanges
from spool.retry import Delayed
from spool.scan import StoredRecord
from spool.source import DeadSource, LiveSource, Source, remove_when_done
from spool.spool import Spool
from spool.status import DeadStatus, QuarantineStatus, ShipStatus, ship_alarms


class Shipper:
    """Ships the live spool and the dead instances that it was given, at the start or later.

    ``may_ship``: whether this instance is certified; call ``wake`` when that changes.
    ``post_certificate``: posts to the store what it lacks of an instance (answer 412).
    ``prover``: nothing counts as taken before the store's log is proved to hold it.
    """

    def __init__(
        self,
        spool: Spool,
        service: Service,
        *,
        config: SpoolConfig,
        entropy: Entropy,
        clock: WallClock,
        may_ship: Callable[[], bool],
        post_certificate: Callable[[str], Awaitable[None]],
        prover: Prover,
        dead: Sequence[DeadInstance] = (),
    ) -> None:
        self._spool = spool
        self._config = config
        self._entropy = entropy
        self._clock = clock
        self._may_ship = may_ship
        self._prover = prover
        self._poster = Poster(service, clock, spool.instance, post_certificate, prover)
        self._live = LiveSource(spool)
        self._dead = [self._dead_source(one) for one in dead]
        self._turn = 0
        self._wake = anyio.Event()
        self._nudge = anyio.Event()
        self._progress = anyio.Event()
        self._back = anyio.Event()
        self._draining = False
        self._drain_until: float | None = None
        self._in_flight = 0
        self._sent_through: dict[str, int] = {}
        self._state = "idle"
        self._failures = 0
        self._poisoned = 0
        self._counts: Counter[str] = Counter()
        self._last_success = self._dead_since = anyio.current_time()
        self._succeeded = False
        self._last_error: str | None = None
        self._last_status: int | None = None
        self._next_attempt: float | None = None

    def __repr__(self) -> str:
        return f"Shipper(state={self._state!r}, backlog={self.backlog_records})"

    @property
    def backlog_records(self) -> int:
        """Durable records, our own and those of dead instances, that the store has not taken, or
        has lost."""
        return sum(source.backlog_records for source in self._sources())

    @property
    def dead(self) -> list[DeadInstance]:
        """Those whose directory is still there."""
        return [source.dead for source in self._dead]

    def _dead_source(self, dead: DeadInstance) -> DeadSource:
        return DeadSource(self._spool, dead, self._prover.seen.keep)

    def _sources(self) -> list[Source]:
        return [*self._dead, self._live]

    def take_in(self, found: Sequence[DeadInstance]) -> None:
        """Ship these dead instances too; those found before the start come with the constructor."""
        self._dead += [self._dead_source(one) for one in found]
        self._dead_since = anyio.current_time()
        self._count_dead_bytes()
        self.wake()

    def wake(self) -> None:
        """Look again now: certified, a dead instance settled, or the store is known to be back."""
        for source in self._sources():
            source.blocked_until = 0.0
        self._wake.set()
        self._nudge.set()

    async def wait_back(self) -> None:
        """Until the store takes records again after it did not: it may have lost some meanwhile."""
        await self._back.wait()
        self._back = anyio.Event()

    async def heard(self, missing: SeqRanges) -> SeqRanges:
        """The store was asked what it has: it lacks ``missing``, all acknowledged.

        What of it is still on disk is sent again. Those that were not known to be lost. An
        attempt that got no answer is to be told too, as nothing missing: disk space is not kept
        for an answer that may never come.
        """
        fresh = self._live.forgotten(missing)
        if not self._failures:
            await self._live.trust()
        self._wake.set()
        return fresh

    async def run(self) -> None:
        """Ship until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._follow_spool)
            while True:
                await self._round()

    async def _follow_spool(self) -> None:
        seen = 0
        while True:
            seen = await self._spool.wait_change(seen)
            if self._spool.backlog_records:
                self._wake.set()

    async def drain(self, deadline_seconds: float) -> int:
        """Ship what there is, without lingering, for at most that long; returns what is left.

        ``run`` must be running. Instances that the store does not let us ship are not waited
        for, but counted.
        """
        self._draining = True
        self._drain_until = anyio.current_time() + deadline_seconds
        self.wake()
        with anyio.move_on_after(deadline_seconds):
            while self._live.backlog_records or any(map(self._has_work, self._dead)):
                await self._progress.wait()
        return self.backlog_records

    async def wait_dead(self) -> None:
        """Return when nothing more can be done about dead instances now.

        Those that are left then are not let in by the store, keep their quarantine, or still
        lack their ``recovered`` record. ``run`` must be running.
        """
        while any(map(self._has_work, self._dead)):
            await self._progress.wait()

    def _has_work(self, source: DeadSource) -> bool:
        if source.blocked:
            return False
        return source.backlog_records > 0 or source.dead.removable(self._clock.wall_us())

    def _progressed(self) -> None:
        """Wake those who wait for the end of a round; each looks whether it was enough."""
        self._progress.set()
        self._progress = anyio.Event()

    # -- whose turn it is -----------------------------------------------------------------

    async def _round(self) -> None:
        """One batch of one source, or a wait for something to do."""
        self._wake = anyio.Event()
        await self._tidy()
        source = self._next_source()
        if source is None:
            self._state = "idle" if self._may_ship() else "held"
            self._progressed()
            await self._wait_for_work()
            return
        await self._linger(source)
        try:
            await self._ship(source)
        except OSError as error:
            # Reading or deleting failed; whether the disk still takes records, the spool tells.
            self._block(source, f"spool of {source.instance}: {error}")
        self._progressed()

    def _next_source(self) -> Source | None:
        """Sources take turns, so that an old backlog does not hide what happens now."""
        if not self._may_ship():
            return None
        now = anyio.current_time()
        sources = self._sources()
        for step in range(len(sources)):
            source = sources[(self._turn + step) % len(sources)]
            if source.backlog_records and source.blocked_until <= now:
                self._turn = (self._turn + step + 1) % len(sources)
                return source
        return None

    async def _wait_for_work(self) -> None:
        """Until woken, or until a blocked source may be tried again."""
        now = anyio.current_time()
        waits = [one.blocked_until - now for one in self._sources() if one.backlog_records]
        soonest = min((wait for wait in waits if wait > 0), default=limits.HEARTBEAT_SECONDS_MAX)
        with anyio.move_on_after(soonest):
            await self._wake.wait()

    async def _linger(self, source: Source) -> None:
        """Give a live batch that is not full a moment to fill, unless there is a hurry."""
        hurry = self._draining or self._spool.quota.pressure or source.window.suspects is not None
        if hurry or not source.live or source.backlog_records >= source.window.size:
            return
        with anyio.move_on_after(self._config.ship_linger_seconds):
            while not self._draining and source.backlog_records < source.window.size:
                self._wake = anyio.Event()
                await self._wake.wait()

    async def _tidy(self) -> None:
        """Remove dead directories that nothing keeps, and give their bytes back."""
        wall_us = self._clock.wall_us()
        for source in list(self._dead):
            try:
                if await remove_when_done(self._spool.disk, source, wall_us):
                    self._dead.remove(source)
            except OSError as error:
                self._block(source, f"spool of {source.instance}: {error}")
        self._count_dead_bytes()

    def _count_dead_bytes(self) -> None:
        self._spool.set_dead_bytes(sum(source.dead.bytes_used for source in self._dead))

    def _block(self, source: Source, why: str) -> None:
        """Leave this source for a while, so that it does not hold up the others."""
        self._last_error = source.blocked = why
        source.blocked_until = anyio.current_time() + limits.SHIP_SET_ASIDE_SECONDS

    # -- one batch ------------------------------------------------------------------------

    async def _ship(self, source: Source) -> None:
        offered = await source.peek(source.window.size)
        if not offered:
            return
        self._state = "shipping"
        body = await _build(offered)
        attempts = AsyncRetrying(
            sleep=self._pause,
            wait=self._wait_seconds,
            retry=partial(self._tries_again, source),
            reraise=True,
        )
        try:
            outcome: Taken | Refused = await attempts(self._attempt, source, body)
        except Delayed as delayed:
            self._block(source, delayed.why)
            if self._draining and not delayed.environment:
                # There is no time to leave it for later: it comes again after the others.
                source.blocked, source.blocked_until = None, anyio.current_time()
            return
        if isinstance(outcome, Taken):
            await self._resolve(source, body, outcome)
        else:
            await self._doubt(source, body, outcome)

    async def _attempt(self, source: Source, body: Body) -> Taken | Refused:
        if not self._may_ship():
            raise Delayed("this instance is not certified")
        self._note_sending(source, body)
        try:
            return await self._poster.post(source, body)
        finally:
            self._in_flight = 0

    def _note_sending(self, source: Source, body: Body) -> None:
        seqs = [stored.seq for stored in body.records]
        before = self._sent_through.get(source.instance, -1)
        self._counts["sent"] += len(seqs)
        self._counts["sent_again"] += sum(seq <= before for seq in seqs)
        self._sent_through[source.instance] = max(before, seqs[-1])
        self._in_flight = len(seqs)

    def _tries_again(self, source: Source, state: RetryCallState) -> bool:
        """Everything is tried again; but a dead instance that is not let in is left for later,
        and so is one whose batch fails again and again: our own records must not wait for it."""
        error = state.outcome.exception() if state.outcome is not None else None
        if not isinstance(error, Delayed):
            return False
        self._failures += 1
        self._live.doubt()
        self._last_error, self._last_status = error.why, error.status
        if source.live:
            return True
        tired = state.attempt_number >= limits.SHIP_DEAD_TRIES_MAX
        return not (error.environment or (tired and self._live.backlog_records))

    def _wait_seconds(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome is not None else None
        assert isinstance(error, Delayed)
        return retry.wait_seconds(error, self._failures, self._entropy, draining=self._draining)

    async def _pause(self, seconds: float) -> None:
        """Wait before the next attempt; ``wake`` and ``drain`` cut it short."""
        self._state = "waiting"
        self._next_attempt = anyio.current_time() + seconds
        self._nudge = anyio.Event()
        with anyio.move_on_after(seconds):
            await self._nudge.wait()
        self._next_attempt = None
        self._state = "shipping"

    async def _resolve(self, source: Source, body: Body, taken: Taken) -> None:
        through_seq = body.records[taken.resolved - 1].seq
        for exception in taken.answer.exceptions:
            self._counts[exception.code] += 1
        self._counts["resolved"] += taken.resolved
        source.window.resolved(taken.resolved, len(body.records))
        source.blocked = None
        if self._failures:
            self._back.set()
        self._failures = self._poisoned = 0
        self._last_success = self._dead_since = anyio.current_time()
        self._succeeded = True
        await source.resolve(through_seq)

    async def _doubt(self, source: Source, body: Body, refused: Refused) -> None:
        """Halve, until one record stands alone; after its last refusal set it aside."""
        self._last_error, self._last_status = refused.reason, refused.status
        sent, window = len(body.records), source.window
        alone = window.too_large(sent) if refused.too_large else window.refused(sent)
        if not alone:
            if sent == 1:
                await self._pause(self._entropy.fraction() * limits.SHIP_RETRY_SECONDS_FIRST)
            return
        if self._poisoned >= limits.SHIP_POISONED_MAX:
            self._block(source, f"the store refuses record after record: {refused.reason}")
            return
        stored = body.records[0]
        await source.set_aside(stored, refused.status, refused.reason)
        window.set_aside()
        self._poisoned += 1
        self._counts["set_aside"] += 1
        await source.resolve(stored.seq)

    # -- status ---------------------------------------------------------------------------

    def status(self) -> ShipStatus:
        """What the admin listener shows."""
        now = anyio.current_time()
        counts = self._counts
        dead = [self._dead_status(source, now) for source in self._dead]
        known = sum(counts[code] for code in ("duplicate", "rejected", "fork", "sealed"))
        return ShipStatus(
            state=self._state,
            circuit=self._circuit,
            in_flight=self._in_flight,
            backlog_records=self.backlog_records,
            last_success_seconds_ago=now - self._last_success if self._succeeded else None,
            last_error=self._last_error,
            last_status=self._last_status,
            consecutive_failures=self._failures,
            next_attempt_seconds=_seconds_until(self._next_attempt, now),
            sent=counts["sent"],
            sent_again=counts["sent_again"],
            resolved=counts["resolved"],
            accepted=counts["resolved"] - known,
            duplicates=counts["duplicate"],
            rejected=counts["rejected"],
            forks=counts["fork"],
            sealed=counts["sealed"],
            set_aside=counts["set_aside"],
            resent=self._live.resend.resent,
            lost=self._live.resend.lost.count,
            log_seen=self._prover.seen.stated(),
            unproven=self._prover.trouble,
            contradictions=self._prover.seen.contradictions,
            batch_records_max=self._live.window.size,
            drain_seconds_left=_seconds_until(self._drain_until, now),
            dead=dead,
            alarms=ship_alarms(
                silent=self._is_silent(now),
                forks=counts["fork"],
                rejected=counts["rejected"],
                set_aside=counts["set_aside"],
                lost=self._live.resend.ever,
                unproven=self._prover.trouble is not None,
                contradicted=self._prover.contradicted,
                refusing=self._poisoned >= limits.SHIP_POISONED_MAX,
                blocked=any(source.blocked for source in self._sources()),
                quarantined=sum(one.quarantine.files for one in dead),
            ),
        )

    @property
    def _circuit(self) -> str:
        if self._failures == 0:
            return "closed"
        return "half_open" if self._next_attempt is None else "open"

    def _is_silent(self, now: float) -> bool:
        """Whether records have waited for two refresh intervals and the store took none.

        A store that had nothing to take for an hour is not silent when the next record comes.
        """
        waited = self._spool.shelf.backlog.oldest_seconds(now) or 0.0
        if any(source.backlog_records for source in self._dead):
            waited = max(waited, now - self._dead_since)
        if self._spool.unresent_records:
            waited = now - self._last_success
        return min(waited, now - self._last_success) > limits.SHIP_SILENCE_SECONDS

    def _dead_status(self, source: DeadSource, now: float) -> DeadStatus:
        found, settled = source.dead, source.dead.settled
        age = None
        if settled is not None and found.quarantine_files:
            age = max(0.0, (self._clock.wall_us() - settled.wall_us) / 1_000_000)
        return DeadStatus(
            instance=source.instance,
            backlog_records=source.backlog_records,
            blocked=source.blocked,
            retry_seconds=_seconds_until(source.blocked_until if source.blocked else None, now),
            quarantine=QuarantineStatus(
                files=found.quarantine_files, bytes=found.quarantine_bytes, oldest_seconds=age
            ),
        )


def _seconds_until(moment: float | None, now: float) -> float | None:
    return None if moment is None else max(0.0, moment - now)


async def _build(records: Sequence[StoredRecord]) -> Body:
    builder = BodyBuilder()
    for first in range(0, len(records), LINES_PER_STEP):
        if not builder.add(records[first : first + LINES_PER_STEP]):
            break
        await checkpoint()
    return builder.finish()
