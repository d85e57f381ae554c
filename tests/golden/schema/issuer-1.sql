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
    digest_key BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS instance_attested ON instance (attested, worker, enrolled_us);

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
PRAGMA user_version = 1;
