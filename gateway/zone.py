"""Local time from transition tables that stand in the bundle.

Owns: the offset of a zone at an instant, from the table alone. Refuses: the node's time-zone
files: two nodes, or one node and a later replay, may have different ones.
"""

from __future__ import annotations

from bisect import bisect_right

import msgspec


class Zone(msgspec.Struct, frozen=True):
    """``starts_us``: ascending instants from which ``offsets_seconds`` (east of UTC) hold.

    The table says nothing before its first instant nor from ``until_us`` on.
    """

    starts_us: tuple[int, ...]
    offsets_seconds: tuple[int, ...]
    until_us: int


def minute_of_day(now_us: int, zone: Zone | None) -> int | None:
    """Minutes since local midnight (UTC without a zone); None where the table does not reach."""
    seconds = now_us // 1_000_000
    if zone is not None:
        place = bisect_right(zone.starts_us, now_us) - 1
        if place < 0 or now_us >= zone.until_us:
            return None
        seconds += zone.offsets_seconds[place]
    return seconds % 86_400 // 60
