"""The policy cache: one refresher, the snapshot in force, and what operators see of it.

Owns: the loop that refreshes every 30 to 60 s (the first time at once, sooner on a hint or the
answer to a long poll), its waits, filling in ``PolicyStatus``, and telling waiters of a lock.
Refuses: verifying, storing and fetching, and deciding anything: ``current()`` is all that a call
needs.
"""

from __future__ import annotations

from collections.abc import Callable

import anyio

from gateway.documents import Root
from gateway.errors import DocumentInvalid
from gateway.limits import POLICY_REFRESH_NOW_SECONDS_MIN
from gateway.ports import Disk, Entropy, WallClock
from gateway.snapshot import Snapshot
from gateway.timestamp import time_text
from gateway.vocabulary import PolicyState
from policy_cache import freshness
from policy_cache.acquire import Acquirer
from policy_cache.config import CacheConfig
from policy_cache.fetch import FetchFailed, PolicySource
from policy_cache.findings import Findings
from policy_cache.freshness import Interval
from policy_cache.progress import Progress
from policy_cache.signed_time import SignedTime
from policy_cache.status import PolicyStatus
from policy_cache.store import PolicyStore

_ROOT_PROBE_SECONDS = 3_600.0
_NEWS = frozenset({"activated", "refreshed"})

Report = Callable[[str, str], None]
"""Told of events: ``policy_activated``, ``policy_rejected``, ``policy_locked``, ``policy_ageing``,
``policy_unreachable``, ``policy_persist_failed``, each with one line of detail."""


class PolicyCache:
    """The policy of one scope. ``load`` once, then ``run`` in a task of its own."""

    def __init__(
        self,
        source: PolicySource,
        disk: Disk,
        clock: WallClock,
        entropy: Entropy,
        config: CacheConfig,
        report: Report | None = None,
        on_snapshot: Callable[[Snapshot], None] | None = None,
    ) -> None:
        """``on_snapshot``: told of each one that is in force, also of a newer head for the same."""
        self._clock = clock
        self._entropy = entropy
        self._config = config
        self._report: Report = report or _silent
        self._on_snapshot = on_snapshot
        self._time = SignedTime(clock)
        self._store = PolicyStore(disk, config.directory)
        self._acquirer = Acquirer(source, self._store, self._time, config, self._changed)
        self._wake = anyio.Event()
        self._held = anyio.Event()
        self._locked = anyio.Event()
        self._unlocked = anyio.Event()
        self._unlocked.set()
        self._busy = anyio.Lock()
        self._findings = Findings()
        self._root_probed_at: float | None = None
        self._asked_at: float | None = None
        self._reported_digest: str | None = None
        self._was_degraded = False
        self._age_told = 0
        self._passed_over_told: str | None = None

    def current(self) -> Snapshot | None:
        """The policy in force; None before there is one (state EMPTY). Read it once per call."""
        return self._acquirer.current

    def now_us(self) -> int:
        """Trusted time: the later of the clock and the newest signed time."""
        return self._time.now_us()

    @property
    def progress(self) -> Progress:
        """What became of the newest policy, and when."""
        return self._acquirer.progress

    def signed_time_us(self) -> int:
        """The floor under every clock: the newest signed time, gone on monotonically."""
        return self._time.floor_us()

    async def load(self) -> None:
        """Put in force what the disk holds; an unusable copy is reported, never an error."""
        try:
            await self._acquirer.load()
        except DocumentInvalid as error:
            self._refused(error)
        except OSError as error:
            self._report("policy_persist_failed", f"cannot read {self._config.directory}: {error}")

    async def run(self) -> None:
        """Refresh for ever: at once, then by the interval, sooner when something says so."""
        polls = True
        while True:
            self._wake = anyio.Event()
            began = anyio.current_time()
            result = await self._attempt()
            # A long poll that was answered for nothing must not be asked again at once.
            polls = polls or result in _NEWS
            polls = await self._pause(self._delay_seconds(), polls=polls)
            spare = POLICY_REFRESH_NOW_SECONDS_MIN - (anyio.current_time() - began)
            if self._wake.is_set() and spare > 0:
                await anyio.sleep(spare)

    async def _pause(self, seconds: float, *, polls: bool) -> bool:
        """Wait, until a hint at the latest; False if it was the source's own."""
        polled = False

        async def poll() -> None:
            nonlocal polled
            polled = await self._acquirer.changed(seconds)
            if polled:
                self._wake.set()

        with anyio.move_on_after(seconds):
            async with anyio.create_task_group() as waiting:
                if polls:
                    waiting.start_soon(poll)
                await self._wake.wait()
                waiting.cancel_scope.cancel()
        return not polled

    async def refresh(self) -> str:
        """Refresh now and say what came of it: a result, ``rejected: …``, ``unreachable: …``,
        or ``too_soon`` within a second of the last one asked for."""
        now = anyio.current_time()
        if self._asked_at is not None and now - self._asked_at < POLICY_REFRESH_NOW_SECONDS_MIN:
            return "too_soon"
        self._asked_at = now
        return await self._attempt()

    def hint(self) -> None:
        """Let the refresher try now: something may have changed. Harmless when wrong."""
        self._wake.set()

    async def wait_held(self) -> None:
        """Return once there is a policy, in whatever state."""
        await self._held.wait()

    async def wait_locked(self) -> None:
        """Return once the policy is locked; at once if it is. Open streams are cut on it."""
        await self._locked.wait()

    async def wait_unlocked(self) -> None:
        """Return once the policy is not locked; at once if it is not."""
        await self._unlocked.wait()

    @property
    def root(self) -> Root | None:
        """The newest verified root, whose other roles others need; None before the first."""
        return self._acquirer.root

    async def wait_root(self) -> None:
        """Return once there is a verified root."""
        await self._acquirer.root_held.wait()

    async def aclose(self) -> None:
        """Give the cache directory's lock back."""
        await self._store.close()

    def status(self) -> PolicyStatus:
        """The state now; worked out anew on each call."""
        snapshot, now_us = self.current(), self._time.now_us()
        found, error = self._findings, self._findings.last_error
        state: PolicyState = "empty" if snapshot is None else snapshot.state(now_us)
        return PolicyStatus(
            scope=self._config.scope,
            state=state,
            version=None if snapshot is None else snapshot.version,
            digest=None if snapshot is None else snapshot.digest,
            age_ms=None if snapshot is None else snapshot.age_ms(now_us),
            ageing_percent=_ageing(snapshot, now_us),
            expires=None if snapshot is None else time_text(snapshot.expires_us),
            head_version=None if snapshot is None else snapshot.head_version,
            root_version=self._acquirer.root_version,
            lock_reason=None if snapshot is None else snapshot.lock_reason,
            last_success=_time(found.last_success_us),
            last_error=None if error is None else error[0],
            last_error_time=None if error is None else time_text(error[1]),
            failures_in_a_row=found.failures,
            counters=dict(sorted(found.counters.items())),
            clock_suspect=found.future_head or self._time.clock_behind,
            credential_refused=found.credential_refused,
            equivocation=found.equivocation,
            freeze_suspected=found.nothing_newer and state in ("stale", "expired"),
            persist_degraded=self._acquirer.persist_degraded,
            update_required=found.update_required,
        )

    async def _attempt(self) -> str:
        async with self._busy:
            now = anyio.current_time()
            probe = (
                self._root_probed_at is None or now - self._root_probed_at >= _ROOT_PROBE_SECONDS
            )
            try:
                result = await self._acquirer.refresh(probe_root=probe)
            except FetchFailed as error:
                self._findings.unreachable(error, self._clock.wall_us())
                self._report("policy_unreachable", str(error))
                self._tell_age()
                return f"unreachable: {error}"
            except DocumentInvalid as error:
                self._refused(error)
                self._tell_age()
                return f"rejected: {error}"
            if probe:
                self._root_probed_at = now
            self._succeeded(result)
            return result

    def _succeeded(self, result: str) -> None:
        self._findings.succeeded(result, self._clock.wall_us())
        degraded = self._acquirer.persist_degraded
        if degraded and not self._was_degraded:
            self._report("policy_persist_failed", f"cannot write {self._config.directory}")
        self._was_degraded = degraded
        self._tell_passed_over()
        self._tell_age()

    def _tell_passed_over(self) -> None:
        # Once for each reason: the head is signed again each minute.
        why = self._acquirer.passed_over
        told = None if why is None else f"candidate passed over: {why}"
        if told is not None and told != self._passed_over_told:
            self._findings.counters["candidate_passed_over"] += 1
            self._report("policy_rejected", told)
        self._passed_over_told = told

    def _refused(self, error: DocumentInvalid) -> None:
        self._findings.refused(error, self._clock.wall_us())
        self._report("policy_rejected", str(error))

    def _tell_age(self) -> None:
        # Once for each step: a policy that nobody renews is going to stop every call.
        snapshot = self.current()
        percent = _ageing(snapshot, self._time.now_us())
        if snapshot is not None and percent > self._age_told:
            until = time_text(snapshot.expires_us)
            self._report("policy_ageing", f"{percent} % of its life is gone; it ends at {until}")
        self._age_told = percent

    def _changed(self, snapshot: Snapshot) -> None:
        self._held.set()
        if self._on_snapshot is not None:
            self._on_snapshot(snapshot)
        if snapshot.locked:
            if not self._locked.is_set():
                self._report("policy_locked", snapshot.lock_reason or "")
                self._unlocked = anyio.Event()
            self._locked.set()
            return
        unlocked = self._locked.is_set()
        if unlocked:
            self._locked = anyio.Event()
        self._unlocked.set()
        if unlocked or snapshot.digest != self._reported_digest:
            self._reported_digest = snapshot.digest
            self._report("policy_activated", f"version {snapshot.version} {snapshot.digest}")

    def _delay_seconds(self) -> float:
        snapshot = self.current()
        signed = (
            None
            if snapshot is None
            else (snapshot.refresh_seconds_min, snapshot.refresh_seconds_max)
        )
        configured = Interval(self._config.refresh_seconds_min, self._config.refresh_seconds_max)
        chosen = freshness.interval(configured, signed)
        if snapshot is not None and self._time.now_us() >= snapshot.fresh_until_us:
            chosen = freshness.hurried(chosen)
        fraction = self._entropy.fraction()
        if not self._findings.failures:
            return freshness.delay_seconds(chosen, fraction)
        return freshness.failed_seconds(
            chosen,
            self._findings.failures,
            fraction,
            self._findings.retry_after,
            None if snapshot is None else (snapshot.expires_us - self._time.now_us()) / 1_000_000,
        )


def _silent(_event: str, _detail: str) -> None:
    return None


def _ageing(snapshot: Snapshot | None, now_us: int) -> int:
    if snapshot is None:
        return 0
    return freshness.age_step(snapshot.issued_us, snapshot.expires_us, now_us)


def _time(wall_us: int | None) -> str | None:
    return None if wall_us is None else time_text(wall_us)
