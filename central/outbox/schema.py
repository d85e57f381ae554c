"""Tables of the outbox.

Owns: their shape. ``chain``: one row for each chain that this service began, the newest with the
highest number. ``sent_seq``: the store has resolved every record up to it; ``refused``: how many of
those it did not take into the chain. ``line``: the DSSE line of a record as it is sent.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = 1

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS chain (
    number INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    region TEXT NOT NULL,
    instance TEXT NOT NULL UNIQUE,
    sent_seq INTEGER NOT NULL DEFAULT -1,
    refused INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS chain_place ON chain (tenant, region, number);

CREATE TABLE IF NOT EXISTS record (
    chain INTEGER NOT NULL REFERENCES chain (number),
    seq INTEGER NOT NULL,
    kind TEXT NOT NULL,
    hash TEXT NOT NULL,
    line BLOB NOT NULL,
    PRIMARY KEY (chain, seq)
) WITHOUT ROWID;
"""
