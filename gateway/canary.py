"""Which daemons take a candidate: a stable place between 0 and 99 for each, below the percentage.

Owns: that place. Refuses: chance and time. The same name always gets the same place, so a daemon
decides alike after each restart, and a higher percentage only adds daemons.
"""

from __future__ import annotations

import hashlib
from typing import Final

_PLACES: Final = 100


def place_of(scope: str, placement: str) -> int:
    """The place of the daemon named ``placement`` in ``scope``, 0 to 99, evenly spread.

    Another scope gives another place: it is not always the same machines that go first.
    """
    digest = hashlib.sha256(f"{scope}\n{placement}".encode()).digest()
    return int.from_bytes(digest[:8], "big") * _PLACES >> 64


def takes(scope: str, placement: str | None, percent: int) -> bool:
    """Whether the daemon named ``placement`` is among the ``percent`` % of ``scope``; one without
    a name never is."""
    return placement is not None and place_of(scope, placement) < percent
