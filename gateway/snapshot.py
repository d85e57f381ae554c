"""The policy of one moment: a verified bundle, the head that pins it, and their times.

Immutable. A call reads it once; everything about the call is decided by that one, and its
version and digest stand in the record. How old it is is worked out on each question, from signed
times alone: no timer has to fire for a copy to become too old.

Owns: state and age as functions of the time. Refuses: verifying (``policy_cache.trusted``).
"""

from __future__ import annotations

import msgspec

from gateway.table import Table
from gateway.vocabulary import PolicyState, RecordCommit


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A policy in force. Times in microseconds since 1970 UTC.

    ``digest``: SHA-256 of the bundle's payload. ``issued_us`` and ``head_expires_us`` are the
    head's; ``expires_us`` is the earliest end of head, bundle and root; ``rest_expires_us`` that
    of bundle and root alone. ``floor_us``: newest signed time seen; no clock before it is
    believed.
    """

    scope: str
    version: int
    digest: str
    engine: str
    root_version: int
    epoch: int
    head_version: int
    issued_us: int
    fresh_until_us: int
    head_expires_us: int
    rest_expires_us: int
    floor_us: int
    lock_reason: str | None
    refresh_seconds_min: float
    refresh_seconds_max: float
    table: Table

    @property
    def expires_us(self) -> int:
        return min(self.head_expires_us, self.rest_expires_us)

    @property
    def locked(self) -> bool:
        return self.lock_reason is not None

    @property
    def uncertified_seconds_max(self) -> int:
        """How long an instance may decide without a certificate; signed in the bundle."""
        return self.table.policy.uncertified_seconds_max

    @property
    def show_rule_ids(self) -> bool:
        """Whether refusals may name the rules that decided."""
        return self.table.policy.show_rule_ids

    def trusted_us(self, now_us: int) -> int:
        """The later of the clock and the newest signed time."""
        return max(now_us, self.floor_us)

    def state(self, now_us: int) -> PolicyState:
        """``fresh``, ``stale``, ``expired`` or ``locked``; a lock beats everything."""
        if self.lock_reason is not None:
            return "locked"
        trusted_us = self.trusted_us(now_us)
        if trusted_us >= self.expires_us:
            return "expired"
        return "fresh" if trusted_us < self.fresh_until_us else "stale"

    def age_ms(self, now_us: int) -> int:
        """Milliseconds since the head was issued."""
        return max(0, self.trusted_us(now_us) - self.issued_us) // 1_000

    def open_at(self, now_us: int) -> bool:
        """Whether the signed ``open_on_expired`` reaches ``now_us``.

        It bridges an absent policy service: only the head may have expired, never bundle or root.
        """
        choice = self.table.policy.open_on_expired
        if choice is None or self.locked:
            return False
        until_us = self.head_expires_us + choice.seconds_max * 1_000_000
        return self.trusted_us(now_us) < min(until_us, self.rest_expires_us)

    def record_commit_of(self, route_name: str) -> RecordCommit:
        """When a record of this route must be durable; ``before_forward`` unless policy says."""
        by_route = self.table.policy.record_commit
        return by_route.get(route_name, by_route.get("*", "before_forward"))
