"""Drafts of the records that an instance writes about itself.

Owns: start, heartbeat, rotate, recovered and seal, one function each. Refuses: sealing and
writing them (the spool does) and knowing when (``lifecycle.py`` and its tasks do).
"""

from __future__ import annotations

import base64
from typing import TypedDict

from gateway import record
from gateway.documents import Counters, Envelope, LogSeen
from gateway.recording import Scribe
from gateway.timestamp import time_text
from spool.examine import Findings


class _Leading(TypedDict):
    """The first members of every record, but for its kind."""

    v: int
    id: str
    tenant: str
    region: str
    chain: record.Chain


def _leading(scribe: Scribe, wall_us: int) -> _Leading:
    return _Leading(
        v=record.VERSION,
        id=scribe.draw_id(wall_us),
        tenant=scribe.tenant,
        region=scribe.region,
        chain=record.UNCHAINED,
    )


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
    return record.Start(
        **_leading(scribe, wall_us),
        kind="start",
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
    return record.Heartbeat(
        **_leading(scribe, wall_us),
        kind="heartbeat",
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
    return record.Rotate(
        **_leading(scribe, wall_us),
        kind="rotate",
        next_kid=next_kid,
        next_certificate=next_certificate,
    )


def seal(scribe: Scribe, wall_us: int, counters: Counters) -> record.Seal:
    """The last record of an orderly stop."""
    return record.Seal(
        **_leading(scribe, wall_us),
        kind="seal",
        counters=counters,
    )


def recovered(scribe: Scribe, wall_us: int, found: Findings) -> record.Recovered:
    """What was found of a dead instance; ``found`` fits one record (``split_findings``)."""
    return record.Recovered(
        **_leading(scribe, wall_us),
        kind="recovered",
        instance=found.instance,
        last_seq=found.last_seq,
        last_hash=found.last_hash,
        cut_bytes=found.cut_bytes,
        ambiguous=found.ambiguous,
        damaged=found.damaged,
        quarantined=found.quarantined,
    )
