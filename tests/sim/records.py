"""Records, keys and instances that tests of the spool write."""

from __future__ import annotations

from gateway import seal
from gateway.documents import Counters
from gateway.record import UNCHAINED, Admin, Heartbeat, Record, Seal
from spool.dead import Place
from spool.frame import instance_text

PLACE = Place(tenant="acme", region="eu")
"""Whose these records are."""
NO_COUNTS = Counters(decisions={}, completions={}, turned_away={})


def instance_id(number: int) -> str:
    """The id of the ``number``-th process instance of a test."""
    return instance_text(number.to_bytes(16, "big"))


def sealer(number: int = 1) -> seal.Sealer:
    """The chain of that instance, with a key of its own."""
    return seal.Sealer(seal.Signer(number.to_bytes(32, "big")), instance_id(number))


def draft(name: str, payload_bytes: int = 300) -> Record:
    """A record whose payload is about ``payload_bytes`` long."""
    return Admin(
        v=1,
        kind="admin",
        id=name,
        tenant="acme",
        region="eu",
        chain=UNCHAINED,
        who="operator",
        what="x" * max(0, payload_bytes - 300),
        why=None,
        parameters={},
        range=None,
    )


def beat(payload_bytes: int) -> Record:
    """What a store takes of a daemon, about ``payload_bytes`` long."""
    padding = {"x" * max(0, payload_bytes - 500): 1}
    return Heartbeat(
        v=1,
        kind="heartbeat",
        id="beat",
        tenant="acme",
        region="eu",
        chain=UNCHAINED,
        durable_seq=0,
        record_hash="sha256:" + 64 * "0",
        acked_seq=-1,
        counters=Counters(decisions=padding, completions={}, turned_away={}),
        log_seen=None,
        certificate=None,
    )


def seal_draft() -> Record:
    """The last record of an orderly stop."""
    return Seal(
        v=1, kind="seal", id="seal", tenant="acme", region="eu", chain=UNCHAINED, counters=NO_COUNTS
    )


def sealed_records(count: int, number: int = 1, payload_bytes: int = 300) -> list[seal.Sealed]:
    """The first ``count`` records of an instance."""
    chain = sealer(number)
    return [chain.seal(draft(f"record-{index}", payload_bytes)) for index in range(count)]
