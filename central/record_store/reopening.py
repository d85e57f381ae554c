"""A log that lost acknowledged leaves goes on under a new origin, by a statement of two roles.

The tree itself goes on: every leaf that is still there stays where it is. What changes is the
name under which checkpoints are signed, so that no checkpoint of the closed log is ever followed by
one that contradicts it. Daemons accept the new one by the statement, and ship again what they hold.

Owns: drafting the statement and installing it. Refuses: excusing anything: a leaf that was proved
under the closed origin and is missing stays missing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from central.errors import Refused
from central.record_store.logs import Log, Logbook, document_hash, newest_checkpoint
from gateway import acknowledgement, checkpoint, documents, issuing, note, seal
from gateway.acknowledgement import LogKeys
from gateway.documents import Envelope, LogStatement
from gateway.errors import DocumentInvalid
from gateway.logproof import LeafType
from gateway.timestamp import time_text


def draft(
    connection: sqlite3.Connection, log: Log, reason: str, last_checkpoint: str | None, now_us: int
) -> LogStatement:
    """The statement that closes ``log`` and opens the next.

    ``last_checkpoint``: the newest note of it that anybody still has, as a daemon keeps it; without
    one, the newest that is kept here. Raises Refused (``document_invalid``).
    """
    known = last_checkpoint or newest_checkpoint(connection, log) or ""
    try:
        if known and checkpoint.read(note.parse(known).text).origin != log.origin:
            raise DocumentInvalid("origin", f"the checkpoint is not of {log.origin}")
    except DocumentInvalid as error:
        raise Refused("document_invalid", f"last checkpoint: {error.detail}") from error
    place = checkpoint.place_of(log.origin)
    opened = checkpoint.origin(place.host, place.tenant, place.region, place.number + 1)
    return LogStatement(
        closed_origin=log.origin,
        last_checkpoint=known,
        opened_origin=opened,
        reason=reason,
        issued=time_text(now_us),
    )


def sign(statement: LogStatement, signers: Sequence[seal.Signer]) -> Envelope:
    """``statement`` signed by keys of the roles ``log`` and ``revocation``."""
    payload = documents.encode(statement)
    distinct = {signer.kid: signer for signer in signers}
    issued = issuing.sign(documents.LOG_STATEMENT, payload, list(distinct.values()))
    return seal.parse_envelope(issued.envelope)


def install(
    connection: sqlite3.Connection,
    logbook: Logbook,
    envelope: Envelope,
    keys: LogKeys,
    now_us: int,
) -> LogStatement:
    """Close and open as ``envelope`` says. Inside a write transaction. Raises Refused."""
    try:
        statement = acknowledgement.open_statement(envelope, keys)
        place = checkpoint.place_of(statement.closed_origin)
    except DocumentInvalid as error:
        raise Refused("document_invalid", str(error)) from error
    log = logbook.open(connection, place.tenant, place.region)
    if log.origin != statement.closed_origin:
        raise Refused("document_invalid", f"the log is {log.origin} now")
    connection.execute(
        "UPDATE log SET origin = ? WHERE log = ?", (statement.opened_origin, log.log)
    )
    opened = logbook.open(connection, place.tenant, place.region)
    leaves = logbook.writer(connection, opened, now_us)
    index = leaves.add(LeafType.LOG_STATEMENT, document_hash(envelope))
    connection.execute(
        "INSERT INTO log_statement VALUES (?,?,?,?,?)",
        (
            log.log,
            index,
            statement.closed_origin,
            statement.opened_origin,
            documents.encode(envelope),
        ),
    )
    leaves.finish()
    return statement
