"""Tables of a witness.

Owns: their shape. ``cosigned`` has one row per log: what was cosigned last, and all that a next
checkpoint is held against. ``contradiction`` keeps what a log signed that does not follow from it:
two notes that anybody can check without believing this witness.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = 1

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS cosigned (
    origin TEXT PRIMARY KEY,
    size INTEGER NOT NULL,
    root BLOB NOT NULL,
    cosigned_us INTEGER NOT NULL,
    note TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS contradiction (
    origin TEXT NOT NULL,
    hash BLOB NOT NULL,
    received_us INTEGER NOT NULL,
    cause TEXT NOT NULL,
    cosigned_note TEXT NOT NULL,
    refused_note TEXT NOT NULL,
    proof TEXT NOT NULL,
    PRIMARY KEY (origin, hash)
) WITHOUT ROWID;
"""
