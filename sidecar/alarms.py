"""The alarms of a daemon: stable words, each for a state that somebody should look at.

Owns: the closed list, and which are up. Refuses: thresholds of the spool, of shipping and of
policy (they are in ``spool.status`` and ``policy_cache``) and telling anybody: status, tail and
metrics show the words, and ``docs/operations.md`` says for each what to do.
"""

from __future__ import annotations

from typing import Final

from policy_cache.status import POLICY_ALARMS
from sidecar.recovery import RecoveryStatus
from spool.status import SHIP_ALARMS, SPOOL_ALARMS, ShipStatus, SpoolStatus

ALARMS: Final = tuple(
    sorted(
        {
            *SPOOL_ALARMS,
            *SHIP_ALARMS,
            *POLICY_ALARMS,
            "clock_suspect",
            "instance_conflict",
            "integrity",
            "recovery_failed",
        }
    )
)


def raised(
    spool: SpoolStatus,
    shipping: ShipStatus,
    recovery: RecoveryStatus,
    *,
    clock_suspect: bool,
    conflict: bool,
    policy: tuple[str, ...] = (),
) -> tuple[str, ...]:
    """The alarms that are up, each once, by name."""
    words = {*spool.alarms, *shipping.alarms, *policy}
    if clock_suspect:
        words.add("clock_suspect")
    if conflict:
        words.add("instance_conflict")
    if recovery.violations:
        words.add("integrity")
    if recovery.left_alone:
        words.add("recovery_failed")
    assert words <= set(ALARMS)
    return tuple(sorted(words))
