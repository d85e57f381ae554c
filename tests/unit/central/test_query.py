"""Questions of people: filters, pages, one record, exports, and whose records they see."""

from __future__ import annotations

import base64
import gzip
import sqlite3
from collections.abc import Iterator

import msgspec
import pytest

from central.record_store import filters
from central.record_store.filters import read_query
from central.record_store.logs import find_log
from central.record_store.walk import page_statement, stop_of, walk_of
from gateway import checkpoint, documents, note
from gateway.documents import Envelope
from gateway.envelope_line import is_record
from gateway.evidence import Asked, verify_export
from gateway.timestamp import time_text
from tests import specimens
from tests.unit.central.deployment import (
    NOW_US,
    REGION,
    TENANT,
    Daemon,
    Deployment,
    root_document,
)

CALLS = 25


class Filled(Deployment):
    """A deployment with one sealed chain of ``CALLS`` calls, one a second."""

    def fill(self) -> None:
        daemon = Daemon(self).ready()
        self.first = daemon
        sealed = [daemon.start()]
        for number in range(CALLS):
            call = daemon.decision(
                time=msgspec.structs.replace(
                    specimens.DECISION.time, decided=time_text(NOW_US + number * 1_000_000)
                ),
                person=msgspec.structs.replace(
                    specimens.DECISION.person, id=f"person-{number % 5}"
                ),
                policy=msgspec.structs.replace(specimens.DECISION.policy, version=number % 2),
                data=msgspec.structs.replace(
                    specimens.DECISION.data, categories=["pii.email"] if number % 3 else []
                ),
                decision=msgspec.structs.replace(
                    specimens.DECISION.decision,
                    outcome="deny" if number == 7 else "allow",
                ),
            )
            sealed += [call, daemon.completion(call)]
        self.sealed = [*sealed, daemon.end()]
        daemon.ship(*self.sealed)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    made = Filled(tmp_path_factory.mktemp("central"))
    with made.http:
        made.fill()
        yield made


def found(filled: Filled, **params: str | int) -> list[dict[str, object]]:
    return list(filled.get("/v1/records", **params)["items"])


@pytest.mark.parametrize(
    ("params", "count"),
    [
        ({"kind": "decision"}, CALLS),
        ({"person": "person-3"}, 5),
        ({"person": "person-3", "policy_version": 1}, 3),
        ({"agent": "claims-bot"}, CALLS),
        ({"model": "gpt-4.1"}, CALLS),
        ({"provider": "openai", "route": "openai", "level": "confidential"}, CALLS),
        ({"outcome": "deny"}, 1),
        ({"category": "pii.email"}, 16),
        ({"category": "pii.email", "person": "person-1"}, 3),
        ({"policy_version": 0, "kind": "decision"}, 13),
        ({"operation": "chat", "reason": "granted"}, CALLS),
        ({"tool": "none"}, 0),
        ({"person": "' OR 1=1 --"}, 0),
        ({"kind": "seal"}, 1),
        (
            {
                "kind": "decision",
                "decided_from": time_text(NOW_US + 3_000_000),
                "decided_to": time_text(NOW_US + 6_000_000),
            },
            3,
        ),
    ],
)
def test_a_filter_finds_exactly_what_it_names(
    filled: Filled, params: dict[str, str | int], count: int
) -> None:
    assert len(found(filled, **params)) == count


@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize(
    ("name", "value", "index"),
    [
        ("person", "a", "record_person"),
        ("agent", "a", "record_agent"),
        ("instance", "a", "record_instance"),
        ("model", "a", "record_model"),
        ("outcome", "deny", "record_outcome"),
        ("policy_version", "7", "record_policy"),
        ("category", "phi", "PRIMARY KEY"),
        ("of", "a", "record_of"),
        ("grade", "late", "record_grade"),
        ("reason", "no_grant", "record_time"),
        ("decided_from", time_text(NOW_US), "record_time"),
        ("order", "", "record_time"),
    ],
)
def test_every_filter_of_an_audit_walks_its_own_index(
    filled: Filled, name: str, value: str, index: str, order: str
) -> None:
    connection = sqlite3.connect(f"{filled.directory}/data/records.db")
    log = find_log(connection, "acme", "eu-west-1")
    assert log is not None
    asked = {"order": order} if name == "order" else {name: value, "order": order}
    first = read_query(asked.items())
    cursor = filters.Cursor(NOW_US, 5, log.size, first.fingerprint)
    asked["cursor"] = filters.cursor_text(cursor)
    for query in (first, read_query(asked.items())):
        walk = walk_of(connection, log, query)
        stop = stop_of(connection, log, query, log.size, walk)
        sql, values = page_statement("r.id", log, query, log.size, walk, stop)
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
        assert index in plan[0], plan
        assert not any("TEMP B-TREE" in step for step in plan), plan
    connection.close()


def test_every_filter_can_be_checked_without_reading_whole_rows(filled: Filled) -> None:
    """At a million records a filter that finds little would read a gigabyte."""
    connection = sqlite3.connect(f"{filled.directory}/data/records.db")
    names = [row[1] for row in connection.execute("PRAGMA index_list(record)")]
    indexed = {
        column[2] for name in names for column in connection.execute(f"PRAGMA index_info({name})")
    }
    connection.close()
    assert {*filters.TEXT_FILTERS, "policy_version", "grade"} <= indexed


def test_an_item_says_what_was_recorded(filled: Filled) -> None:
    (item,) = found(filled, outcome="deny")
    assert item["person"] == "person-2"
    assert item["categories"] == ["pii.email"]
    assert item["certified"] is True
    assert item["time"] == time_text(NOW_US + 7_000_000)


@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize("extra", [{}, {"category": "pii.email"}, {"person": "person-1"}])
def test_pages_follow_each_other_without_gap_or_repetition(
    filled: Filled, order: str, extra: dict[str, str | int]
) -> None:
    whole = [item["id"] for item in found(filled, order=order, kind="decision", **extra)]
    paged: list[object] = []
    cursor: dict[str, str | int] = {}
    while True:
        page = filled.get("/v1/records", order=order, kind="decision", limit=4, **extra, **cursor)
        paged += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert paged == whole
    times = [str(item["time"]) for item in found(filled, order=order, kind="decision", **extra)]
    assert times == sorted(times, reverse=order == "newest")


def test_a_query_is_one_snapshot_while_new_records_come(deployment: Deployment) -> None:
    daemon = Daemon(deployment).ready()
    daemon.ship(daemon.start(), *(daemon.decision() for _ in range(4)))
    asked: dict[str, str | int] = {"limit": 2, "order": "oldest", "instance": daemon.instance}
    first = deployment.get("/v1/records", **asked)
    daemon.ship(*(daemon.decision() for _ in range(4)))
    ids, cursor = [item["id"] for item in first["items"]], first["next_cursor"]
    while cursor:
        page = deployment.get("/v1/records", **asked, cursor=cursor)
        assert page["at_size"] == first["at_size"]
        ids += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert len(ids) == len(set(ids)) == 5


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"persn": "alice"}, "bad_filter"),
        ({"limit": "0x10"}, "bad_filter"),
        ({"limit": "1001"}, "bad_filter"),
        ({"policy_version": "9" * 30}, "bad_filter"),
        ({"decided_from": "yesterday"}, "bad_filter"),
        ({"order": "sideways"}, "bad_filter"),
        ({"cursor": "%%%"}, "bad_cursor"),
        ({"cursor": "bm9wZQ"}, "bad_cursor"),
        ({"region": "us-east-1"}, "not_found"),
        ({"tenant": "globex"}, "not_found"),
    ],
)
def test_a_question_that_cannot_be_understood_is_refused(
    filled: Filled, params: dict[str, str], code: str
) -> None:
    answer = filled.http.get("/v1/records", params=params, headers=filled.as_person("audrey"))
    assert answer.json()["error"]["code"] == code


def test_a_cursor_serves_only_its_own_query(filled: Filled) -> None:
    cursor = filled.get("/v1/records", limit=2, kind="decision")["next_cursor"]
    answer = filled.http.get(
        "/v1/records",
        params={"limit": 2, "cursor": cursor},
        headers=filled.as_person("audrey"),
    )
    assert answer.json()["error"]["code"] == "bad_cursor"


def test_one_record_is_found_by_id_and_by_hash_with_its_exact_bytes(filled: Filled) -> None:
    sealed = filled.sealed[1]
    by_id = filled.get(f"/v1/records/{sealed.id}")
    assert filled.get(f"/v1/records/{sealed.hash}") == by_id
    assert base64.b64decode(by_id["payload"]) == sealed.payload
    assert base64.b64decode(by_id["signature"]) == sealed.signature
    assert by_id["leading"]["chain"]["seq"] == 1
    assert by_id["certificate"] is not None
    assert by_id["completions"] == [filled.sealed[2].id]


@pytest.mark.parametrize("name", ["nothing", "sha256:" + "0" * 64, "sha256:zz", "%2e%2e"])
def test_a_record_that_is_not_there_is_not_found(filled: Filled, name: str) -> None:
    answer = filled.http.get(f"/v1/records/{name}", headers=filled.as_person("audrey"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_another_tenant_sees_nothing_of_it(filled: Filled) -> None:
    greta = filled.as_person("greta")
    params = {"region": "eu-west-1"}
    items = filled.http.get("/v1/records", params=params, headers=greta).json()["items"]
    assert [item["kind"] for item in items] == ["admin", "start"], "her own look, in her own log"
    for name in (filled.sealed[1].id, filled.sealed[1].hash):
        answer = filled.http.get(f"/v1/records/{name}", params=params, headers=greta)
        assert answer.status_code == 404
    instances = filled.http.get("/v1/instances", params=params, headers=greta).json()
    assert [one["service"] for one in instances] == ["record_store"]
    text = filled.http.get("/v1/exports", params=params, headers=greta).text
    assert "globex" in text
    assert not any(sealed.envelope_line().decode() in text for sealed in filled.sealed)


def test_a_tenant_with_several_regions_names_one(filled: Filled) -> None:
    answer = filled.http.get("/v1/records", headers=filled.as_person("greta"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "region_required")


def test_who_acts_for_every_tenant_names_one(filled: Filled) -> None:
    assert len(filled.get("/v1/records", "root", tenant="acme", kind="decision")["items"]) == CALLS
    answer = filled.http.get("/v1/records", headers=filled.as_person("root"))
    assert answer.json()["error"]["code"] == "bad_filter"


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, "token_missing"),
        ({"Authorization": "Basic YTpi"}, 401, "token_missing"),
        ({"Authorization": "Bearer gpp_nobody"}, 401, "token_unknown"),
        ({"Authorization": "Bearer gpp_olaf"}, 403, "role_insufficient"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/records", "/v1/records/x", "/v1/instances", "/v1/exports"])
def test_nobody_reads_without_an_auditors_token(
    filled: Filled, path: str, headers: dict[str, str], status: int, code: str
) -> None:
    answer = filled.http.get(path, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert ("www-authenticate" in answer.headers) == (status == 401)


def export(filled: Filled, **params: str | int) -> list[bytes]:
    answer = filled.http.get("/v1/exports", params=params, headers=filled.as_person("audrey"))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    return answer.content.splitlines(keepends=True)


def test_an_export_is_proved_by_the_offline_verifier(filled: Filled) -> None:
    lines = export(filled, complete=1)
    report = verify_export(lines, root_document().digest)
    assert report.exit_code == 0
    ours = {sealed.envelope_line() + b"\n" for sealed in filled.sealed}
    assert ours < set(lines)
    assert report.records == len([line for line in lines if is_record(line)])
    assert report.complete
    certificates = len([line for line in lines if documents.KEY_CERT.encode() in line])
    assert report.verdict("inclusion").counted == report.records + certificates
    assert report.anchor is not None
    assert report.anchor.size == report.records + certificates


def test_one_flipped_byte_of_an_export_is_found(filled: Filled) -> None:
    lines = export(filled)
    lines[10] = lines[10].replace(b"A", b"B", 1)
    assert verify_export(lines, root_document().digest).exit_code == 1


def test_an_export_of_some_records_is_sound_and_says_what_it_lacks(filled: Filled) -> None:
    report = verify_export(export(filled, person="person-1"), root_document().digest)
    assert (report.records, report.exit_code) == (5, 3)
    states = {v.name: v.state for v in report.verdicts}
    assert (states["signatures"], states["entitlement"]) == ("true", "true")
    assert (states["inclusion"], report.verdict("inclusion").counted) == ("true", 5)
    assert (states["chain"], states["tail"]) == ("incomplete", "incomplete")
    assert not report.complete


def test_an_export_of_many_pages_is_whole(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = export(filled)
    monkeypatch.setattr("gateway.limits.EXPORT_PAGE_RECORDS", 7)
    paged = export(filled)
    records = [line for line in whole if is_record(line)]
    assert [line for line in paged if is_record(line)][: len(records)] == records
    assert verify_export(paged, root_document().digest).exit_code == 0
    found = export(filled, category="pii.email")
    assert len([line for line in found if is_record(line)]) == 16


def test_a_complete_export_is_cut_where_a_page_is_full(
    filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = export(filled, complete=1)
    monkeypatch.setattr("gateway.limits.EXPORT_PAGE_BYTES", 10_000)
    paged = export(filled, complete=1)
    assert len(paged) > len(whole) + 5
    assert verify_export(paged, root_document().digest).exit_code == 0


def test_an_export_leads_from_the_checkpoint_that_its_auditor_has(filled: Filled) -> None:
    path = f"/log/{TENANT}/{REGION}/1/checkpoint"
    seen = filled.http.get(path, headers=filled.as_person("audrey")).text
    size = checkpoint.read(note.parse(seen).text).size
    later = Daemon(filled, 2).ready()
    later.ship(later.start(), later.decision())
    asked = Asked(pin=seen)
    led = verify_export(
        export(filled, kind="start", **{"from": size}), root_document().digest, asked
    )
    assert (led.verdict("consistency").state, led.verdict("consistency").counted) == ("true", 1)
    unasked = verify_export(export(filled, kind="start"), root_document().digest, asked)
    assert unasked.verdict("consistency").state == "incomplete"
    whole = verify_export(export(filled, complete=1), root_document().digest, asked)
    assert whole.verdict("consistency").state == "true"


def test_what_a_store_set_aside_is_in_a_complete_export(filled: Filled) -> None:
    daemon, twin = Daemon(filled, 2).ready(), Daemon(filled, 2)
    daemon.ship(daemon.start(), daemon.decision())
    twin.start()
    daemon.ship(twin.decision(trace=None))
    daemon.ship_lines([b"no envelope at all"])
    report = verify_export(export(filled, complete=1), root_document().digest)
    assert report.verdict("inclusion").state == "true"
    assert report.verdict("forks").state == "false"
    assert report.verdict("forks").problem_count == 1
    assert report.cause is not None
    assert "another record was signed for seq 1" in report.cause[1].cause


@pytest.mark.parametrize(
    "params",
    [
        {"complete": "0"},
        {"complete": "1", "person": "person-1"},
        {"complete": "1", "limit": "5"},
        {"from": "x"},
        {"from": "1000000"},
        {"from": "-1"},
    ],
)
def test_an_export_that_cannot_be_is_refused(filled: Filled, params: dict[str, str]) -> None:
    answer = filled.http.get("/v1/exports", params=params, headers=filled.as_person("audrey"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_filter")


def test_an_export_is_compressed_for_who_asks(filled: Filled) -> None:
    headers = {**filled.as_person("audrey"), "Accept-Encoding": "gzip"}
    with filled.http.stream("GET", "/v1/exports", headers=headers) as answer:
        assert answer.headers["content-encoding"] == "gzip"
        raw = b"".join(answer.iter_raw())
    lines = gzip.decompress(raw).splitlines(keepends=True)
    assert verify_export(lines, root_document().digest).verdict("inclusion").state == "true"


def test_the_certificate_in_a_detail_is_the_issuers(filled: Filled) -> None:
    detail = filled.get(f"/v1/records/{filled.sealed[1].id}")
    envelope = msgspec.convert(detail["certificate"], Envelope)
    assert envelope == filled.first.certificate


@pytest.mark.parametrize("path", ["/v1/instances", "/v1/records/{id}", "/v1/records/{id}/proof"])
def test_a_filter_that_would_change_nothing_is_refused(filled: Filled, path: str) -> None:
    """Who asks for the instances of one person must not believe that these are they."""
    asked = path.format(id=filled.sealed[1].id)
    headers = filled.as_person("audrey")
    answer = filled.http.get(asked, params={"person": "person-3"}, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_filter")
    assert filled.http.get(asked, params={"region": REGION}, headers=headers).status_code == 200
