"""Tables of the record store.

Owns: their shape. Rules: hashes are 32 raw bytes; times are microseconds since 1970;
``leaf_index`` is contiguous from 0 per log, because it is taken from ``log.size`` under the write
lock in the transaction that uses it; nothing here updates or deletes a record.

``record`` keeps the exact payload and signature; its other columns are an index made from them
and can be made again. ``grade`` is null for what came on time. ``input_digest`` and
``request_digest`` are the 32 bytes of keyed digests. ``certificate.attested`` is who
proved the start, where that can be one daemon at a time only. ``own_instance`` names the store's
own chains, in the order they began.
``log.peaks`` are the hashes of the complete subtrees that ``log.size`` leaves make up, ``tile``
holds those of C2SP tlog-tiles.
``record_of`` ends with whose a completion is: only who made a call says how it ended.
The members of ``record_time`` after the first three order nothing: a filter that has no index of
its own is checked there, without reading whole rows.
``log_behind`` holds, by instance, what was seen of this log that it does not have, and the person
who settled it. ``instance.recovered_seq`` and ``recovered_hash`` are where ``recovered_by`` says
that a killed instance ended. ``pending_act`` holds acts of commands that ran beside the service,
until it writes them into a chain of its own.
``quorum_met`` says which checkpoint was the newest that met a policy of witnesses, by its SHA-256.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = 5

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS log (
    log INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    region TEXT NOT NULL,
    origin TEXT NOT NULL,
    size INTEGER NOT NULL,
    peaks BLOB NOT NULL,
    UNIQUE (tenant, region)
);

CREATE TABLE IF NOT EXISTS tile (
    log INTEGER NOT NULL REFERENCES log (log),
    level INTEGER NOT NULL,
    tile_index INTEGER NOT NULL,
    hashes BLOB NOT NULL,
    PRIMARY KEY (log, level, tile_index)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS checkpoint (
    log INTEGER NOT NULL REFERENCES log (log),
    origin TEXT NOT NULL,
    size INTEGER NOT NULL,
    signed_us INTEGER NOT NULL,
    note TEXT NOT NULL,
    PRIMARY KEY (log, origin, size)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS cosignature (
    log INTEGER NOT NULL REFERENCES log (log),
    origin TEXT NOT NULL,
    size INTEGER NOT NULL,
    witness TEXT NOT NULL,
    time INTEGER NOT NULL,
    received_us INTEGER NOT NULL,
    line TEXT NOT NULL,
    PRIMARY KEY (log, origin, size, witness)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS cosignature_witness ON cosignature (log, origin, witness, size);

CREATE TABLE IF NOT EXISTS quorum_met (
    log INTEGER NOT NULL REFERENCES log (log),
    origin TEXT NOT NULL,
    policy BLOB NOT NULL,
    size INTEGER NOT NULL,
    PRIMARY KEY (log, origin, policy)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS log_statement (
    log INTEGER NOT NULL REFERENCES log (log),
    leaf_index INTEGER NOT NULL,
    closed_origin TEXT NOT NULL,
    opened_origin TEXT NOT NULL,
    envelope BLOB NOT NULL,
    PRIMARY KEY (log, leaf_index)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS log_behind (
    log INTEGER NOT NULL REFERENCES log (log),
    instance TEXT NOT NULL,
    number INTEGER NOT NULL,
    reason TEXT NOT NULL,
    origin TEXT NOT NULL,
    size INTEGER NOT NULL,
    root TEXT NOT NULL,
    received_us INTEGER NOT NULL,
    said BLOB NOT NULL,
    acknowledged_us INTEGER,
    acknowledged_by TEXT,
    PRIMARY KEY (log, instance, number)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS pending_act (
    number INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    region TEXT NOT NULL,
    document BLOB NOT NULL
);

CREATE TABLE IF NOT EXISTS leaf (
    log INTEGER NOT NULL REFERENCES log (log),
    leaf_index INTEGER NOT NULL,
    type INTEGER NOT NULL,
    received_us INTEGER NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (log, leaf_index)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS instance (
    log INTEGER NOT NULL REFERENCES log (log),
    instance TEXT NOT NULL,
    head_seq INTEGER NOT NULL,
    head_hash BLOB NOT NULL,
    records INTEGER NOT NULL,
    sealed_seq INTEGER,
    forks INTEGER NOT NULL,
    recovered_by TEXT,
    recovered_seq INTEGER,
    recovered_hash BLOB,
    first_seen_us INTEGER NOT NULL,
    last_seen_us INTEGER NOT NULL,
    PRIMARY KEY (log, instance)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS retired_key (
    log INTEGER NOT NULL,
    instance TEXT NOT NULL,
    kid TEXT NOT NULL,
    last_seq INTEGER NOT NULL,
    PRIMARY KEY (log, instance, kid)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS start_key (
    log INTEGER NOT NULL,
    instance TEXT NOT NULL,
    kid TEXT NOT NULL,
    pub BLOB NOT NULL,
    PRIMARY KEY (log, instance, kid)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS certificate (
    log INTEGER NOT NULL,
    leaf_index INTEGER NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    serial TEXT NOT NULL,
    kid TEXT NOT NULL,
    instance TEXT NOT NULL,
    not_before_us INTEGER NOT NULL,
    not_after_us INTEGER NOT NULL,
    received_us INTEGER NOT NULL,
    envelope BLOB NOT NULL,
    attested TEXT,
    issued_us INTEGER NOT NULL,
    PRIMARY KEY (log, leaf_index)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS certificate_attested ON certificate (log, attested, issued_us);
CREATE INDEX IF NOT EXISTS certificate_kid ON certificate (kid, not_after_us);
CREATE INDEX IF NOT EXISTS certificate_instance ON certificate (log, instance);

CREATE TABLE IF NOT EXISTS revocation (
    log INTEGER NOT NULL REFERENCES log (log),
    leaf_index INTEGER NOT NULL,
    hash BLOB NOT NULL,
    kid TEXT NOT NULL,
    serial TEXT,
    untrusted_from_us INTEGER NOT NULL,
    received_us INTEGER NOT NULL,
    envelope BLOB NOT NULL,
    PRIMARY KEY (log, leaf_index)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS revocation_kid ON revocation (kid, log);

CREATE TABLE IF NOT EXISTS record (
    log INTEGER NOT NULL REFERENCES log (log),
    leaf_index INTEGER NOT NULL,
    received_us INTEGER NOT NULL,
    instance TEXT NOT NULL,
    seq INTEGER NOT NULL,
    kid TEXT NOT NULL,
    id TEXT NOT NULL,
    v INTEGER NOT NULL,
    kind TEXT NOT NULL,
    record_hash BLOB NOT NULL,
    time_us INTEGER NOT NULL,
    grade TEXT,
    of_id TEXT,
    person TEXT,
    agent TEXT,
    provider TEXT,
    model TEXT,
    operation TEXT,
    route TEXT,
    tool TEXT,
    tool_server TEXT,
    outcome TEXT,
    reason TEXT,
    stage TEXT,
    level TEXT,
    policy_version INTEGER,
    policy_digest TEXT,
    input_digest BLOB,
    request_digest BLOB,
    payload BLOB NOT NULL,
    signature BLOB NOT NULL,
    UNIQUE (log, leaf_index),
    UNIQUE (log, instance, seq)
);
CREATE INDEX IF NOT EXISTS record_hash ON record (log, record_hash);
CREATE INDEX IF NOT EXISTS record_id ON record (log, id);
CREATE INDEX IF NOT EXISTS record_of
    ON record (log, of_id, time_us, leaf_index, instance) WHERE of_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS record_time ON record (
    log, time_us, leaf_index,
    kind, reason, level, operation, provider, route, tool, tool_server, policy_digest
);
CREATE INDEX IF NOT EXISTS record_instance ON record (log, instance, time_us, leaf_index);
CREATE INDEX IF NOT EXISTS record_person
    ON record (log, person, time_us, leaf_index) WHERE person IS NOT NULL;
CREATE INDEX IF NOT EXISTS record_agent
    ON record (log, agent, time_us, leaf_index) WHERE agent IS NOT NULL;
CREATE INDEX IF NOT EXISTS record_model
    ON record (log, model, time_us, leaf_index) WHERE model IS NOT NULL;
CREATE INDEX IF NOT EXISTS record_outcome
    ON record (log, outcome, time_us, leaf_index) WHERE outcome IS NOT NULL;
CREATE INDEX IF NOT EXISTS record_grade
    ON record (log, grade, time_us, leaf_index) WHERE grade IS NOT NULL;
CREATE INDEX IF NOT EXISTS record_tally
    ON record (log, instance, kind, outcome, seq) WHERE kind IN ('decision', 'completion');
CREATE INDEX IF NOT EXISTS record_expecting
    ON record (log, time_us, id, instance, seq, kind, stage, outcome)
    WHERE kind = 'decision' AND stage = 'request' AND outcome IN ('allow', 'error_open');
CREATE INDEX IF NOT EXISTS record_counters
    ON record (log, instance, seq) WHERE kind IN ('heartbeat', 'seal');
CREATE INDEX IF NOT EXISTS record_input ON record (log, input_digest)
    WHERE input_digest IS NOT NULL;
CREATE INDEX IF NOT EXISTS record_request ON record (log, request_digest)
    WHERE request_digest IS NOT NULL;
CREATE INDEX IF NOT EXISTS record_policy
    ON record (log, policy_version, time_us, leaf_index) WHERE policy_version IS NOT NULL;

CREATE TABLE IF NOT EXISTS category (
    log INTEGER NOT NULL,
    category TEXT NOT NULL,
    time_us INTEGER NOT NULL,
    leaf_index INTEGER NOT NULL,
    PRIMARY KEY (log, category, time_us, leaf_index)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS category_leaf ON category (log, leaf_index);

CREATE TABLE IF NOT EXISTS evidence (
    log INTEGER NOT NULL REFERENCES log (log),
    leaf_index INTEGER NOT NULL,
    received_us INTEGER NOT NULL,
    hash BLOB NOT NULL,
    code TEXT NOT NULL,
    cause TEXT NOT NULL,
    sender TEXT NOT NULL,
    instance TEXT,
    seq INTEGER,
    line BLOB NOT NULL,
    PRIMARY KEY (log, leaf_index),
    UNIQUE (log, hash)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS evidence_place ON evidence (log, instance, seq);

CREATE TABLE IF NOT EXISTS chain_head (
    log INTEGER NOT NULL,
    instance TEXT NOT NULL,
    received_us INTEGER NOT NULL,
    durable_seq INTEGER NOT NULL,
    acked_seq INTEGER NOT NULL,
    record_hash TEXT NOT NULL,
    envelope BLOB NOT NULL,
    PRIMARY KEY (log, instance)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS own_instance (
    number INTEGER PRIMARY KEY,
    log INTEGER NOT NULL REFERENCES log (log),
    instance TEXT NOT NULL,
    service TEXT NOT NULL,
    UNIQUE (log, instance)
);
CREATE INDEX IF NOT EXISTS own_instance_service ON own_instance (log, service, number);
"""
