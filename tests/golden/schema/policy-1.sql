CREATE TABLE bundle (
    digest TEXT PRIMARY KEY,
    scope TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    version INTEGER NOT NULL,
    length INTEGER NOT NULL,
    expires_us INTEGER NOT NULL,
    envelope BLOB NOT NULL,
    UNIQUE (scope, epoch, version)
) WITHOUT ROWID;

CREATE TABLE scope_state (
    scope TEXT PRIMARY KEY,
    digest TEXT NOT NULL REFERENCES bundle (digest),
    lock_reason TEXT,
    lock_ticket TEXT,
    head_version INTEGER NOT NULL,
    head_issued_us INTEGER NOT NULL,
    head_envelope BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE publication (
    publication INTEGER PRIMARY KEY,
    scope TEXT NOT NULL,
    what TEXT NOT NULL,
    version INTEGER NOT NULL,
    digest TEXT NOT NULL,
    who TEXT NOT NULL,
    reason TEXT,
    time_us INTEGER NOT NULL,
    prev BLOB NOT NULL,
    hash BLOB NOT NULL UNIQUE
);

PRAGMA user_version = 1;
