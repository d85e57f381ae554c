"""Records that an instance writes about itself: in the vocabulary, within 16 KiB, chained."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest

from gateway import limits, record, seal
from gateway.documents import Counters, LogSeen
from gateway.errors import CODES
from gateway.recording import Scribe
from gateway.vocabulary import COMPLETION_OUTCOMES, OUTCOMES
from sidecar import journal
from sidecar.config import OWN_LISTENERS
from spool.examine import Findings, split_findings
from tests import specimens
from tests.sim.entropy import SeededEntropy
from tests.specimens import CERTIFICATE, HASH, INSTANCE, LOG_SEEN, NEXT_SIGNER, SIGNER
from tests.unit.sidecar.hand_clock import HandClock

WALL_US = HandClock().now_us
MOST = limits.JSON_INTEGER_MAX
LISTENERS = [
    *OWN_LISTENERS,
    *(
        f"{number}" + "n" * (limits.LISTENER_NAME_BYTES_MAX - 1)
        for number in range(limits.LISTENERS_MAX - len(OWN_LISTENERS))
    ),
]
TURN_AWAYS = [code for code, spec in CODES.items() if spec.kind == "turn_away"]
FULL = Counters(
    decisions=dict.fromkeys(sorted(OUTCOMES), MOST),
    completions=dict.fromkeys(sorted(COMPLETION_OUTCOMES), MOST),
    turned_away={code: dict.fromkeys(LISTENERS, MOST) for code in TURN_AWAYS},
)
"""Every turn-away on every listener of the longest names, as often as a number can say."""
FINDINGS = Findings(
    instance=INSTANCE,
    first_seq=0,
    last_seq=7,
    last_hash=HASH,
    last_id="x",
    records=8,
    cut_bytes=12,
    ambiguous=True,
    damaged=[record.DamagedRange(first_seq=n, last_seq=n) for n in range(200)],
    quarantined=[record.Quarantined(file=f"seg-{n}", length=9, digest=HASH) for n in range(200)],
    chain_breaks=[],
    notes=[],
    sealed=False,
    tenant="acme",
    region="eu-west-1",
    public_key=None,
    certificates=[],
)


@pytest.fixture
def scribe() -> Scribe:
    return Scribe(
        tenant="t" * limits.NAME_BYTES_MAX,
        region="r" * limits.NAME_BYTES_MAX,
        topology="sidecar",
        digest_key=specimens.DIGEST_KEY,
        clock=HandClock(),
        entropy=SeededEntropy(1),
    )


def start(scribe: Scribe) -> record.Start:
    return journal.start(
        scribe,
        WALL_US,
        public=SIGNER.public,
        certificate=CERTIFICATE,
        config_digest=HASH,
        build="gatepost 0.1.0",
        continues=record.Continues(instance=INSTANCE, seq=MOST, record_hash=HASH),
        continues_reason="first_start",
    )


def heartbeat(scribe: Scribe, counters: Counters = FULL) -> record.Heartbeat:
    return journal.heartbeat(
        scribe,
        WALL_US,
        durable_seq=MOST,
        record_hash=HASH,
        acked_seq=MOST,
        counters=counters,
        log_seen=LogSeen(origin="o" * limits.LOG_ORIGIN_BYTES_MAX, size=MOST, root=LOG_SEEN.root),
        certificate=CERTIFICATE,
    )


def rotate(scribe: Scribe) -> record.Rotate:
    return journal.rotate(scribe, WALL_US, next_kid=NEXT_SIGNER.kid, next_certificate=CERTIFICATE)


def end(scribe: Scribe) -> record.Seal:
    return journal.seal(scribe, WALL_US, FULL)


def recovered(scribe: Scribe) -> record.Recovered:
    return journal.recovered(scribe, WALL_US, split_findings(FINDINGS)[0])


DRAFTS: list[Callable[[Scribe], record.Record]] = [start, heartbeat, rotate, end, recovered]


@pytest.mark.parametrize("draft", DRAFTS)
def test_a_draft_is_sealed_and_read_again(
    scribe: Scribe, draft: Callable[[Scribe], record.Record]
) -> None:
    made = draft(scribe)
    assert (made.v, made.chain) == (record.VERSION, record.UNCHAINED)
    assert (made.tenant, made.region) == (scribe.tenant, scribe.region)
    sealed = seal.Sealer(SIGNER, INSTANCE).seal(made)
    again = record.decode(sealed.payload)
    assert record.encode(again) == sealed.payload
    assert again.kind == made.kind
    assert len(sealed.payload) <= limits.RECORD_BYTES_MAX


def test_ids_are_drawn_and_never_twice(scribe: Scribe) -> None:
    ids = [make(scribe).id for make in DRAFTS for _ in range(3)]
    assert len(set(ids)) == len(ids)


def test_the_counters_of_all_listeners_fit_one_heartbeat(scribe: Scribe) -> None:
    assert len(LISTENERS) == limits.LISTENERS_MAX
    assert len(TURN_AWAYS) >= 18
    assert len(record.encode(heartbeat(scribe))) <= limits.RECORD_BYTES_MAX


def test_a_first_start_says_why_it_continues_nobody(scribe: Scribe) -> None:
    assert start(scribe).continues_reason is None
    first = journal.start(
        scribe,
        WALL_US,
        public=SIGNER.public,
        certificate=None,
        config_digest=HASH,
        build="gatepost 0.1.0",
        continues=None,
        continues_reason="first_start",
    )
    assert (first.continues, first.continues_reason) == (None, "first_start")
    assert base64.b64decode(first.pub) == SIGNER.public


def test_findings_of_any_size_go_into_records_that_fit(scribe: Scribe) -> None:
    parts = split_findings(FINDINGS)
    drafts = [journal.recovered(scribe, WALL_US, part) for part in parts]
    assert len(drafts) > 1
    assert all(len(record.encode(one)) <= limits.RECORD_BYTES_MAX for one in drafts)
    assert [range_ for one in drafts for range_ in one.damaged] == FINDINGS.damaged
    assert [file for one in drafts for file in one.quarantined] == FINDINGS.quarantined
