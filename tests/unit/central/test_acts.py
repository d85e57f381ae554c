"""What people do is in the log before they have the answer."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from central import acts
from central import app as central_app
from central.acts import Act
from central.errors import Refused
from gateway import attestation, documents, limits, record, seal
from gateway.evidence import verify_export
from gateway.record import Admin
from tests.unit.central.deployment import (
    HOUR_US,
    REGION,
    SEEDS,
    TENANT,
    Daemon,
    Deployment,
    bundle,
    root_document,
)

DAY_US = 24 * HOUR_US


def stored(deployment: Deployment, tenant: str = TENANT) -> list[record.Record]:
    """Every record of ``tenant``'s first log that this version knows, in leaf order."""
    connection = sqlite3.connect(f"{deployment.directory}/data/records.db")
    rows = connection.execute(
        "SELECT payload FROM record JOIN log USING (log) WHERE tenant = ? ORDER BY leaf_index",
        (tenant,),
    ).fetchall()
    connection.close()
    return [record.decode(payload) for (payload,) in rows]


def admins(deployment: Deployment, tenant: str = TENANT) -> list[Admin]:
    return [one for one in stored(deployment, tenant) if isinstance(one, Admin)]


def kinds(deployment: Deployment, tenant: str = TENANT) -> list[str]:
    return [one.kind for one in stored(deployment, tenant)]


@pytest.mark.parametrize(
    ("path", "params", "what", "parameters"),
    [
        ("/v1/records", {"person": "alice"}, "records.page", {"person": "alice"}),
        ("/v1/records/nothing", {}, "records.detail", {"record": "nothing"}),
        ("/v1/records/nothing/proof", {}, "records.proof", {"record": "nothing"}),
        ("/v1/instances", {}, "instances.list", {}),
        ("/v1/exports", {"complete": "1"}, "records.export", {"complete": "1"}),
    ],
)
def test_every_look_is_recorded(
    deployment: Deployment, path: str, params: dict[str, str], what: str, parameters: dict[str, str]
) -> None:
    headers = {**deployment.as_person("audrey"), "Gatepost-Why": "ticket 17"}
    deployment.http.get(path, params=params, headers=headers)
    (found,) = admins(deployment)
    assert (found.tenant, found.region, found.who) == (TENANT, REGION, "audrey")
    assert (found.what, found.why, found.parameters) == (what, "ticket 17", parameters)
    assert found.range is None


def test_the_times_that_are_asked_for_are_the_range(deployment: Deployment) -> None:
    from_text = "2026-11-01T00:00:00.000000Z"
    deployment.get("/v1/records", decided_from=from_text)
    assert [one.range for one in admins(deployment)] == [f"{from_text}/.."]


def test_a_look_is_in_the_log_when_it_is_answered(deployment: Deployment) -> None:
    (item, start) = deployment.get("/v1/records")["items"]
    assert (item["kind"], item["person"], item["operation"]) == ("admin", "audrey", "records.page")
    assert (start["kind"], item["certified"]) == ("start", True)


def test_what_is_refused_leaves_no_record(deployment: Deployment) -> None:
    answer = deployment.http.get("/v1/records", headers=deployment.as_person("olaf"))
    assert answer.status_code == 403
    answer = deployment.http.get("/v1/records?persn=x", headers=deployment.as_person("audrey"))
    assert answer.status_code == 400
    assert stored(deployment) == []


def test_nothing_is_answered_that_could_not_be_recorded(deployment: Deployment) -> None:
    deployment.get("/v1/instances")
    other = sqlite3.connect(f"{deployment.directory}/data/records.db", isolation_level=None)
    # A trigger is a disk that fails on one table: the transaction of the act is rolled back.
    other.execute(
        "CREATE TRIGGER full BEFORE INSERT ON record BEGIN SELECT raise(ABORT, 'full'); END"
    )
    answer = deployment.http.get("/v1/records", headers=deployment.as_person("audrey"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "storage_failed")
    other.execute("DROP TRIGGER full")
    other.close()
    deployment.get("/v1/instances")
    found = stored(deployment)
    assert [one.kind for one in found] == ["start", "admin", "admin"]
    assert [one.chain.seq for one in found] == [0, 1, 2], "what was rolled back left no hole"


def test_a_chain_of_the_store_is_whole_and_certified(deployment: Deployment) -> None:
    for _ in range(3):
        deployment.get("/v1/instances")
    headers = deployment.as_person("audrey")
    lines = deployment.http.get("/v1/exports?complete=1", headers=headers).content
    report = verify_export(lines.splitlines(keepends=True), root_document().digest)
    assert report.exit_code == 0, report
    assert report.records == 6, "start, three looks, the export itself, seal"


def test_a_chain_after_an_export_continues_the_one_before(deployment: Deployment) -> None:
    headers = deployment.as_person("audrey")
    deployment.http.get("/v1/exports", headers=headers)
    deployment.get("/v1/instances")
    found = stored(deployment)
    assert [one.kind for one in found] == ["start", "admin", "seal", "start", "admin"]
    first, last, second = found[0], found[2], found[3]
    assert isinstance(first, record.Start)
    assert isinstance(second, record.Start)
    assert (first.continues, first.continues_reason) == (None, "first_start")
    assert second.continues is not None
    assert (second.continues.instance, second.continues.seq) == (last.chain.instance, 2)
    states = {one["instance"]: one["state"] for one in deployment.get("/v1/instances")}
    assert states == {first.chain.instance: "sealed", second.chain.instance: "open"}


def test_an_orderly_stop_seals_the_stores_chains(tmp_path: Path) -> None:
    first = Deployment(tmp_path, ["issuer", "records"])
    with first.http:
        first.get("/v1/instances")
    assert kinds(first) == ["start", "admin", "seal"]


def test_the_next_process_tells_what_a_crash_left(tmp_path: Path) -> None:
    first = Deployment(tmp_path, ["issuer", "records"])
    with first.http:
        first.get("/v1/instances")
        copy = tmp_path / "crashed" / "data"
        copy.mkdir(parents=True)
        with (
            sqlite3.connect(tmp_path / "data" / "records.db") as live,
            sqlite3.connect(copy / "records.db") as dead,
        ):
            live.backup(dead)
    second = Deployment(tmp_path / "crashed", ["issuer", "records"], draw="second")
    with second.http:
        instances = second.get("/v1/instances")
        found = stored(second)
    assert [one.kind for one in found][:5] == ["start", "admin", "start", "recovered", "admin"]
    told = found[3]
    assert isinstance(told, record.Recovered)
    assert (told.instance, told.last_seq) == (found[0].chain.instance, 1)
    states = {one["instance"]: one["state"] for one in instances}
    assert states == {found[0].chain.instance: "recovered", told.chain.instance: "open"}


def test_a_chain_whose_certificate_grows_old_gives_way_to_another(deployment: Deployment) -> None:
    deployment.get("/v1/instances")
    deployment.clock.now_us += DAY_US * 2 // 3 - 1
    deployment.get("/v1/instances")
    assert kinds(deployment) == ["start", "admin", "admin"]
    deployment.clock.now_us += 1
    deployment.get("/v1/instances")
    assert kinds(deployment)[3:] == ["seal", "start", "admin"]


def test_without_an_issuer_acts_are_recorded_and_uncertified(tmp_path: Path) -> None:
    alone = Deployment(tmp_path, ["records"])
    with alone.http:
        (ours,) = alone.get("/v1/instances")
    assert (ours["state"], ours["service"]) == ("uncertified", "record_store")
    assert kinds(alone) == ["start", "admin", "seal"]


@contextmanager
def served_issuer(directory: Path) -> Iterator[str]:
    """The URL of an issuer in a server of its own."""
    issuer = Deployment(directory, ["issuer"], draw="issuer")
    listener = central_app.listen("127.0.0.1", 0)
    ready = threading.Event()
    config = central_app.uvicorn_config(issuer.app)
    server = central_app.Server(config, "", lambda _: ready.set())
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    assert ready.wait(10)
    yield central_app.base_url(listener)
    server.should_exit = True
    thread.join(10)
    listener.close()


def test_an_issuer_elsewhere_certifies_the_stores_chain_and_stops_no_look(tmp_path: Path) -> None:
    with central_app.listen("127.0.0.1", 0) as taken:
        nobody = central_app.base_url(taken)
    early = Deployment(tmp_path / "early", ["records"], issuer_url=nobody)
    with early.http:
        (ours,) = early.get("/v1/instances")
        assert ours["state"] == "uncertified", "an issuer that is away stops no look"
    with served_issuer(tmp_path / "issuer") as url:
        apart = Deployment(tmp_path / "apart", ["records"], issuer_url=url)
        with apart.http:
            (ours,) = apart.get("/v1/instances")
            assert ours["state"] == "open"


def test_a_late_certificate_is_told_in_the_chain(tmp_path: Path) -> None:
    store = Deployment(tmp_path, ["issuer", "records"])
    with store.http:
        issuer = sqlite3.connect(tmp_path / "data" / "issuer.db", isolation_level=None)
        issuer.execute(
            "CREATE TRIGGER full BEFORE INSERT ON nonce BEGIN SELECT raise(ABORT, 'full'); END"
        )
        store.get("/v1/instances")
        issuer.execute("DROP TRIGGER full")
        issuer.close()
        store.get("/v1/instances")
        assert kinds(store) == ["start", "admin", "admin"], "it is not asked at every act"
        store.clock.now_us += 30_000_000
        (ours,) = store.get("/v1/instances")
        assert ours["state"] == "open"
        assert kinds(store) == ["start", "admin", "admin", "heartbeat", "admin"]
        headers = store.as_person("audrey")
        lines = store.http.get("/v1/exports?complete=1", headers=headers).content
        report = verify_export(lines.splitlines(keepends=True), root_document().digest)
        assert report.exit_code == 0, report


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Deployment]:
    made = Deployment(tmp_path)
    with made.http:
        yield made


def test_every_change_of_policy_is_recorded_with_what_was_sent(whole: Deployment) -> None:
    olaf = {**whole.as_person("olaf"), "Gatepost-Why": "change 4"}
    scope = "/v1/policy/acme%2Fprod"
    issued = bundle(1)
    whole.http.post(f"{scope}/bundles", content=issued.envelope, headers=olaf)
    whole.http.put(f"{scope}/lock", json={"reason": "attack", "ticket": "T-1"}, headers=olaf)
    whole.http.delete(f"{scope}/lock", headers=olaf)
    whole.http.get(f"{scope}/log", headers=olaf)
    found = admins(whole)
    assert [one.what for one in found] == [
        "policy.publish",
        "policy.lock",
        "policy.unlock",
        "policy.log",
    ]
    assert {(one.who, one.why) for one in found} == {("olaf", "change 4")}
    assert found[0].parameters["scope"] == "acme/prod"
    assert found[0].parameters["body"].startswith("sha256:")


def test_an_operators_look_at_a_tenant_is_in_the_tenants_log(deployment: Deployment) -> None:
    deployment.get("/v1/records", "root", tenant="globex", region="us-east-1")
    assert [one.who for one in admins(deployment, "globex")] == ["root"]


def test_the_operators_own_log_is_for_operators_only(deployment: Deployment) -> None:
    deployment.get("/v1/records", "root", tenant="_operator")
    (found,) = admins(deployment, "_operator")
    assert (found.tenant, found.region) == ("_operator", "central")
    answer = deployment.http.get(
        "/v1/records", params={"tenant": "_operator"}, headers=deployment.as_person("audrey")
    )
    assert answer.status_code == 404
    headers = deployment.as_person("root")
    lines = deployment.http.get("/v1/exports?complete=1&tenant=_operator", headers=headers)
    report = verify_export(lines.content.splitlines(keepends=True), root_document().digest)
    assert report.exit_code == 0, report


def test_the_stores_key_attests_no_daemon(deployment: Deployment) -> None:
    daemon = Daemon(deployment)
    request = daemon.enrolment(daemon.nonce())
    token = attestation.host_token(request, seal.Signer(SEEDS["log"]))
    forged = daemon.enrolment(
        request.nonce, attestation=documents.EnrolAttestation("host_key", token, 0)
    )
    body = documents.encode(daemon.signer.sign_document(documents.ENROL, forged))
    answer = deployment.http.post("/v1/enrol", content=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "attestation_invalid")


ACT = Act(tenant=TENANT, region=REGION, who="audrey", what="records.page")


def test_an_act_of_many_parameters_goes_on_in_a_further_record() -> None:
    count = limits.ADMIN_PARAMETERS_MAX + 5
    many = Act(**{**_members(ACT), "parameters": {f"p{n:03}": "x" for n in range(count)}})
    found = list(acts.drafts(many, lambda: "id"))
    assert [len(one.parameters) for one in found] == [limits.ADMIN_PARAMETERS_MAX, 5]
    assert len(list(acts.drafts(ACT, lambda: "id"))) == 1


@pytest.mark.parametrize(
    "members",
    [
        {"why": "x" * (limits.ADMIN_TEXT_BYTES_MAX + 1)},
        {"parameters": {"person": "\x01" * limits.ADMIN_PARAMETER_BYTES_MAX}},
        {"parameters": {"x" * (limits.NAME_BYTES_MAX + 1): ""}},
    ],
)
def test_what_no_record_has_room_for_is_refused_not_cut(members: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="malformed_request"):
        acts.check(Act(**{**_members(ACT), **members}))
    acts.check(ACT)


def _members(act: Act) -> dict[str, Any]:
    return {name: getattr(act, name) for name in act.__struct_fields__}
