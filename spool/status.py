"""What an operator sees of the spool and of shipping.

Owns: the frozen documents of ``/spool/status``, the times of recent commits and the alarms.
Refuses: gathering the other values.
Sizes are bytes, times are seconds of the event loop's clock unless the name says otherwise.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import msgspec

from gateway.documents import LogSeen

SLOW_FLUSH_US = 100_000
"""A disk whose 99th percentile is beyond this adds to every call; operators want to know."""
OLDEST_UNSENT_SECONDS = 300.0
SPOOL_ALARMS = (
    *("disk_failed", "spool_full", "spool_pressure", "oldest_unsent", "slow_disk"),
    *("quarantine", "integrity"),
)
SHIP_ALARMS = (
    *("not_shipping", "store_fork", "store_rejected", "records_set_aside"),
    *("store_lost_records", "store_unproven", "store_two_histories", "store_refuses_all"),
    *("shipping_blocked", "quarantine"),
)
"""The names that ``spool_alarms`` and ``ship_alarms`` may raise."""
_TIMES_KEPT = 512


class CommitStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Group commits since start. ``p50_us`` and ``p99_us``: recent ones, from hand-over to the
    disk thread until durable; ``sync_…``: of that the ``fdatasync`` alone, which is the disk's
    part. ``mean_batch``: records that shared one sync."""

    records: int
    batches: int
    mean_batch: float | None
    p50_us: int | None
    p99_us: int | None
    sync_p50_us: int | None
    sync_p99_us: int | None
    slow_over_1s: int


class QuarantineStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What was set aside, in files. ``oldest_seconds``: since the first, as far as known."""

    files: int
    bytes: int
    oldest_seconds: float | None


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """Records that may have been answered and cannot be read, or do not belong there.

    ``first_seq``: the first of them, null where it cannot be told; ``rule``: a word of
    ``examine.Findings.notes``.
    """

    instance: str
    first_seq: int | None
    rule: str


class SpoolStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The spool of one instance. ``state``: ok | pressure | full | draining | failed | closed.

    ``state_seconds``: for how long it has been seen to hold. Seqs are -1 while there is none.
    ``bytes_used`` counts whole segments, prepared ones, quarantine and what dead instances left;
    ``bytes_free``: of the volume, looked at every few seconds, null before the first look.
    ``backlog_bytes``: the frames of the records that the store has not acknowledged.
    ``quarantine``: of this instance. ``integrity``: the first damage, null for none.
    """

    state: str
    reason: str | None
    state_seconds: float
    instance: str
    last_seq: int
    durable_seq: int
    durable_hash: str | None
    acked_seq: int
    backlog_records: int
    backlog_bytes: int
    oldest_unsent_seconds: float | None
    bytes_used: int
    bytes_max: int
    bytes_free: int | None
    bytes_reserved: int
    bytes_quarantined: int
    bytes_dead: int
    segments: int
    segments_prepared: int
    may_grow: bool
    damaged_records: int
    quarantine: QuarantineStatus
    integrity: Violation | None
    commit: CommitStatus
    refused: dict[str, int]
    alarms: list[str]
    changes: int


class DeadStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What is left to ship of an instance that ended. ``retry_seconds``: until a blocked one is
    tried again. ``quarantine``: what it has set aside, kept 30 days beyond its record."""

    instance: str
    backlog_records: int
    blocked: str | None
    retry_seconds: float | None
    quarantine: QuarantineStatus


class ShipStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Shipping. ``state``: idle | shipping | waiting (backing off) | held (not certified).

    ``circuit``: ``closed`` | ``open`` (after a failure, nothing is sent for
    ``next_attempt_seconds``) | ``half_open`` (one request finds out). ``in_flight``: records in
    the request under way. ``sent`` counts records as often as they were sent, ``sent_again`` all
    but their first times; ``accepted``: new to the store. ``drain_seconds_left``: until the
    deadline of a stop.

    ``lost``: records of this instance that the store acknowledged and now lacks, as far as it said;
    ``resent``: how many of such came back. ``backlog_records`` includes those still to come back.
    ``log_seen``: the newest checkpoint of the store's log that was checked. ``unproven``: why the
    store's newest answer proved nothing; ``contradictions``: how often it showed another history,
    each kept beside the spools.
    """

    state: str
    circuit: str
    in_flight: int
    backlog_records: int
    last_success_seconds_ago: float | None
    last_error: str | None
    last_status: int | None
    consecutive_failures: int
    next_attempt_seconds: float | None
    sent: int
    sent_again: int
    resolved: int
    accepted: int
    duplicates: int
    rejected: int
    forks: int
    sealed: int
    set_aside: int
    resent: int
    lost: int
    log_seen: LogSeen | None
    unproven: str | None
    contradictions: int
    batch_records_max: int
    drain_seconds_left: float | None
    dead: list[DeadStatus]
    alarms: list[str]


def percentile(values: Sequence[float], percent: int) -> float | None:
    """The nearest-rank percentile of ``values``, or None without any."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


class Quarantine:
    """The account of one instance's quarantine. Times are of the event loop's clock."""

    def __init__(self) -> None:
        self.files = 0
        self._bytes = 0
        self._oldest: float | None = None

    def note(self, now: float, file_bytes: int) -> None:
        """One more file."""
        self.files += 1
        self._bytes += file_bytes
        self._oldest = now if self._oldest is None else self._oldest

    def status(self, now: float) -> QuarantineStatus:
        """The figures of ``QuarantineStatus``."""
        return QuarantineStatus(
            files=self.files,
            bytes=self._bytes,
            oldest_seconds=None if self._oldest is None else now - self._oldest,
        )


class CommitTimes:
    """How long recent group commits took, and their syncs."""

    def __init__(self) -> None:
        self._records = 0
        self._batches = 0
        self._slow = 0
        self._recent: deque[float] = deque(maxlen=_TIMES_KEPT)
        self._syncs: deque[float] = deque(maxlen=_TIMES_KEPT)

    def note(self, took_seconds: float, records: int) -> None:
        """One batch was written."""
        self._records += records
        self._batches += 1
        self._slow += took_seconds > 1.0
        self._recent.append(took_seconds)

    def note_sync(self, took_seconds: float) -> None:
        """One ``fdatasync`` returned; a batch over two segments has two."""
        self._syncs.append(took_seconds)

    def status(self) -> CommitStatus:
        """The figures of ``CommitStatus``."""
        return CommitStatus(
            records=self._records,
            batches=self._batches,
            mean_batch=round(self._records / self._batches, 2) if self._batches else None,
            p50_us=_micros(percentile(self._recent, 50)),
            p99_us=_micros(percentile(self._recent, 99)),
            sync_p50_us=_micros(percentile(self._syncs, 50)),
            sync_p99_us=_micros(percentile(self._syncs, 99)),
            slow_over_1s=self._slow,
        )


def _micros(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1_000_000)


def spool_alarms(
    state: str,
    oldest_unsent_seconds: float | None,
    commit: CommitStatus,
    quarantined: int,
    damaged_records: int,
) -> list[str]:
    """Stable names of what an operator should look at."""
    alarms = {
        "disk_failed": state == "failed",
        "spool_full": state == "full",
        "spool_pressure": state == "pressure",
        "oldest_unsent": (oldest_unsent_seconds or 0.0) > OLDEST_UNSENT_SECONDS,
        "slow_disk": (commit.sync_p99_us or 0) > SLOW_FLUSH_US,
        "quarantine": quarantined > 0,
        "integrity": damaged_records > 0,
    }
    assert tuple(alarms) == SPOOL_ALARMS
    return [name for name, raised in alarms.items() if raised]


def ship_alarms(
    *,
    silent: bool,
    forks: int,
    rejected: int,
    set_aside: int,
    lost: bool,
    unproven: bool,
    contradicted: bool,
    refusing: bool,
    blocked: bool,
    quarantined: int,
) -> list[str]:
    """Stable names of what an operator should look at."""
    alarms = {
        "not_shipping": silent,
        "store_fork": forks > 0,
        "store_rejected": rejected > 0,
        "records_set_aside": set_aside > 0,
        "store_lost_records": lost,
        "store_unproven": unproven,
        "store_two_histories": contradicted,
        "store_refuses_all": refusing,
        "shipping_blocked": blocked,
        "quarantine": quarantined > 0,
    }
    assert tuple(alarms) == SHIP_ALARMS
    return [name for name, raised in alarms.items() if raised]
