"""A store hears from daemons that it lost leaves, and says so until its log is reopened."""

from __future__ import annotations

import base64
import logging
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest

from central.config import CentralConfig
from central.record_store.behind import contradiction
from central.record_store.logs import Log, find_log
from central.record_store.maintenance import Maintenance
from gateway import checkpoint, documents, signed_request
from gateway.checkpoint import Checkpoint
from gateway.documents import ChainHead, Counters, LogSeen
from gateway.logproof import Entry
from gateway.merkle import Frontier
from tests.unit.central.deployment import REGION, TENANT, Daemon, Deployment, write_key
from tests.unit.central.test_log import ORIGIN, prove, ship_seeing
from tests.unit.central.test_reopening import _copy, _restored

OTHER = "localhost/log/globex/eu-west-1/1"


def told(made: Deployment) -> list[dict[str, object]]:
    """What contradicts the log, without when."""
    status = made.get("/v1/log")
    assert (status["tenant"], status["region"]) == (TENANT, REGION)
    return [{**one, "received": None, "said": None} for one in status["behind"]]


def alarms(made: Deployment) -> list[str]:
    ready = made.http.get("/readyz")
    assert (ready.status_code, ready.json()["ready"]) == (200, True), "no daemon can stop a store"
    return list(ready.json()["alarms"])


def newest(made: Deployment) -> Checkpoint:
    answer = made.http.get(f"/log/{TENANT}/{REGION}/1/checkpoint", headers=made.as_person("audrey"))
    return checkpoint.read(answer.text.split("\n\n")[0] + "\n")


def post_head(daemon: Daemon, seen: LogSeen | None) -> str:
    head = ChainHead(
        instance=daemon.instance,
        durable_seq=0,
        record_hash="sha256:" + "0" * 64,
        acked_seq=0,
        counters=Counters(decisions={}, completions={}, turned_away={}),
        log_seen=seen,
    )
    body = documents.encode(daemon.signer.sign_document(documents.CHAIN_HEAD, head))
    answer = daemon.deployment.http.post(
        "/v1/chain-heads", content=body, headers=daemon.signed("POST", "/v1/chain-heads", body)
    )
    assert answer.status_code == 200, answer.text
    return body.decode()


def test_a_restored_store_says_so_until_its_log_is_reopened(
    deployment: Deployment, daemon: Daemon, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    daemon.ship(daemon.start(), daemon.decision())
    again, seen = _restored(deployment, daemon)
    with again.http:
        assert (alarms(again), told(again)) == ([], [])
        with caplog.at_level(logging.ERROR, "gatepost.central"):
            for _ in range(3):
                ship_seeing(daemon, seen.seen(), daemon.decision())
        events = [one for one in caplog.messages if one.startswith("log_behind")]
        assert len(events) == 1, "said once, not with each batch"
        assert ORIGIN in events[0]
        (one,) = told(again)
        expected = {"instance": daemon.instance, "origin": ORIGIN, "size": seen.size}
        assert one.items() >= expected.items()
        assert one["root"] == base64.b64encode(seen.root).decode()
        assert one["reason"] == "other_root", "it has grown past what was seen, differently"
        assert alarms(again) == ["log_behind"]
        key = write_key(tmp_path / "revocation.key", b"v" * 32)
        with Maintenance(again.config) as store:
            store.reopen(TENANT, REGION, "the volume was lost", None, [key])
        assert (alarms(again), told(again)) == ([], [])


def test_more_leaves_than_are_here_is_the_signed_word_of_a_daemon(
    deployment: Deployment, daemon: Daemon
) -> None:
    daemon.ship(daemon.start())
    said = post_head(daemon, LogSeen(origin=ORIGIN, size=1_000, root="x"))
    (one,) = deployment.get("/v1/log")["behind"]
    assert (one["reason"], one["size"], one["said"]) == ("ahead", 1_000, said)
    ship_seeing(daemon, LogSeen(origin=ORIGIN, size=2_000, root="x"), daemon.decision())
    (one,) = deployment.get("/v1/log")["behind"]
    claimed, _ = signed_request.read_header(one["said"])
    assert claimed.log_seen == LogSeen(origin=ORIGIN, size=2_000, root="x")


def test_a_backup_from_before_a_reopening_is_reopened_once_more_than_that(
    deployment: Deployment, daemon: Daemon, tmp_path: Path
) -> None:
    start = daemon.start()
    daemon.ship(start)
    database, kept = deployment.directory / "data/records.db", tmp_path / "backup.db"
    _copy(database, kept)
    key = write_key(tmp_path / "revocation.key", b"v" * 32)

    def reopen(config: CentralConfig) -> None:
        with Maintenance(config) as store:
            store.reopen(TENANT, REGION, "drill", None, [key])

    reopen(deployment.config)
    seen = prove(daemon.ship(start), start).opened.checkpoint
    assert seen.origin == ORIGIN[:-1] + "2"
    deployment.http.__exit__(None, None, None)
    _copy(kept, database)
    again = daemon.deployment = Deployment(deployment.directory)
    with again.http:
        ship_seeing(daemon, seen.seen(), start)
        assert [one["reason"] for one in told(again)] == ["newer_log"]
        reopen(again.config)
        assert alarms(again) == ["log_behind"], "what it opened now, a daemon has seen otherwise"
        reopen(again.config)
        assert alarms(again) == []
        proven = prove(ship_seeing(daemon, seen.seen(), start), start, seen=seen)
        assert proven.opened.checkpoint.origin == ORIGIN[:-1] + "3"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"size": 0, "root": "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}, None),
        ({"size": 0}, "other_root"),
        ({"root": base64.b64encode(bytes(32)).decode()}, "other_root"),
        ({"root": base64.b64encode(bytes(33)).decode()}, "other_root"),
        ({"root": "no base64"}, None),
        ({"origin": ORIGIN[:-1] + "2"}, "newer_log"),
        ({"size": -1}, None),
        ({"origin": OTHER, "size": 1_000}, None),
        ({"origin": "elsewhere", "size": 1_000}, None),
        ({"origin": ORIGIN.replace("localhost", "other"), "size": 1_000}, None),
    ],
)
def test_what_was_seen_is_held_against_the_log(
    deployment: Deployment, daemon: Daemon, change: dict[str, str | int], reason: str | None
) -> None:
    daemon.ship(daemon.start(), daemon.decision())
    seen = msgspec.structs.replace(newest(deployment).seen(), **change)
    ship_seeing(daemon, seen, daemon.decision())
    assert [one["reason"] for one in told(deployment)] == ([] if reason is None else [reason])


def test_a_size_that_was_never_signed_is_held_against_the_tree(
    deployment: Deployment, daemon: Daemon
) -> None:
    """Within one batch no checkpoint was made; the tree had each of these sizes all the same."""
    daemon.ship(daemon.start(), *(daemon.decision() for _ in range(300)))
    connection = sqlite3.connect(deployment.directory / "data" / "records.db")
    leaves = connection.execute("SELECT type, received_us, hash FROM leaf ORDER BY leaf_index")
    frontier = Frontier()
    for row in leaves.fetchall():
        frontier.append(Entry(*row).leaf_hash())
        seen = Checkpoint(ORIGIN, frontier.size, frontier.root()).seen()
        assert contradiction(connection, _found(connection), seen) is None
        wrong = msgspec.structs.replace(seen, root=base64.b64encode(bytes(32)).decode())
        assert contradiction(connection, _found(connection), wrong) == "other_root"
    assert frontier.size > 300
    connection.close()


def _found(connection: sqlite3.Connection) -> Log:
    log = find_log(connection, TENANT, REGION)
    assert log is not None
    return log


def test_the_word_of_each_instance_is_kept_once(deployment: Deployment, daemon: Daemon) -> None:
    other = Daemon(deployment, 2).ready()
    for one in (daemon, other, daemon):
        post_head(one, LogSeen(origin=ORIGIN, size=1_000, root="x"))
    assert {one["instance"] for one in told(deployment)} == {daemon.instance, other.instance}
    assert len(told(deployment)) == 2


def test_a_daemon_that_saw_nothing_says_nothing(deployment: Deployment, daemon: Daemon) -> None:
    post_head(daemon, None)
    assert told(deployment) == []


def test_a_word_of_a_log_far_ahead_is_settled_by_one_reopening_more(
    deployment: Deployment, daemon: Daemon, tmp_path: Path
) -> None:
    """One daemon that lies must not keep an alarm up through a thousand million reopenings."""
    daemon.ship(daemon.start())
    post_head(daemon, LogSeen(origin=f"{ORIGIN[:-1]}999999999", size=1, root="x"))
    assert [one["reason"] for one in told(deployment)] == ["newer_log"]
    key = write_key(tmp_path / "revocation.key", b"v" * 32)
    for left in (["log_behind"], []):
        with Maintenance(deployment.config) as store:
            store.reopen(TENANT, REGION, "drill", None, [key])
        assert alarms(deployment) == left


def acknowledge(made: Deployment, name: str, *instances: str) -> tuple[int, Any]:
    """(status, log or code) of an acknowledgement by a person."""
    answer = made.http.post(
        "/v1/log/acknowledge",
        json={"region": REGION, "instances": list(instances)},
        headers={**made.as_person(name), "Gatepost-Why": "it was reinstalled"},
    )
    found = answer.json()
    return answer.status_code, found if answer.status_code == 200 else found["error"]["code"]


def test_what_an_operator_settled_stays_to_be_read_and_is_no_alarm(
    deployment: Deployment, daemon: Daemon
) -> None:
    other = Daemon(deployment, 2).ready()
    for one in (daemon, other):
        post_head(one, LogSeen(origin=ORIGIN, size=1_000, root="x"))
    status, log = acknowledge(deployment, "olaf", daemon.instance)
    assert status == 200
    settled = {one["instance"]: one["acknowledged_by"] for one in log["behind"]}
    assert settled == {daemon.instance: "olaf", other.instance: None}
    assert alarms(deployment) == ["log_behind"], "nobody settled what the other one says"
    assert acknowledge(deployment, "olaf", other.instance)[0] == 200
    assert alarms(deployment) == []
    post_head(daemon, LogSeen(origin=ORIGIN, size=2_000, root="x"))
    assert alarms(deployment) == [], "its word is settled, also when it goes on"
    (again,) = (one for one in told(deployment) if one["instance"] == daemon.instance)
    assert (again["size"], again["acknowledged_by"]) == (2_000, "olaf")
    acts = deployment.get("/v1/records", kind="admin", operation="log.acknowledge")["items"]
    assert [one["person"] for one in acts] == ["olaf", "olaf"]
    detail = deployment.get(f"/v1/records/{acts[-1]['id']}")
    act = msgspec.json.decode(base64.b64decode(detail["payload"]))
    assert act["why"] == "it was reinstalled"
    assert act["parameters"] == {daemon.instance: "ahead: 1000 leaves"}


def test_nobody_settles_what_was_not_said_and_then_nothing_is_settled(
    deployment: Deployment, daemon: Daemon
) -> None:
    post_head(daemon, LogSeen(origin=ORIGIN, size=1_000, root="x"))
    assert acknowledge(deployment, "olaf", daemon.instance, "a" * 26) == (404, "not_found")
    assert acknowledge(deployment, "audrey", daemon.instance) == (403, "role_insufficient")
    assert alarms(deployment) == ["log_behind"]
    assert deployment.get("/v1/records", operation="log.acknowledge")["items"] == []
