"""Tables of the policy service.

Owns: their shape. ``bundle`` and ``publication`` only grow: a record names its policy by digest,
and must find it for as long as the record is kept. ``publication`` is a hash chain, so that a
line taken out of it shows. ``canary`` holds the candidate that runs, one for each scope, and
``canary_proposal`` the percentage of those that wait. ``instance_report`` holds the last report of
each daemon, ``proposal`` what waits for another person: nothing of it is served.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = 3

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS bundle (
    digest TEXT PRIMARY KEY,
    scope TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    version INTEGER NOT NULL,
    length INTEGER NOT NULL,
    expires_us INTEGER NOT NULL,
    envelope BLOB NOT NULL,
    UNIQUE (scope, epoch, version)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS scope_state (
    scope TEXT PRIMARY KEY,
    digest TEXT NOT NULL REFERENCES bundle (digest),
    lock_reason TEXT,
    lock_ticket TEXT,
    head_version INTEGER NOT NULL,
    head_issued_us INTEGER NOT NULL,
    head_envelope BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS publication (
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

CREATE TABLE IF NOT EXISTS proposal (
    scope TEXT NOT NULL,
    digest TEXT NOT NULL,
    version INTEGER NOT NULL,
    who TEXT NOT NULL,
    time_us INTEGER NOT NULL,
    envelope BLOB NOT NULL,
    PRIMARY KEY (scope, digest)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS canary (
    scope TEXT PRIMARY KEY,
    digest TEXT NOT NULL REFERENCES bundle (digest),
    percent INTEGER NOT NULL,
    began_us INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS canary_proposal (
    scope TEXT NOT NULL,
    digest TEXT NOT NULL,
    percent INTEGER NOT NULL,
    PRIMARY KEY (scope, digest)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS instance_report (
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

CREATE INDEX IF NOT EXISTS instance_report_by_workload ON instance_report (scope, workload);

CREATE INDEX IF NOT EXISTS instance_report_by_age ON instance_report (scope, received_us);
"""
