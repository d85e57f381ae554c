"""Rot: bits of segments that change by themselves, on the live spool and on dead ones.

Owns: drawing what is hit, and the book of the records that were. Refuses: judging what became of
them (``checkers.py``), and files that are no segments.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from spool import frame
from tests.sim.disk import SimDisk
from tests.sim.durable import DurableIndex
from tests.sim.ledger import Ledger, Rotten
from tests.sim.sectors import SECTOR_BYTES

_OF_A_PAGE: Final = 0.2
_OF_A_SECTOR: Final = 0.5
_KEYS: Final = frozenset({"start", "heartbeat", "rotate"})


def spoil(
    disk: SimDisk,
    index: DurableIndex,
    ledger: Ledger,
    chance: random.Random,
    keeps: Callable[[str], bool],
) -> None:
    """One place rots: a bit or a sector of a record that is not in the store yet (``keeps``), or
    the first page of its segment, which repeats what the rest can be read without.

    Records that carry the instance's key or certificate are spared: without them the store would
    have to take the others on trust, and rightly refuses.
    """
    index.refresh()
    there = [one for one in index.frames if one.path in disk.entries]
    unsent = [one for one in there if not keeps(one.id)]
    if not unsent:
        return
    hit = chance.choice(unsent)
    in_path = [one for one in there if one.path == hit.path]
    drawn = chance.random()
    if drawn < _OF_A_PAGE:
        # Half of the page is a copy of the other half.
        lost = (0, 0)
        disk.clear_bytes(hit.path, 0, frame.PAGE_BYTES * chance.choice((1, 2)) // 2)
    else:
        sector = hit.start // SECTOR_BYTES * SECTOR_BYTES
        lost = (sector, sector + SECTOR_BYTES) if drawn < _OF_A_SECTOR else (hit.start, hit.end)
        if any(one.kind in _KEYS and one.start < lost[1] and lost[0] < one.end for one in in_path):
            return
        if drawn < _OF_A_SECTOR:
            disk.clear_bytes(hit.path, sector, SECTOR_BYTES)
        else:
            disk.flip_bit(hit.path, chance.randrange(hit.start * 8, hit.end * 8))
    ledger.counts["rotted"] += 1
    for one in in_path:
        if one.start < lost[1] and lost[0] < one.end:
            name = index.decisions.get(one.id)
            ledger.rotten[(one.instance, one.seq)] = Rotten(id=one.id, name=name)
