"""What is expected of the spool, and whether a run of the benchmark bears it out.

Owns: the expectations. Refuses: failing; a run on a shared machine proves nothing alone, so the
table says what was expected, what came out, and leaves the judgement to whoever reads it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bench.commits import CommitRow
from bench.slower import SlowerRow
from bench.stalled import Stalled
from bench.ways import GROUPED, SQLITE, SQLITE_GROUPED, UNGROUPED

_FASTER_THAN_UNGROUPED = 5.0
_SYNCS_PER_RECORD_MAX = 0.25
_FASTER_THAN_SQLITE = 1.5
_LAG_MS_MAX = 50.0


class Claim(msgspec.Struct, frozen=True):
    """``got`` is on the right side of ``expected`` if ``holds``."""

    what: str
    expected: str
    got: str
    holds: bool


def commit_claims(rows: Sequence[CommitRow]) -> list[Claim]:
    """Of the throughput table."""
    by = {(row.way, row.callers): row for row in rows}
    syncs = by[GROUPED, 8].syncs_per_record
    return [
        _faster(by[UNGROUPED, 64], _FASTER_THAN_UNGROUPED),
        Claim(
            what="syncs per record, 8 callers",
            expected=f"at most {_SYNCS_PER_RECORD_MAX}",
            got=f"{syncs:.3f}",
            holds=syncs <= _SYNCS_PER_RECORD_MAX,
        ),
        _faster(by[SQLITE, 8], _FASTER_THAN_SQLITE),
        _faster(by[SQLITE, 64], _FASTER_THAN_SQLITE),
        _faster(by[SQLITE_GROUPED, 64], _FASTER_THAN_SQLITE),
        *(_all_durable(row) for row in rows if row.stored != row.answered),
    ]


def slower_claims(rows: Sequence[SlowerRow]) -> list[Claim]:
    """Of the table of slower syncs: what grouping is for is a sync that takes its time."""
    return [
        Claim(
            what=f"{UNGROUPED}, {row.callers} callers, syncs {row.added_ms:g} ms longer",
            expected=f"at least {_FASTER_THAN_UNGROUPED:g}x",
            got=f"{row.spool_is_faster_by:.1f}x",
            holds=row.spool_is_faster_by >= _FASTER_THAN_UNGROUPED,
        )
        for row in rows
    ]


def stall_claims(stalled: Stalled) -> list[Claim]:
    """Of the stalled sync."""
    return [
        Claim(
            what=f"event-loop lag during a sync of {stalled.stall_seconds:g} s",
            expected=f"under {_LAG_MS_MAX:g} ms",
            got=f"{stalled.lag_ms_max:.1f} ms ({stalled.lag_ms_max_before:.1f} ms without it)",
            holds=stalled.lag_ms_max < _LAG_MS_MAX,
        ),
        Claim(
            what="a probe is answered meanwhile",
            expected=f"under {_LAG_MS_MAX:g} ms",
            got=f"{stalled.probes_answered} probes, slowest {stalled.probe_ms_max:.1f} ms",
            holds=stalled.probes_answered > 0 and stalled.probe_ms_max < _LAG_MS_MAX,
        ),
    ]


def _faster(row: CommitRow, factor: float) -> Claim:
    return Claim(
        what=f"spool against {row.way}, {row.callers} callers",
        expected=f"at least {factor:g}x",
        got=f"{row.spool_is_faster_by:.1f}x",
        holds=row.spool_is_faster_by >= factor,
    )


def _all_durable(row: CommitRow) -> Claim:
    return Claim(
        what=f"{row.way}, {row.callers} callers: every answered record is on disk",
        expected=str(row.answered),
        got=str(row.stored),
        holds=False,
    )
