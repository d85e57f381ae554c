"""Nothing counts as kept but what the store's signed checkpoint is proved to hold."""

from __future__ import annotations

import base64
from collections.abc import Callable

import msgspec
import pytest

from gateway import acknowledgement, checkpoint, documents, merkle, seal
from gateway.acknowledgement import LogKeys, Proven
from gateway.checkpoint import Checkpoint
from gateway.documents import Envelope, LogStatement
from gateway.errors import DocumentInvalid
from gateway.logproof import Entry, LeafType
from gateway.roots import RoleKeys
from gateway.shipping import ShipAnswer, ShipException, ShipRun

ORIGIN = "log.example/log/acme/eu/1"
NEXT = "log.example/log/acme/eu/2"
LOG, REVOCATION = seal.Signer(b"l" * 32), seal.Signer(b"v" * 32)
KEYS = LogKeys(
    log=RoleKeys({LOG.kid: LOG.public}, 1),
    revocation=RoleKeys({REVOCATION.kid: REVOCATION.public}, 1),
)
RECEIVED_US = 1_700_000_000_000_000
SENT = {seq: bytes([seq]) * 32 for seq in range(10, 16)}


class Log:
    """An honest log, to start from."""

    def __init__(self, origin: str = ORIGIN) -> None:
        self.origin = origin
        self.frontier = merkle.Frontier()
        self.nodes: dict[tuple[int, int], bytes] = {}

    def add(self, entry: Entry) -> int:
        for level, index, digest in self.frontier.append(entry.leaf_hash()):
            self.nodes[level, index] = digest
        return self.frontier.size - 1

    def at(self, level: int, index: int) -> bytes:
        return self.nodes[level, index]

    @property
    def checkpoint(self) -> Checkpoint:
        return Checkpoint(self.origin, self.frontier.size, self.frontier.root())

    def consistency(self, old: int) -> list[str]:
        proof = merkle.consistency_proof(old, self.frontier.size, self.at)
        return [base64.b64encode(one).decode() for one in proof]

    def run(self, first_seq: int, last_seq: int, first_index: int) -> ShipRun:
        count = last_seq - first_seq + 1
        proof = merkle.range_proof(first_index, count, self.frontier.size, self.at)
        texts = [base64.b64encode(one).decode() for one in proof]
        return ShipRun(first_seq, last_seq, first_index, RECEIVED_US, texts)

    def answer(self, runs: list[ShipRun], seen: Checkpoint | None = None) -> ShipAnswer:
        return ShipAnswer(
            through_seq=max(SENT),
            exceptions=[],
            runs=runs,
            head=None,
            checkpoint=checkpoint.write(self.checkpoint, [LOG]).encode(),
            consistency=[] if seen is None else self.consistency(seen.size),
        )


def _filled(*, before: int = 3, kinds: dict[int, LeafType] | None = None) -> tuple[Log, int]:
    log = Log()
    for number in range(before):
        log.add(Entry(LeafType.KEY_CERT, RECEIVED_US - 1, bytes([200 + number]) * 32))
    first = log.frontier.size
    for seq, digest in SENT.items():
        log.add(Entry((kinds or {}).get(seq, LeafType.RECORD), RECEIVED_US, digest))
    return log, first


def _prove(answer: ShipAnswer, seen: Checkpoint | None = None) -> Proven:
    return acknowledgement.prove(answer, SENT, place=("acme", "eu"), seen=seen, keys=KEYS)


def test_records_that_the_root_holds_are_proved() -> None:
    log, first = _filled()
    proven = _prove(log.answer([log.run(10, 15, first)]))
    assert proven.seqs == frozenset(SENT)
    assert proven.opened.checkpoint == log.checkpoint


def test_a_record_under_no_run_is_not_proved() -> None:
    log, first = _filled()
    proven = _prove(log.answer([log.run(10, 12, first), log.run(14, 15, first + 4)]))
    assert proven.seqs == frozenset({10, 11, 12, 14, 15})


def test_a_store_that_drops_a_record_is_caught() -> None:
    log = Log()
    for seq, digest in SENT.items():
        if seq != 12:
            log.add(Entry(LeafType.RECORD, RECEIVED_US, digest))
    log.add(Entry(LeafType.RECORD, RECEIVED_US, bytes(32)))
    with pytest.raises(DocumentInvalid, match="not under the checkpoint"):
        _prove(log.answer([log.run(10, 15, 0)]))


def test_a_store_that_signs_another_leaf_in_its_place_is_caught() -> None:
    log = Log()
    for seq, digest in SENT.items():
        log.add(Entry(LeafType.RECORD, RECEIVED_US, b"x" * 32 if seq == 14 else digest))
    with pytest.raises(DocumentInvalid, match="not under the checkpoint"):
        _prove(log.answer([log.run(10, 15, 0)]))


def test_refused_records_are_proved_as_evidence_only() -> None:
    log, first = _filled(kinds={13: LeafType.EVIDENCE})
    answer = log.answer([log.run(10, 15, first)])
    said = msgspec.structs.replace(answer, exceptions=[ShipException(13, "rejected")])
    assert _prove(said).seqs == frozenset(SENT)
    with pytest.raises(DocumentInvalid, match="not under the checkpoint"):
        _prove(answer)


def test_a_duplicate_is_proved_where_it_stands_since_before() -> None:
    log, first = _filled()
    for number in range(5):
        log.add(Entry(LeafType.RECORD, RECEIVED_US + 9, bytes([100 + number]) * 32))
    answer = msgspec.structs.replace(
        log.answer([log.run(10, 15, first)]),
        exceptions=[ShipException(seq, "duplicate") for seq in SENT],
    )
    assert _prove(answer).seqs == frozenset(SENT)


def test_a_log_that_continues_what_was_seen_is_believed() -> None:
    log, first = _filled()
    seen = log.checkpoint
    log.add(Entry(LeafType.REVOCATION, RECEIVED_US, bytes(32)))
    assert _prove(log.answer([log.run(10, 15, first)], seen), seen).seqs == frozenset(SENT)
    assert _prove(log.answer([log.run(10, 15, first)], log.checkpoint), log.checkpoint).seqs


def test_two_histories_are_caught() -> None:
    seen = _filled(before=3)[0].checkpoint
    other, first = _filled(before=9)
    with pytest.raises(DocumentInvalid, match="history") as caught:
        _prove(other.answer([other.run(10, 15, first)], seen), seen)
    assert caught.value.reason == "history"


def test_another_root_of_the_same_size_is_caught() -> None:
    log, first = _filled()
    seen = msgspec.structs.replace(log.checkpoint, root=bytes(32))
    with pytest.raises(DocumentInvalid, match="another root"):
        _prove(log.answer([log.run(10, 15, first)], seen), seen)


def test_an_older_checkpoint_than_was_seen_is_stale() -> None:
    log, first = _filled()
    seen = Checkpoint(ORIGIN, log.frontier.size + 1, bytes(32))
    with pytest.raises(DocumentInvalid) as caught:
        _prove(log.answer([log.run(10, 15, first)]), seen)
    assert caught.value.reason == "stale"


@pytest.mark.parametrize(
    "change",
    [
        lambda run: msgspec.structs.replace(run, received_us=run.received_us + 1),
        lambda run: msgspec.structs.replace(run, first_index=run.first_index + 1),
        lambda run: msgspec.structs.replace(run, last_seq=run.last_seq + 1),
        lambda run: msgspec.structs.replace(run, first_seq=run.first_seq - 1),
        lambda run: msgspec.structs.replace(run, last_seq=run.first_seq - 1),
        lambda run: msgspec.structs.replace(run, proof=run.proof[:-1]),
        lambda run: msgspec.structs.replace(run, proof=[*run.proof, run.proof[0]]),
        lambda run: msgspec.structs.replace(run, proof=["?", *run.proof[1:]]),
        lambda run: msgspec.structs.replace(run, received_us=-1),
    ],
)
def test_a_run_changed_anywhere_proves_nothing(change: Callable[[ShipRun], ShipRun]) -> None:
    log, first = _filled()
    with pytest.raises(DocumentInvalid):
        _prove(log.answer([change(log.run(10, 15, first))]))


def test_another_tenants_log_proves_nothing() -> None:
    log, first = _filled()
    with pytest.raises(DocumentInvalid, match="another tenant"):
        acknowledgement.prove(
            log.answer([log.run(10, 15, first)]), SENT, place=("rival", "eu"), seen=None, keys=KEYS
        )


def test_no_checkpoint_proves_nothing() -> None:
    log, first = _filled()
    answer = msgspec.structs.replace(log.answer([log.run(10, 15, first)]), checkpoint=None)
    with pytest.raises(DocumentInvalid, match="carries none"):
        _prove(answer)


# -- logs that lost leaves ------------------------------------------------------------------------


def _statement(
    closed: str = ORIGIN,
    opened: str = NEXT,
    signers: tuple[seal.Signer, ...] = (LOG, REVOCATION),
) -> Envelope:
    statement = LogStatement(
        closed_origin=closed,
        last_checkpoint="",
        opened_origin=opened,
        reason="the volume was lost",
        issued="2026-11-28T00:00:00.000000Z",
    )
    payload = documents.encode(statement)
    framed = seal.pae(documents.LOG_STATEMENT, payload)
    signatures = [(one.kid, one.sign(framed)) for one in signers]
    return seal.envelope(documents.LOG_STATEMENT, payload, signatures)


def _after_loss(*statements: Envelope) -> ShipAnswer:
    log = Log(NEXT)
    for digest in SENT.values():
        log.add(Entry(LeafType.RECORD, RECEIVED_US, digest))
    return msgspec.structs.replace(log.answer([log.run(10, 15, 0)]), statements=list(statements))


SEEN = Checkpoint(ORIGIN, 100, bytes(32))


def test_a_statement_leads_to_the_log_that_was_opened() -> None:
    proven = _prove(_after_loss(_statement()), SEEN)
    assert proven.seqs == frozenset(SENT)
    assert [one.opened_origin for one in proven.statements] == [NEXT]


def test_a_new_log_without_a_statement_is_not_believed() -> None:
    with pytest.raises(DocumentInvalid, match="no statement leads"):
        _prove(_after_loss(), SEEN)


@pytest.mark.parametrize("signers", [(LOG,), (REVOCATION,), ()])
def test_a_statement_needs_both_roles(signers: tuple[seal.Signer, ...]) -> None:
    with pytest.raises(DocumentInvalid):
        _prove(_after_loss(_statement(signers=signers)), SEEN)


@pytest.mark.parametrize(
    ("closed", "opened"),
    [
        (ORIGIN, "log.example/log/acme/eu/3"),
        (ORIGIN, "log.example/log/rival/eu/2"),
        (ORIGIN, "elsewhere.example/log/acme/eu/2"),
        (NEXT, ORIGIN),
    ],
)
def test_a_statement_opens_only_the_next_log_of_its_place(closed: str, opened: str) -> None:
    with pytest.raises(DocumentInvalid, match="not the one after"):
        _prove(_after_loss(_statement(closed, opened)), SEEN)
