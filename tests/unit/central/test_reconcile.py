"""Where certificates, decisions, counters and chains do not fit each other, an auditor is told."""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec
import pytest

from central.record_store import reconcile
from gateway import documents, seal
from gateway.documents import Counters
from gateway.timestamp import time_text
from tests import specimens
from tests.unit.central.deployment import NOW_US, Daemon, Deployment

HOUR_US = 3_600_000_000


def told(deployment: Deployment, **params: str | int) -> dict[str, Any]:
    found: dict[str, Any] = deployment.get("/v1/reconcile", **params)
    return found


def call(daemon: Daemon, **ruling: object) -> seal.Sealed:
    stamp = msgspec.structs.replace(specimens.DECISION.time, decided=time_text(NOW_US))
    decision = msgspec.structs.replace(specimens.DECISION.decision, **ruling)
    return daemon.decision(time=stamp, decision=decision)


def counters(allow: int, ok: int, **turned_away: int) -> Counters:
    return Counters(
        decisions={"allow": allow},
        completions={"ok": ok},
        turned_away={code: {"agent": count} for code, count in turned_away.items()},
    )


def end(daemon: Daemon, counted: Counters) -> seal.Sealed:
    return daemon.write(specimens.SEAL, counters=counted)


def heartbeat(daemon: Daemon, counted: Counters) -> seal.Sealed:
    return daemon.write(specimens.HEARTBEAT, counters=counted, certificate=None, log_seen=None)


def test_books_that_fit_say_nothing(deployment: Deployment, daemon: Daemon) -> None:
    start, allowed = daemon.start(), call(daemon)
    done = daemon.completion(allowed)
    denied = call(daemon, outcome="deny", reason="no_grant")
    counted = msgspec.structs.replace(counters(1, 1, too_busy=3), decisions={"allow": 1, "deny": 1})
    daemon.ship(start, allowed, done, denied, end(daemon, counted))
    deployment.clock.now_us += 2 * HOUR_US
    found = told(deployment)
    assert found["certificates_without_chain"] == {"count": 0, "items": []}
    assert found["decisions_without_completion"] == {"count": 0, "items": []}
    assert found["discrepancies"] == {"count": 0, "items": []}
    assert found["holes"] == {"count": 0, "missing": 0, "items": []}
    assert found["turned_away"] == {"too_busy": 3}
    assert found["instances"] == 2, "the store's own chain is compared too"


def test_a_certificate_of_which_no_record_came_is_named(
    deployment: Deployment, daemon: Daemon
) -> None:
    assert told(deployment)["certificates_without_chain"]["count"] == 0, "it may still come"
    deployment.clock.now_us += HOUR_US + 1
    bare = told(deployment)["certificates_without_chain"]
    assert (bare["count"], bare["items"][0]["instance"]) == (1, daemon.instance)
    daemon.ship(daemon.start())
    assert told(deployment)["certificates_without_chain"]["count"] == 0


def test_a_call_whose_outcome_nobody_knows_is_named_once_it_is_old(
    deployment: Deployment, daemon: Daemon
) -> None:
    finished, lost = call(daemon), call(daemon)
    server, denied = call(daemon, stage="server"), call(daemon, outcome="deny")
    opened = call(daemon, outcome="error_open", reason="fail_open", fail_open=True)
    daemon.ship(finished, lost, server, denied, opened, daemon.completion(finished))
    assert told(deployment)["decisions_without_completion"]["count"] == 0
    deployment.clock.now_us += 61_000_000
    found = told(deployment, older_than_seconds=60)["decisions_without_completion"]
    assert found["count"] == 2
    assert {item["id"] for item in found["items"]} == {lost.id, opened.id}
    assert {item["seq"] for item in found["items"]} == {1, 4}


def test_nobody_but_who_made_a_call_says_how_it_ended(
    deployment: Deployment, daemon: Daemon
) -> None:
    lost = call(daemon)
    daemon.ship(lost)
    other = Daemon(deployment, 2).ready()
    other.ship(other.completion(lost))
    deployment.clock.now_us += 61_000_000
    found = told(deployment, older_than_seconds=60)["decisions_without_completion"]
    assert [item["id"] for item in found["items"]] == [lost.id]
    assert deployment.get(f"/v1/records/{lost.id}")["completions"] == []
    done = daemon.completion(lost)
    daemon.ship(done)
    assert deployment.get(f"/v1/records/{lost.id}")["completions"] == [done.id]
    found = told(deployment, older_than_seconds=60)["decisions_without_completion"]
    assert found["items"] == []


@pytest.mark.parametrize(
    ("counted", "discrepancies"),
    [
        (counters(2, 2), []),
        (counters(3, 2), [("decisions", "allow", 3, 2)]),
        (counters(2, 4), [("completions", "ok", 4, 2)]),
        (counters(1, 1), [("completions", "ok", 1, 2), ("decisions", "allow", 1, 2)]),
    ],
)
def test_a_sealed_chain_has_just_the_records_that_were_counted(
    deployment: Deployment,
    daemon: Daemon,
    counted: Counters,
    discrepancies: list[tuple[str, str, int, int]],
) -> None:
    chain = [daemon.start()]
    for _ in range(2):
        allowed = call(daemon)
        chain += [allowed, daemon.completion(allowed)]
    daemon.ship(*chain, end(daemon, counted))
    found = told(deployment)["discrepancies"]
    assert found["count"] == len(discrepancies)
    assert [
        (one["kind"], one["outcome"], one["counted"], one["kept"]) for one in found["items"]
    ] == discrepancies
    assert {one["through_seq"] for one in found["items"]} <= {4}


def test_the_counters_of_a_running_instance_may_be_behind_but_not_ahead(
    deployment: Deployment, daemon: Daemon
) -> None:
    daemon.ship(daemon.start(), call(daemon), heartbeat(daemon, counters(0, 0)))
    assert told(deployment)["discrepancies"]["count"] == 0
    daemon.ship(heartbeat(daemon, counters(2, 0)))
    (one,) = told(deployment)["discrepancies"]["items"]
    assert (one["counted"], one["kept"], one["missing"]) == (2, 1, 0)


def test_what_is_not_shipped_yet_is_no_discrepancy(deployment: Deployment, daemon: Daemon) -> None:
    daemon.ship(daemon.start())
    head = documents.ChainHead(
        instance=daemon.instance,
        durable_seq=2,
        record_hash=specimens.HASH,
        acked_seq=0,
        counters=counters(2, 0),
        log_seen=None,
    )
    assert _post(daemon, head) == 200
    assert told(deployment)["discrepancies"]["count"] == 0
    more = msgspec.structs.replace(head, counters=counters(3, 0))
    assert _post(daemon, more) == 200
    (one,) = told(deployment)["discrepancies"]["items"]
    assert (one["counted"], one["kept"], one["through_seq"]) == (3, 0, 2)


def test_every_hole_is_counted(deployment: Deployment, daemon: Daemon) -> None:
    chain = [daemon.start(), *(call(daemon) for _ in range(4))]
    daemon.ship(chain[0], chain[2], chain[4])
    assert told(deployment)["holes"] == {
        "count": 1,
        "missing": 2,
        "items": [
            {
                "instance": daemon.instance,
                "missing": 2,
                "gaps": [{"first_seq": 1, "last_seq": 1}, {"first_seq": 3, "last_seq": 3}],
            }
        ],
    }


def test_more_than_a_hundred_are_counted_and_a_hundred_shown(
    deployment: Deployment, daemon: Daemon
) -> None:
    daemon.ship(*(call(daemon) for _ in range(reconcile.SHOWN_MAX + 5)))
    deployment.clock.now_us += 1_000_000
    found = told(deployment, older_than_seconds=0)["decisions_without_completion"]
    assert (found["count"], len(found["items"])) == (105, 100)


@pytest.mark.parametrize(
    "params", [{"older_than_seconds": "soon"}, {"person": "alice"}, {"older_than_seconds": "-1"}]
)
def test_a_reconciliation_that_cannot_be_is_refused(
    deployment: Deployment, params: dict[str, str]
) -> None:
    headers = deployment.as_person("audrey")
    answer = deployment.http.get("/v1/reconcile", params=params, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_filter")


def test_a_log_that_nothing_was_sent_to_has_the_chain_of_who_asks(deployment: Deployment) -> None:
    assert told(deployment)["instances"] == 1


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        ("_KEPT", "COVERING INDEX record_tally"),
        ("_WITHOUT_COMPLETION", "COVERING INDEX record_expecting"),
    ],
)
def test_no_comparison_reads_the_records_themselves(
    deployment: Deployment, statement: str, index: str
) -> None:
    with sqlite3.connect(f"{deployment.directory}/data/records.db") as connection:
        sql = getattr(reconcile, statement)
        values = [0] * sql.count("?")
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
    assert any(index in step for step in plan), plan
    others = [step for step in plan if step.startswith(("SEARCH", "SCAN"))]
    assert all("COVERING INDEX" in step for step in others), plan
    assert not any("TEMP B-TREE FOR ORDER" in step for step in plan), plan


def _post(daemon: Daemon, head: documents.ChainHead) -> int:
    body = documents.encode(daemon.signer.sign_document(documents.CHAIN_HEAD, head))
    headers = daemon.signed("POST", "/v1/chain-heads", body)
    answer = daemon.deployment.http.post("/v1/chain-heads", content=body, headers=headers)
    return answer.status_code
