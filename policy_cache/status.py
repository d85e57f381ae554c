"""What operators see of the policy of a daemon.

Owns: the form of the policy's status, and which alarms follow from it. Refuses: finding out any of
it (``cache.py``), and telling anybody.
"""

from __future__ import annotations

from typing import Final

import msgspec

from gateway.vocabulary import PolicyState

POLICY_ALARMS: Final = (
    "policy_ageing",
    "policy_credential",
    "policy_equivocation",
    "policy_frozen",
    "policy_not_kept",
    "policy_update_required",
)


class PolicyStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Times as text; ``counters``: result or refusal reason → count.

    ``ageing_percent``: 50 or 80 once so much of the life of the policy in force is gone, or 0.
    ``clock_suspect``: the node's clock is behind signed time, or a head came from its future.
    ``credential_refused``: the source answers 401 or 403. ``equivocation``: two documents of one
    version were seen. ``freeze_suspected``: the source answers and the policy still grows stale.
    ``persist_degraded``: a restart may find no policy or an older one. ``update_required``: what
    was published is for a later version of this program.
    """

    scope: str
    state: PolicyState
    version: int | None
    digest: str | None
    age_ms: int | None
    ageing_percent: int
    expires: str | None
    head_version: int | None
    root_version: int | None
    lock_reason: str | None
    last_success: str | None
    last_error: str | None
    last_error_time: str | None
    failures_in_a_row: int
    counters: dict[str, int]
    clock_suspect: bool
    credential_refused: bool
    equivocation: bool
    freeze_suspected: bool
    persist_degraded: bool
    update_required: bool

    @property
    def alarms(self) -> tuple[str, ...]:
        """The alarms that are up, by name; a suspect clock is the daemon's own alarm."""
        up = (
            self.ageing_percent > 0,
            self.credential_refused,
            self.equivocation,
            self.freeze_suspected,
            self.persist_degraded,
            self.update_required,
        )
        return tuple(word for word, holds in zip(POLICY_ALARMS, up, strict=True) if holds)
