"""Tables of the issuer.

Owns: their shape. Times are microseconds since 1970; ``attested`` is who proved the start
(attestation type, subject, pod uid), so that an instance stays with who drew it;
``revoked.serial`` is empty where a key was taken back as a whole; a digest key that was destroyed
is an empty blob.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = 2

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS nonce (
    nonce TEXT PRIMARY KEY,
    expires_us INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS nonce_expires ON nonce (expires_us);

CREATE TABLE IF NOT EXISTS host (
    kid TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    tenant TEXT NOT NULL,
    region TEXT NOT NULL,
    pub BLOB NOT NULL,
    registered_us INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS spent_token (
    sha256 TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    host_kid TEXT NOT NULL,
    spent_us INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS instance (
    instance TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    region TEXT NOT NULL,
    attested TEXT NOT NULL,
    worker INTEGER NOT NULL,
    enrolled_us INTEGER NOT NULL,
    superseded_by TEXT,
    digest_key BLOB NOT NULL,
    digest_key_destroyed_us INTEGER
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS instance_attested ON instance (attested, worker, enrolled_us);

CREATE TABLE IF NOT EXISTS conflict (
    instance TEXT PRIMARY KEY REFERENCES instance (instance),
    superseded_by TEXT NOT NULL,
    first_us INTEGER NOT NULL,
    last_us INTEGER NOT NULL,
    count INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS conflict_last ON conflict (last_us);

CREATE TABLE IF NOT EXISTS act (
    act INTEGER PRIMARY KEY,
    at_us INTEGER NOT NULL,
    document BLOB NOT NULL
);

CREATE TABLE IF NOT EXISTS certificate (
    serial TEXT PRIMARY KEY,
    kid TEXT NOT NULL,
    instance TEXT NOT NULL REFERENCES instance (instance),
    issued_us INTEGER NOT NULL,
    not_after_us INTEGER NOT NULL,
    envelope BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS certificate_kid ON certificate (kid);
CREATE INDEX IF NOT EXISTS certificate_instance ON certificate (instance, issued_us);

CREATE TABLE IF NOT EXISTS revoked (
    kid TEXT NOT NULL,
    serial TEXT NOT NULL,
    untrusted_from_us INTEGER NOT NULL,
    received_us INTEGER NOT NULL,
    envelope BLOB NOT NULL,
    PRIMARY KEY (kid, serial, untrusted_from_us)
) WITHOUT ROWID;
"""
