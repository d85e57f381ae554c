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

CREATE TABLE proposal (
    scope TEXT NOT NULL,
    digest TEXT NOT NULL,
    version INTEGER NOT NULL,
    who TEXT NOT NULL,
    time_us INTEGER NOT NULL,
    envelope BLOB NOT NULL,
    PRIMARY KEY (scope, digest)
) WITHOUT ROWID;

CREATE TABLE instance_report (
    scope TEXT NOT NULL,
    instance TEXT NOT NULL,
    workload TEXT NOT NULL,
    subject TEXT NOT NULL,
    region TEXT NOT NULL,
    topology TEXT NOT NULL,
    channel TEXT NOT NULL,
    state TEXT NOT NULL,
    head_version INTEGER,
    version INTEGER,
    digest TEXT,
    activated TEXT,
    refused_code TEXT,
    refused_version INTEGER,
    refused_digest TEXT,
    signed_us INTEGER NOT NULL,
    first_us INTEGER NOT NULL,
    since_us INTEGER NOT NULL,
    received_us INTEGER NOT NULL,
    PRIMARY KEY (scope, instance)
) WITHOUT ROWID;

CREATE INDEX instance_report_by_workload ON instance_report (scope, workload);

CREATE INDEX instance_report_by_age ON instance_report (scope, received_us);

PRAGMA user_version = 2;
