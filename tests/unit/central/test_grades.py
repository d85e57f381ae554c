"""Late and skewed records are kept and graded, and what no version knows yet goes through whole."""

from __future__ import annotations

import sqlite3

import msgspec
import pytest

from central.record_store.grade import REGRADE
from gateway import limits, seal
from gateway.documents import RequestOf
from gateway.evidence import verify_export
from gateway.timestamp import time_text
from tests import specimens
from tests.unit.central.deployment import NOW_US, Daemon, Deployment, root_document

SECOND_US = 1_000_000
WEEK_US = limits.SPOOL_AGE_SECONDS_MAX * SECOND_US
DAY_US = 24 * 3600 * SECOND_US


def decided(daemon: Daemon, at_us: int) -> seal.Sealed:
    stamp = msgspec.structs.replace(specimens.DECISION.time, decided=time_text(at_us))
    return daemon.decision(time=stamp)


@pytest.mark.parametrize(
    ("at_us", "received_us", "grade"),
    [
        (NOW_US, NOW_US, "on_time"),
        (NOW_US + 60 * SECOND_US, NOW_US, "on_time"),
        (NOW_US + 60 * SECOND_US + 1, NOW_US, "skewed"),
        (NOW_US, NOW_US + WEEK_US, "on_time"),
        (NOW_US, NOW_US + WEEK_US + 1, "late"),
        (NOW_US - 1, NOW_US, "skewed"),
        (NOW_US + DAY_US, NOW_US + WEEK_US, "on_time"),
        (NOW_US + DAY_US + 1, NOW_US + WEEK_US, "skewed"),
    ],
)
def test_a_record_is_graded_by_its_time_its_receipt_and_its_certificate(
    deployment: Deployment, daemon: Daemon, at_us: int, received_us: int, grade: str
) -> None:
    call = decided(daemon, at_us)
    deployment.clock.now_us = received_us
    heir = daemon if received_us == NOW_US else Daemon(deployment, 2).ready()
    # A daemon whose certificate ended is known no more; its successor ships for it.
    of = None if heir is daemon else whose(call)
    assert heir.ship(call, of=of).exceptions == [], "never refused"
    (item,) = deployment.get("/v1/records", kind="decision")["items"]
    assert item["grade"] == grade
    for asked in ("on_time", "late", "skewed"):
        found = deployment.get("/v1/records", kind="decision", grade=asked)["items"]
        assert len(found) == (asked == grade)


def whose(call: seal.Sealed) -> RequestOf:
    """That a request is about ``call``, of an instance that is dead."""
    return RequestOf(call.instance, call.seq, call.seq)


def test_an_uncertified_record_is_not_skewed(deployment: Deployment, daemon: Daemon) -> None:
    dead = Daemon(deployment, 2)
    start = dead.start()
    daemon.ship(start, of=whose(start))
    (item,) = deployment.get("/v1/records", instance=dead.instance)["items"]
    assert (item["certified"], item["grade"]) == (False, "on_time")


def test_a_grade_that_is_none_is_refused(deployment: Deployment) -> None:
    answer = deployment.http.get(
        "/v1/records", params={"grade": "early"}, headers=deployment.as_person("audrey")
    )
    assert answer.json()["error"]["code"] == "bad_filter"


def test_an_upgrade_grades_what_is_there_by_the_same_rule(
    deployment: Deployment, daemon: Daemon
) -> None:
    times = [NOW_US, NOW_US + 61 * SECOND_US, NOW_US - 1, NOW_US + 2]
    daemon.ship(*(decided(daemon, at_us) for at_us in times))
    with sqlite3.connect(f"{deployment.directory}/data/records.db") as connection:
        query = "SELECT seq, grade FROM record ORDER BY leaf_index"
        graded = connection.execute(query).fetchall()
        assert [grade for _, grade in graded] == [None, "skewed", "skewed", None]
        connection.execute("UPDATE record SET grade = NULL")
        connection.execute(REGRADE)
        assert connection.execute(query).fetchall() == graded


def test_a_record_of_a_later_version_goes_through_store_export_and_verifier(
    deployment: Deployment, daemon: Daemon
) -> None:
    start = daemon.start()
    place = {"instance": daemon.instance, "seq": 1, "prev": start.hash, "kid": daemon.signer.kid}
    later = {
        "v": 2,
        "kind": "reflection",
        "id": "019a0c6e-9d00-7abc-8def-00000000ffff",
        "tenant": daemon.tenant,
        "region": daemon.region,
        "chain": place,
        "news": {"deep": [1.5, None]},
    }
    payload = msgspec.json.encode(later)
    signature = daemon.signer.sign(seal.record_pae(payload))
    digest = seal.record_hash(seal.record_pae(payload), signature)
    sealed = seal.Sealed(
        id=str(later["id"]),
        instance=daemon.instance,
        seq=1,
        payload=payload,
        signature=signature,
        hash=digest,
        kid=daemon.signer.kid,
    )
    assert daemon.ship(start, sealed).exceptions == []
    (item,) = deployment.get("/v1/records", kind="reflection")["items"]
    assert (item["record_hash"], item["person"], item["outcome"]) == (digest, None, None)
    headers = deployment.as_person("audrey")
    data = deployment.http.get("/v1/exports?complete=1", headers=headers).content
    lines = data.splitlines(keepends=True)
    assert sealed.envelope_line() + b"\n" in lines, "its exact bytes"
    report = verify_export(lines, root_document().digest)
    assert (report.verdict("signatures").state, report.verdict("inclusion").state) == (
        "true",
        "true",
    )
    assert report.verdict("chain").state == "true"
