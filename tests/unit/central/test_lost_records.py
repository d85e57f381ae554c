"""A store that lacks what it acknowledged says so: to the daemon, to auditors, in an export.

``lose`` takes the last records of a chain away as a backup would that was made before them.
"""

from __future__ import annotations

import msgspec
import pytest

from gateway import documents, limits, seal
from gateway.documents import RequestOf
from gateway.evidence import Auditor
from gateway.shipping import ChainHeadAnswer, SeqRange, decode_head_answer
from tests import specimens
from tests.unit.central.deployment import Daemon, Deployment, root_document


def said(daemon: Daemon, acked_seq: int) -> list[SeqRange]:
    """What the store answers to a chain-head with that ``acked_seq``."""
    head = documents.ChainHead(
        instance=daemon.instance,
        durable_seq=acked_seq,
        record_hash=specimens.HASH,
        acked_seq=acked_seq,
        counters=specimens.COUNTERS,
        log_seen=None,
    )
    body = documents.encode(daemon.signer.sign_document(documents.CHAIN_HEAD, head))
    headers = daemon.signed("POST", "/v1/chain-heads", body)
    answer = daemon.deployment.http.post("/v1/chain-heads", content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return decode_head_answer(answer.content).missing


def shipped(daemon: Daemon, count: int, *, without: range = range(0)) -> list[seal.Sealed]:
    """A chain of ``count`` records, and those of it sent that are not in ``without``."""
    chain = [daemon.start(), *(daemon.decision() for _ in range(count - 1))]
    daemon.ship(*(one for one in chain if one.seq not in without))
    return chain


def test_of_a_whole_chain_nothing_is_missing(daemon: Daemon) -> None:
    shipped(daemon, 5)
    assert said(daemon, 4) == said(daemon, 2) == said(daemon, -1) == []


def test_holes_and_a_lost_end_are_named_in_order(daemon: Daemon) -> None:
    shipped(daemon, 10, without=range(3, 5))
    assert said(daemon, 12) == [SeqRange(3, 4), SeqRange(10, 12)]
    assert said(daemon, 9) == [SeqRange(3, 4)]
    assert said(daemon, 3) == [SeqRange(3, 3)]
    assert said(daemon, 2) == []


def test_a_lost_beginning_is_named(daemon: Daemon) -> None:
    daemon.start()
    daemon.decision()
    daemon.ship(daemon.decision())
    assert said(daemon, 2) == [SeqRange(0, 1)]


def test_a_chain_of_which_nothing_is_there_is_missing_and_listed(
    deployment: Deployment, daemon: Daemon
) -> None:
    assert said(daemon, -1) == []
    assert said(daemon, 40) == [SeqRange(0, 40)]
    (item,) = deployment.instances()
    assert (item["instance"], item["records"], item["missing"]) == (daemon.instance, 0, 41)
    assert item["gaps"] == [{"first_seq": 0, "last_seq": 40}]
    assert item["head_seq"] is None


def test_what_is_kept_as_evidence_is_not_missing(daemon: Daemon) -> None:
    chain = [daemon.start(), *(daemon.decision() for _ in range(4))]
    bad = msgspec.structs.replace(chain[2], signature=bytes(64))
    assert [one.code for one in daemon.ship(*chain[:2], bad, *chain[3:]).exceptions] == ["rejected"]
    assert said(daemon, 4) == []
    assert said(daemon, 5) == [SeqRange(5, 5)]


def test_what_another_daemon_sent_in_its_name_does_not_hide_a_loss(
    deployment: Deployment, daemon: Daemon
) -> None:
    shipped(daemon, 3)
    other = Daemon(deployment, 2).ready()
    of = RequestOf(instance=daemon.instance, first_seq=3, last_seq=4)
    answer = other.ship_lines([b"no record at all", b"nor this"], of)
    assert answer.status_code == 200, answer.text
    assert said(daemon, 4) == [SeqRange(3, 4)]


def test_another_instances_records_do_not_count(deployment: Deployment, daemon: Daemon) -> None:
    shipped(Daemon(deployment, 2).ready(), 5)
    shipped(daemon, 3)
    assert said(daemon, 4) == [SeqRange(3, 4)]


def test_the_newest_ranges_are_named_when_there_are_too_many(daemon: Daemon) -> None:
    count = 2 * limits.MISSING_RANGES_MAX + 21
    chain = [daemon.start(), *(daemon.decision() for _ in range(count - 1))]
    daemon.ship(*chain[::2])
    missing = said(daemon, count - 1)
    assert missing == [SeqRange(seq, seq) for seq in range(21, count, 2)]
    assert len(missing) == limits.MISSING_RANGES_MAX


def test_only_so_much_of_a_long_chain_is_looked_at(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MISSING_ROWS_MAX", 5)
    shipped(daemon, 20, without=range(8, 10))
    assert said(daemon, 20) == [SeqRange(20, 20)]
    assert said(daemon, 14) == [], "it lies behind five rows"
    assert said(daemon, 13) == [SeqRange(8, 9)]
    assert said(daemon, 7) == []


def test_what_is_sent_again_fills_the_hole(deployment: Deployment, daemon: Daemon) -> None:
    chain = shipped(daemon, 10, without=range(3, 6))
    (before,) = deployment.instances()
    assert (before["missing"], before["gaps"]) == (3, [{"first_seq": 3, "last_seq": 5}])
    assert daemon.ship(*chain[3:6]).exceptions == []
    assert said(daemon, 9) == []
    (after,) = deployment.instances()
    assert (after["missing"], after["gaps"], after["records"]) == (0, [], 10)


def test_an_auditor_sees_a_lost_end_once_the_daemon_says_what_was_acknowledged(
    deployment: Deployment, daemon: Daemon
) -> None:
    shipped(daemon, 3)
    said(daemon, 6)
    (item,) = deployment.instances()
    assert (item["head_seq"], item["acked_seq"], item["missing"]) == (2, 6, 4)
    assert item["gaps"] == [{"first_seq": 3, "last_seq": 6}]


def test_a_hole_makes_the_verifier_say_incomplete_and_name_it(
    deployment: Deployment, daemon: Daemon
) -> None:
    shipped(daemon, 10, without=range(3, 6))
    answer = deployment.http.get("/v1/exports", headers=deployment.as_person("audrey"))
    auditor = Auditor(root_document().digest)
    for line in answer.content.splitlines(keepends=True):
        auditor.add(line)
    chain = auditor.report().verdict("chain")
    assert chain.state == "incomplete"
    assert chain.problems[0].cause == f"{daemon.instance} lacks seq 3–5"


def test_a_store_answers_in_the_form_that_both_ends_know() -> None:
    assert msgspec.json.encode(ChainHeadAnswer([SeqRange(3, 4)])) == (
        b'{"missing":[{"first_seq":3,"last_seq":4}]}'
    )
