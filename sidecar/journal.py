"""Drafts of the records that an instance writes about itself.

Owns: start, heartbeat, rotate, recovered and seal, one function each. Refuses: sealing and
writing them (the spool does) and knowing when (``app.py`` and its tasks do).
"""

from __future__ import annotations

import base64

import msgspec

from gateway import record
from gateway.documents import Counters, Envelope, LogSeen
from gateway.recording import Scribe
from gateway.timestamp import time_text
from spool.examine import Findings


class _Leading(msgspec.Struct, frozen=True):
    """The first members that every draft of one scribe shares."""

    id: str
    tenant: str
    region: str


def _leading(scribe: Scribe, wall_us: int) -> _Leading:
    return _Leading(id=scribe.draw_id(wall_us), tenant=scribe.tenant, region=scribe.region)


def start(
    scribe: Scribe,
    wall_us: int,
    *,
    public: bytes,
    certificate: Envelope | None,
    config_digest: str,
    build: str,
    continues: record.Continues | None,
    continues_reason: str | None,
) -> record.Start:
    """The first record of a chain; ``continues_reason`` is given where ``continues`` is None."""
    first = _leading(scribe, wall_us)
    return record.Start(
        v=record.VERSION,
        kind="start",
        id=first.id,
        tenant=first.tenant,
        region=first.region,
        chain=record.UNCHAINED,
        topology=scribe.topology,
        time=record.Started(started=time_text(wall_us), clock=scribe.stamp()),
        pub=base64.b64encode(public).decode(),
        certificate=certificate,
        config_digest=config_digest,
        build=build,
        continues=continues,
        continues_reason=None if continues is not None else continues_reason,
    )


def heartbeat(
    scribe: Scribe,
    wall_us: int,
    *,
    durable_seq: int,
    record_hash: str,
    acked_seq: int,
    counters: Counters,
    log_seen: LogSeen | None,
    certificate: Envelope | None,
) -> record.Heartbeat:
    """A signed sign of life; ``certificate`` only when a new or late one came."""
    first = _leading(scribe, wall_us)
    return record.Heartbeat(
        v=record.VERSION,
        kind="heartbeat",
        id=first.id,
        tenant=first.tenant,
        region=first.region,
        chain=record.UNCHAINED,
        durable_seq=durable_seq,
        record_hash=record_hash,
        acked_seq=acked_seq,
        counters=counters,
        log_seen=log_seen,
        certificate=certificate,
    )


def rotate(
    scribe: Scribe, wall_us: int, *, next_kid: str, next_certificate: Envelope
) -> record.Rotate:
    """The last record under the old key; written only with the next certificate in hand."""
    first = _leading(scribe, wall_us)
    return record.Rotate(
        v=record.VERSION,
        kind="rotate",
        id=first.id,
        tenant=first.tenant,
        region=first.region,
        chain=record.UNCHAINED,
        next_kid=next_kid,
        next_certificate=next_certificate,
    )


def seal(scribe: Scribe, wall_us: int, counters: Counters) -> record.Seal:
    """The last record of an orderly stop."""
    first = _leading(scribe, wall_us)
    return record.Seal(
        v=record.VERSION,
        kind="seal",
        id=first.id,
        tenant=first.tenant,
        region=first.region,
        chain=record.UNCHAINED,
        counters=counters,
    )


def recovered(scribe: Scribe, wall_us: int, found: Findings) -> record.Recovered:
    """What was found of a dead instance; ``found`` fits one record (``split_findings``)."""
    first = _leading(scribe, wall_us)
    return record.Recovered(
        v=record.VERSION,
        kind="recovered",
        id=first.id,
        tenant=first.tenant,
        region=first.region,
        chain=record.UNCHAINED,
        instance=found.instance,
        last_seq=found.last_seq,
        last_hash=found.last_hash,
        cut_bytes=found.cut_bytes,
        ambiguous=found.ambiguous,
        damaged=found.damaged,
        quarantined=found.quarantined,
    )
