"""One loaded segment, held against what it should be: this instance's, with a sound first page.

Owns: what a bad header page or a segment of somebody else means for the frames in it. Refuses:
the frames themselves (``examine.py``), all I/O, and doing anything about damage.
"""

from __future__ import annotations

from spool import frame
from spool.examine import Damage, Examiner
from spool.read import LoadedSegment
from spool.scan import Scan


def judge_segment(
    examiner: Examiner, loaded: LoadedSegment, scanned: Scan, *, instance: str, last: bool
) -> list[Damage]:
    """What of the next segment of ``instance`` is damaged, in order of offset.

    ``scanned``: what stands in ``loaded``; ``last``: no later segment is there.
    """
    header, base_seq = loaded.header, loaded.base_seq
    if header is None:
        rest = examiner.segment(base_seq, scanned, last=last)
        if not scanned.pieces:
            return []
        examiner.note("header")
        page = Damage(base_seq=base_seq, offset=0, length=frame.PAGE_BYTES, rule="header")
        return [page, *rest]
    if header.instance != frame.instance_bytes(instance) or header.base_seq != base_seq:
        examiner.note("foreign_segment")
        return [Damage(base_seq=base_seq, offset=0, length=len(loaded.data), rule="foreign")]
    return examiner.segment(base_seq, scanned, last=last)
