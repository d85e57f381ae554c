"""How an issuer's database of an earlier version becomes one of this version.

Owns: the steps. Refuses: tables that are only new (``schema.SCHEMA`` makes what is missing).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Final

from central.database import Upgrade


def _to_2(connection: sqlite3.Connection) -> None:
    """Digest keys can be destroyed."""
    connection.execute("ALTER TABLE instance ADD COLUMN digest_key_destroyed_us INTEGER")


UPGRADES: Final[Mapping[int, Upgrade]] = {1: _to_2}
