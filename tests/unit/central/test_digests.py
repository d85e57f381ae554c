"""The digest service: a text is found under every key there is, and no more once it is gone."""

from __future__ import annotations

import base64
import sqlite3
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from central.database import Database
from central.errors import Refused
from gateway import limits, record, seal
from gateway.timestamp import time_text
from tests.unit.central.deployment import HOUR_US, NOW_US, REGION, TENANT, Daemon, Deployment

PATH = "/v1/digests"
TEXT = "how much does Jürgen earn?"
KEY = b"d" * 32
"""What the daemons of these tests hand over at enrolment."""


@pytest.fixture
def issuer(tmp_path: Path) -> Any:
    made = Deployment(tmp_path, ["issuer"])
    with made.http:
        yield made


def ask(
    made: Deployment, name: str | None = "audrey", path: str = PATH, /, **members: object
) -> tuple[int, Any]:
    """(status, answer or code) of a request by a person."""
    body = {"tenant": TENANT, "region": REGION, **members}
    headers = {} if name is None else made.as_person(name)
    headers |= {"Gatepost-Why": "case 7"}
    answer = made.http.post(path, json=body, headers=headers)
    return answer.status_code, (
        answer.json() if answer.status_code == 200 else answer.json()["error"]["code"]
    )


def enrolled(made: Deployment, number: int) -> str:
    daemon = Daemon(made, number)
    daemon.enrol()
    return daemon.instance


def acts(made: Deployment) -> list[dict[str, Any]]:
    with sqlite3.connect(made.directory / "data" / "issuer.db") as kept:
        rows = kept.execute("SELECT document FROM act ORDER BY act").fetchall()
    return [msgspec.json.decode(document) for (document,) in rows]


def test_a_text_has_the_digest_that_stands_in_the_records(issuer: Deployment) -> None:
    instance = enrolled(issuer, 1)
    status, answer = ask(issuer, instances=[instance], text=TEXT)
    digest = seal.keyed_digest(KEY, TEXT.encode())
    assert (status, answer) == (
        200,
        {"digests": [{"instance": instance, "digest": digest}], "without": []},
    )


def test_a_body_is_digested_byte_for_byte(issuer: Deployment) -> None:
    instance, body = enrolled(issuer, 1), b'{"model": "x"}\r\n\x00\xff'
    coded = base64.b64encode(body).decode()
    answer = ask(issuer, instances=[instance], body_base64=coded)[1]
    assert answer["digests"][0]["digest"] == seal.keyed_digest(KEY, body)


def test_an_instance_of_another_place_is_unknown(issuer: Deployment) -> None:
    mine, nobodys = enrolled(issuer, 1), "a" * 26
    answer = ask(issuer, instances=[nobodys, mine, mine], text=TEXT)[1]
    assert [one["instance"] for one in answer["digests"]] == [mine]
    assert answer["without"] == [{"instance": nobodys, "reason": "unknown"}]
    elsewhere = ask(
        issuer, "root", tenant="globex", region="us-east-1", instances=[mine], text=TEXT
    )
    assert elsewhere[1]["without"] == [{"instance": mine, "reason": "unknown"}]


@pytest.mark.parametrize(
    ("name", "members", "wanted"),
    [
        (None, {}, (401, "token_missing")),
        ("nobody", {}, (401, "token_unknown")),
        ("olaf", {}, (403, "role_insufficient")),
        ("greta", {}, (404, "not_found")),
        ("audrey", {"tenant": "globex", "region": "us-east-1"}, (404, "not_found")),
        ("root", {"region": "mars"}, (404, "not_found")),
        ("root", {}, (200, None)),
    ],
)
def test_only_an_auditor_of_the_tenant_may_ask(
    issuer: Deployment, name: str | None, members: dict[str, str], wanted: tuple[int, str | None]
) -> None:
    status, answer = ask(issuer, name, instances=["x"], text=TEXT, **members)
    assert (status, answer if wanted[1] else None) == wanted
    assert len(acts(issuer)) == (wanted[0] == 200), "what is refused is no act"


@pytest.mark.parametrize(
    ("members", "wanted"),
    [
        ({"instances": [], "text": "x"}, (400, "malformed_request")),
        ({"instances": ["x"]}, (400, "malformed_request")),
        ({"instances": ["x"], "text": "x", "body_base64": ""}, (400, "malformed_request")),
        ({"instances": ["x"], "body_base64": "%"}, (400, "malformed_request")),
        ({"instances": ["x"], "text": "x", "colour": 1}, (400, "malformed_request")),
        (
            {"instances": ["x"] * (limits.DIGEST_INSTANCES_MAX + 1), "text": "x"},
            (400, "malformed_request"),
        ),
        (
            {"instances": ["x"] * 1_000, "text": "x" * (limits.DIGEST_WORK_BYTES_MAX // 1_000 + 1)},
            (413, "body_too_large"),
        ),
    ],
)
def test_what_cannot_be_digested_is_refused(
    issuer: Deployment, members: dict[str, object], wanted: tuple[int, str]
) -> None:
    assert ask(issuer, **members) == wanted


def test_who_asks_is_noted_and_never_for_what(issuer: Deployment) -> None:
    instance = enrolled(issuer, 1)
    ask(issuer, instances=[instance], text=TEXT)
    (act,) = acts(issuer)
    assert (act["who"], act["what"], act["why"]) == ("audrey", "digests", "case 7")
    assert act["parameters"] == {"by": "text", "instances": "1"}
    assert "earn" not in msgspec.json.encode(act).decode()


def test_beside_a_record_store_an_act_is_an_admin_record(tmp_path: Path) -> None:
    made = Deployment(tmp_path, ["issuer", "records"])
    with made.http:
        instance = enrolled(made, 1)
        assert ask(made, instances=[instance], text=TEXT)[0] == 200
        assert acts(made) == []
    with sqlite3.connect(tmp_path / "data" / "records.db") as kept:
        rows = kept.execute("SELECT payload FROM record").fetchall()
    written = [record.decode(bytes(payload)) for (payload,) in rows]
    said = [one.what for one in written if isinstance(one, record.Admin)]
    assert said == ["digests"]


# -- the end of a key ------------------------------------------------------------------------

DESTROY = "/v1/digest-keys/destroy"


def test_a_destroyed_key_is_gone_from_the_file_and_a_search_says_so(issuer: Deployment) -> None:
    gone, left = enrolled(issuer, 1), enrolled(issuer, 2)
    path = issuer.directory / "data" / "issuer.db"
    with sqlite3.connect(path) as kept:
        query = "SELECT digest_key FROM instance WHERE instance = ?"
        ((wrapped,),) = kept.execute(query, (gone,)).fetchall()
    files = [path, path.with_name("issuer.db-wal")]
    assert any(wrapped in one.read_bytes() for one in files)
    assert ask(issuer, "root", DESTROY, instances=[gone]) == (200, {"destroyed": 1})
    assert ask(issuer, "root", DESTROY, instances=[gone]) == (200, {"destroyed": 0})
    assert not any(wrapped in one.read_bytes() for one in files)
    answer = ask(issuer, instances=[gone, left], text=TEXT)[1]
    assert [one["instance"] for one in answer["digests"]] == [left]
    assert answer["without"] == [{"instance": gone, "reason": "destroyed"}]


def test_a_renewal_does_not_bring_a_destroyed_key_back(issuer: Deployment) -> None:
    daemon = Daemon(issuer, 1)
    daemon.enrol()
    ask(issuer, "root", DESTROY, instances=[daemon.instance])
    daemon.enrol()
    answer = ask(issuer, instances=[daemon.instance], text=TEXT)[1]
    assert answer["without"] == [{"instance": daemon.instance, "reason": "destroyed"}]


def test_keys_end_with_retention(issuer: Deployment) -> None:
    old = enrolled(issuer, 1)
    issuer.clock.now_us = NOW_US + 10 * HOUR_US
    young = enrolled(issuer, 2)
    issuer.clock.now_us = NOW_US + 25 * HOUR_US
    before = time_text(issuer.clock.now_us)
    assert ask(issuer, "root", DESTROY, ended_before=before) == (200, {"destroyed": 1})
    answer = ask(issuer, instances=[old, young], text=TEXT)[1]
    assert [one["instance"] for one in answer["without"]] == [old]
    assert acts(issuer)[0]["parameters"] == {"ended_before": before}


@pytest.mark.parametrize("later_us", [1, 2 * HOUR_US, 973 * 365 * 24 * HOUR_US])
def test_no_time_to_come_ends_the_key_of_an_instance_that_runs(
    issuer: Deployment, later_us: int
) -> None:
    running = enrolled(issuer, 1)
    issuer.clock.now_us += 23 * HOUR_US
    before = time_text(issuer.clock.now_us + later_us)
    refused = ask(issuer, "root", DESTROY, ended_before=before)
    assert refused == (400, "malformed_request")
    now = time_text(issuer.clock.now_us)
    assert ask(issuer, "root", DESTROY, ended_before=now) == (200, {"destroyed": 0})
    answer = ask(issuer, instances=[running], text=TEXT)[1]
    assert [one["instance"] for one in answer["digests"]] == [running]


@pytest.mark.parametrize(
    ("name", "members", "wanted"),
    [
        ("audrey", {"instances": ["x"]}, (403, "role_insufficient")),
        ("olaf", {"instances": ["x"]}, (403, "role_insufficient")),
        ("root", {}, (400, "malformed_request")),
        ("root", {"ended_before": "yesterday"}, (400, "malformed_request")),
        (
            "root",
            {"ended_before": "2026-01-01T00:00:00.000000Z", "instances": ["x"]},
            (400, "malformed_request"),
        ),
    ],
)
def test_who_may_destroy_and_what(
    issuer: Deployment, name: str, members: dict[str, object], wanted: tuple[int, str]
) -> None:
    assert ask(issuer, name, DESTROY, **members) == wanted


def test_an_operator_sees_who_was_superseded_and_asked(issuer: Deployment) -> None:
    first = Daemon(issuer, 1)
    first.enrol()
    second = enrolled(issuer, 2)
    with pytest.raises(AssertionError, match="instance_conflict"):
        first.enrol()
    (seen,) = issuer.get("/v1/instance-conflicts", "olaf", tenant=TENANT)
    assert (seen["instance"], seen["superseded_by"], seen["count"]) == (first.instance, second, 1)
    assert issuer.get("/v1/instance-conflicts", "root", tenant="globex") == []
    headers = issuer.as_person("greta")
    refused = issuer.http.get(f"/v1/instance-conflicts?tenant={TENANT}", headers=headers)
    assert refused.status_code == 403
    looks = [one for one in acts(issuer) if one["what"] == "instance_conflicts.list"]
    assert [(one["who"], one["tenant"], one["region"]) for one in looks] == [
        ("olaf", TENANT, REGION),
        ("root", "globex", "eu-west-1"),
        ("root", "globex", "us-east-1"),
    ]


def test_a_look_at_conflicts_of_nobody_finds_nothing(issuer: Deployment) -> None:
    answer = issuer.http.get(
        "/v1/instance-conflicts?tenant=nobody", headers=issuer.as_person("root")
    )
    assert answer.status_code == 404
    assert acts(issuer) == []


def test_a_log_that_cannot_be_folded_is_an_answer_and_no_fault_of_the_service(
    tmp_path: Path,
) -> None:
    database = Database(str(tmp_path / "x.db"), "CREATE TABLE t (a);\n", 1, {})
    database.close()
    with pytest.raises(Refused, match="storage_failed"):
        anyio.run(database.fold)
