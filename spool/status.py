"""What an operator sees of the spool and of shipping.

Owns: the frozen documents of ``/spool/status``, the times of recent commits and the alarms.
Refuses: gathering the other values.
Sizes are bytes, times are seconds of the event loop's clock unless the name says otherwise.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import msgspec

SLOW_FLUSH_US = 100_000
"""A disk whose 99th percentile is beyond this adds to every call; operators want to know."""
OLDEST_UNSENT_SECONDS = 300.0
_TIMES_KEPT = 512
_AGE_STEP_SECONDS = 1.0


class CommitStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Group commits since start; times from hand-over to the disk until durable, recent ones."""

    records: int
    batches: int
    p50_us: int | None
    p99_us: int | None
    slow_over_1s: int


class SpoolStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The spool of one instance. ``state``: ok | pressure | full | draining | failed | closed.

    Seqs are -1 while there is none. ``bytes_used`` counts whole segments, prepared ones,
    quarantine and what dead instances left.
    """

    state: str
    reason: str | None
    instance: str
    last_seq: int
    durable_seq: int
    durable_hash: str | None
    acked_seq: int
    backlog_records: int
    oldest_unsent_seconds: float | None
    bytes_used: int
    bytes_max: int
    bytes_reserved: int
    bytes_quarantined: int
    bytes_dead: int
    segments: int
    segments_prepared: int
    may_grow: bool
    damaged_records: int
    commit: CommitStatus
    refused: dict[str, int]
    trim_blocked: str | None
    alarms: list[str]
    changes: int


class DeadStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What is left to ship of an instance that ended."""

    instance: str
    backlog_records: int
    blocked: str | None


class ShipStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Shipping. ``state``: idle | shipping | waiting (backing off) | held (not certified).

    ``lost``: records of this instance that the store acknowledged and now lacks, as far as it said;
    ``resent``: how many of such came back. ``backlog_records`` includes those still to come back.
    """

    state: str
    backlog_records: int
    last_success_seconds_ago: float | None
    last_error: str | None
    last_status: int | None
    consecutive_failures: int
    next_attempt_seconds: float | None
    resolved: int
    duplicates: int
    rejected: int
    forks: int
    sealed: int
    set_aside: int
    resent: int
    lost: int
    batch_records_max: int
    dead: list[DeadStatus]
    alarms: list[str]


def percentile(values: Sequence[float], percent: int) -> float | None:
    """The nearest-rank percentile of ``values``, or None without any."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


class CommitTimes:
    """How long recent group commits took, and since when records wait for the store.

    Ages are kept at one per second, so a backlog of any length costs an entry per second.
    """

    def __init__(self) -> None:
        self._records = 0
        self._batches = 0
        self._slow = 0
        self._recent: deque[float] = deque(maxlen=_TIMES_KEPT)
        self._ages: deque[tuple[int, float]] = deque()

    def note(self, took_seconds: float, records: int) -> None:
        """One batch was written."""
        self._records += records
        self._batches += 1
        self._slow += took_seconds > 1.0
        self._recent.append(took_seconds)

    def became_durable(self, now: float, durable_seq: int) -> None:
        """Records up to ``durable_seq`` wait for the store from here on."""
        if not self._ages or now - self._ages[-1][1] >= _AGE_STEP_SECONDS:
            self._ages.append((durable_seq, now))

    def acknowledged(self, through_seq: int) -> None:
        """Records up to ``through_seq`` no longer wait."""
        while self._ages and self._ages[0][0] <= through_seq:
            self._ages.popleft()

    def oldest_unsent_seconds(self, now: float, backlog_records: int) -> float | None:
        """How long the oldest record has waited, to the second; None without a backlog."""
        if backlog_records == 0:
            return None
        return now - self._ages[0][1] if self._ages else 0.0

    def status(self) -> CommitStatus:
        """The figures of ``CommitStatus``."""
        p50, p99 = percentile(self._recent, 50), percentile(self._recent, 99)
        return CommitStatus(
            records=self._records,
            batches=self._batches,
            p50_us=None if p50 is None else round(p50 * 1_000_000),
            p99_us=None if p99 is None else round(p99 * 1_000_000),
            slow_over_1s=self._slow,
        )


def spool_alarms(
    state: str,
    oldest_unsent_seconds: float | None,
    commit: CommitStatus,
    quarantine_bytes: int,
    damaged_records: int,
) -> list[str]:
    """Stable names of what an operator should look at."""
    alarms = {
        "disk_failed": state == "failed",
        "spool_full": state == "full",
        "spool_pressure": state == "pressure",
        "oldest_unsent": (oldest_unsent_seconds or 0.0) > OLDEST_UNSENT_SECONDS,
        "slow_disk": (commit.p99_us or 0) > SLOW_FLUSH_US,
        "quarantine": quarantine_bytes > 0,
        "integrity": damaged_records > 0,
    }
    return [name for name, raised in alarms.items() if raised]


def ship_alarms(
    *,
    silent: bool,
    forks: int,
    rejected: int,
    set_aside: int,
    lost: bool,
    refusing: bool,
    blocked: bool,
) -> list[str]:
    """Stable names of what an operator should look at."""
    alarms = {
        "not_shipping": silent,
        "store_fork": forks > 0,
        "store_rejected": rejected > 0,
        "records_set_aside": set_aside > 0,
        "store_lost_records": lost,
        "store_refuses_all": refusing,
        "shipping_blocked": blocked,
    }
    return [name for name, raised in alarms.items() if raised]
