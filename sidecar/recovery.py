"""What the looks for dead instances found, as operators see it.

Owns: the figures of ``RecoveryStatus`` and which findings are violations. Refuses: the findings
themselves (``spool.examine``) and recording them (``lifecycle.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from gateway.timestamp import time_text
from spool.dead import DeadInstance
from spool.examine import Findings
from spool.recover import LeftAlone
from spool.status import Violation

_GRAVE: Final = (
    *("chain", "damaged", "foreign", "foreign_segment", "repeat", "header", "missing_segment"),
)
"""Notes of what a crash alone does not do, the gravest first."""
_VIOLATIONS_MAX: Final = 20


class RecoveryStatus(msgspec.Struct, frozen=True, kw_only=True):
    """``at`` and ``took_ms``: of the last look. The counts are of all looks of this process.

    ``records``: readable ones; ``cut_bytes``: of last groups that cannot be read; ``ambiguous``:
    instances where it cannot be told whether those were answered; ``gaps``: holes in chains;
    ``violations``: the first few; ``left_alone``: directories that were not touched, and why.
    """

    at: str
    took_ms: int
    instances: int
    records: int
    cut_bytes: int
    ambiguous: int
    gaps: int
    violations: tuple[Violation, ...]
    left_alone: tuple[LeftAlone, ...]


NOTHING: Final = RecoveryStatus(
    at="",
    took_ms=0,
    instances=0,
    records=0,
    cut_bytes=0,
    ambiguous=0,
    gaps=0,
    violations=(),
    left_alone=(),
)
"""Before the first look."""


def add_look(
    so_far: RecoveryStatus,
    dead: Sequence[DeadInstance],
    left_alone: Sequence[LeftAlone],
    *,
    wall_us: int,
    took_us: int,
) -> RecoveryStatus:
    """``so_far`` and what one more look found, which ended at ``wall_us``."""
    found = [one.findings for one in dead]
    new = [violation for one in found if (violation := _violation(one)) is not None]
    return RecoveryStatus(
        at=time_text(wall_us),
        took_ms=took_us // 1_000,
        instances=so_far.instances + len(found),
        records=so_far.records + sum(one.records for one in found),
        cut_bytes=so_far.cut_bytes + sum(one.cut_bytes for one in found),
        ambiguous=so_far.ambiguous + sum(one.ambiguous for one in found),
        gaps=so_far.gaps + sum(len(one.damaged) for one in found),
        violations=(*so_far.violations, *new)[:_VIOLATIONS_MAX],
        left_alone=tuple(left_alone),
    )


def _violation(found: Findings) -> Violation | None:
    """The gravest of it; None where a crash explains everything."""
    rule: str | None = next((word for word in _GRAVE if word in found.notes), None)
    if rule is None and found.damaged and not found.ambiguous:
        rule = "hole"
    if rule is None:
        return None
    broken = found.chain_breaks[:1] if rule == "chain" else []
    seqs = broken or [one.first_seq for one in found.damaged[:1]]
    return Violation(instance=found.instance, first_seq=seqs[0] if seqs else None, rule=rule)
