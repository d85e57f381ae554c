"""Whether a store's answer proves that it keeps what was sent: asked before anything is deleted.

The daemon rebuilds the root of the signed checkpoint from the hashes of its own records. A store
that dropped a record, or signed another leaf in its place, cannot answer so; one that shows a
history which does not continue the last one that this volume saw is caught here, too.

Owns: these checks, over values. Refuses: reading the answer's form (``shipping.py``), keeping what
was seen, and deleting anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from gateway import checkpoint, documents, merkle, seal
from gateway.checkpoint import Checkpoint, Opened
from gateway.documents import Envelope, LogStatement
from gateway.errors import DocumentInvalid
from gateway.logproof import Entry, LeafType
from gateway.roots import RoleKeys
from gateway.shipping import ShipAnswer, ShipRun

_KEPT_AS_EVIDENCE: Final = frozenset({"rejected", "fork", "sealed"})
STATEMENTS_MAX: Final = 100


class LogKeys(msgspec.Struct, frozen=True):
    """Of the trusted root: who may speak for a log, and who may take one back."""

    log: RoleKeys
    revocation: RoleKeys


class Proven(msgspec.Struct, frozen=True):
    """``opened``: the checkpoint that proves it; ``seqs``: of records that it is proved to cover.

    ``statements``: that opened the log of the checkpoint, if it is another one than was seen.
    """

    opened: Opened
    seqs: frozenset[int]
    statements: list[LogStatement]


def prove(
    answer: ShipAnswer,
    hashes: Mapping[int, bytes],
    *,
    place: tuple[str, str],
    seen: Checkpoint | None,
    keys: LogKeys,
) -> Proven:
    """What ``answer`` proves. ``hashes``: seq → record_hash of what was sent; ``place``: the
    tenant and region of the sender; ``seen``: the newest checkpoint that was checked before.

    Raises DocumentInvalid: ``history`` where the log does not continue what was seen, ``stale``
    for an older checkpoint than that, ``proof`` for a run that does not lead to the root, and
    those of ``checkpoint.open_note`` and ``statements_between``.
    """
    if answer.checkpoint is None:
        raise DocumentInvalid("checkpoint", "the answer carries none")
    opened = checkpoint.open_note(answer.checkpoint, None, keys.log)
    current = opened.checkpoint
    found = checkpoint.place_of(current.origin)
    if (found.tenant, found.region) != place:
        raise DocumentInvalid("origin", f"{current.origin} is another tenant's or region's log")
    statements: list[LogStatement] = []
    if seen is not None and seen.origin != current.origin:
        statements = statements_between(answer.statements or [], seen.origin, current.origin, keys)
    elif seen is not None:
        _continues(seen, current, answer.consistency or [])
    kinds = {one.seq: one.code for one in answer.exceptions}
    proved: set[int] = set()
    for run in answer.runs or []:
        _check_run(run, hashes, kinds, current)
        proved.update(range(run.first_seq, run.last_seq + 1))
    return Proven(opened, frozenset(proved), statements)


def _continues(seen: Checkpoint, current: Checkpoint, consistency: Sequence[str]) -> None:
    if current.size < seen.size:
        raise DocumentInvalid("stale", f"{current.size} leaves, and {seen.size} were seen")
    proof = [seal.unbase64(one, "proof") for one in consistency]
    merkle.check_consistency(seen.size, seen.root, current.size, current.root, proof)


def _check_run(
    run: ShipRun, hashes: Mapping[int, bytes], kinds: Mapping[int, str], current: Checkpoint
) -> None:
    count = run.last_seq - run.first_seq + 1
    if not 0 < count <= len(hashes) or run.received_us < 0:
        raise DocumentInvalid("proof", f"a run from seq {run.first_seq} to {run.last_seq}")
    leaves = []
    for seq in range(run.first_seq, run.last_seq + 1):
        digest = hashes.get(seq)
        if digest is None:
            raise DocumentInvalid("proof", f"a run holds seq {seq}, which was not sent")
        kept = kinds.get(seq) in _KEPT_AS_EVIDENCE
        kind = LeafType.EVIDENCE if kept else LeafType.RECORD
        leaves.append(Entry(kind, run.received_us, digest).leaf_hash())
    proof = [seal.unbase64(one, "proof") for one in run.proof]
    root = merkle.root_of_range(leaves, run.first_index, current.size, proof)
    if root != current.root:
        raise DocumentInvalid(
            "proof", f"the records from seq {run.first_seq} on are not under the checkpoint"
        )


def statements_between(
    envelopes: Sequence[Envelope], closed: str, opened: str, keys: LogKeys
) -> list[LogStatement]:
    """The statements that lead from the log ``closed`` to the log ``opened``, in order.

    Each must be signed by the roles ``log`` and ``revocation``, and open the log that the next
    one closes. Raises DocumentInvalid (``origin`` where they do not lead there).
    """
    found: list[LogStatement] = []
    at = closed
    for envelope in envelopes[:STATEMENTS_MAX]:
        statement = open_statement(envelope, keys)
        if statement.closed_origin != at:
            continue
        found.append(statement)
        at = statement.opened_origin
        if at == opened:
            return found
    raise DocumentInvalid("origin", f"no statement leads from {closed} to {opened}")


def open_statement(envelope: Envelope, keys: LogKeys) -> LogStatement:
    """A log statement with the signatures of both roles, to their thresholds.

    Raises DocumentInvalid; also for one that opens another log than the next of its place.
    """
    payload = seal.open_envelope(
        envelope, documents.LOG_STATEMENT, keys.log.keys, keys.log.threshold
    )
    seal.open_envelope(
        envelope, documents.LOG_STATEMENT, keys.revocation.keys, keys.revocation.threshold
    )
    statement = documents.decode_exact(payload, LogStatement)
    before = checkpoint.place_of(statement.closed_origin)
    after = checkpoint.place_of(statement.opened_origin)
    if (before.host, before.tenant, before.region, before.number + 1) != (
        after.host,
        after.tenant,
        after.region,
        after.number,
    ):
        raise DocumentInvalid("origin", "the opened log is not the one after the closed")
    return statement
