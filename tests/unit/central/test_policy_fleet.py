"""Reports of daemons, and what the policy service makes of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from gateway import limits
from gateway.policy_report import PolicyReport, RefusedPolicy, ReportBody, reports_path
from gateway.timestamp import time_text
from tests.unit.central.deployment import HOST_KEY, NOW_US, SCOPE, Daemon, Deployment, bundle

SCOPE_PATH = "/v1/policy/acme%2Fprod"
SECOND_US = 1_000_000


@pytest.fixture
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    made = Deployment(tmp_path_factory.mktemp("central"), ["issuer", "policy"])
    with made.http:
        publish(made, 1)
        yield made


def publish(deployment: Deployment, version: int) -> None:
    answer = deployment.http.post(
        f"{SCOPE_PATH}/bundles",
        content=bundle(version).envelope,
        headers=deployment.as_person("olaf"),
    )
    assert answer.status_code == 201, answer.text


def enrolled(deployment: Deployment, number: int = 1) -> Daemon:
    """Daemons of one host, told apart by their worker number."""
    daemon = Daemon(deployment, number)
    daemon.worker = number
    daemon.enrol()
    return daemon


def report(version: int | None, **changes: object) -> PolicyReport:
    made = PolicyReport(
        channel="stable",
        state="empty" if version is None else "fresh",
        head_version=version,
        version=version,
        digest=None if version is None else bundle(version).digest,
        received=time_text(NOW_US),
        verified=time_text(NOW_US),
        activated=time_text(NOW_US),
        refused=None,
        leaving=False,
    )
    return msgspec.structs.replace(made, **changes)


def refusing(version: int, code: str = "selftest") -> RefusedPolicy:
    return RefusedPolicy(
        code=code,
        time=time_text(NOW_US),
        head_version=version,
        version=version,
        digest=bundle(version).digest,
    )


def post(
    daemon: Daemon, said: PolicyReport, scope: str = SCOPE, signer: Daemon | None = None, **how: Any
) -> tuple[int, str]:
    """``signer``: who signs the request, if not who holds the certificate."""
    assert daemon.certificate is not None
    body = msgspec.json.encode(ReportBody(said, daemon.certificate))
    path = reports_path(scope)
    headers = (signer or daemon).signed("POST", path, body, **how)
    answer = daemon.deployment.http.post(path, content=body, headers=headers)
    code = answer.json()["error"]["code"] if answer.content else ""
    return answer.status_code, code


def fleet(deployment: Deployment, **query: str | int) -> Any:  # any JSON
    return deployment.get(f"{SCOPE_PATH}/fleet", "olaf", **query)


def convergence(deployment: Deployment, **query: str | int) -> Any:  # any JSON
    return deployment.get(f"{SCOPE_PATH}/convergence", "olaf", **query)


def test_a_report_shows_in_the_fleet(deployment: Deployment) -> None:
    daemon = enrolled(deployment)
    assert post(daemon, report(1)) == (204, "")
    found = fleet(deployment)
    assert (found["current"], found["behind"], found["silent"]) == (1, 0, 0)
    assert found["versions"] == {"1": 1}
    (one,) = found["instances"]
    assert (one["instance"], one["standing"], one["version"]) == (daemon.instance, "current", 1)
    assert one["subject"] == HOST_KEY.kid


def test_only_a_certified_daemon_of_the_scopes_tenant_reports(deployment: Deployment) -> None:
    daemon, other = enrolled(deployment, 1), enrolled(deployment, 2)
    assert post(daemon, report(1), signer=other) == (401, "request_signature")
    assert post(daemon, report(1), scope="globex") == (403, "not_entitled")
    assert post(daemon, report(1), audience="elsewhere") == (401, "request_signature")
    old_us = -(limits.POLICY_REPORT_SKEW_SECONDS_MAX + 1) * SECOND_US
    assert post(daemon, report(1), skew_us=old_us) == (401, "request_signature")
    stranger = Daemon(deployment, 3)
    forged = daemon.certificate
    assert forged is not None
    stranger.certificate = msgspec.structs.replace(forged, signatures=[])
    assert post(stranger, report(1)) == (422, "document_invalid")
    unsigned = deployment.http.post(reports_path(SCOPE), content=b"{}")
    assert unsigned.json()["error"]["code"] == "request_unsigned"
    assert fleet(deployment)["instances"] == []


def test_a_certificate_that_ended_reports_no_longer(deployment: Deployment) -> None:
    daemon = enrolled(deployment)
    deployment.clock.now_us += 25 * 3600 * SECOND_US
    assert post(daemon, report(1)) == (403, "certificate_expired")


def test_a_report_of_before_the_last_changes_nothing(deployment: Deployment) -> None:
    daemon = enrolled(deployment)
    publish(deployment, 2)
    post(daemon, report(2))
    assert post(daemon, report(1), skew_us=-SECOND_US) == (204, "")
    assert fleet(deployment)["versions"] == {"2": 1}


def test_laggards_and_silent_instances_are_listed(deployment: Deployment) -> None:
    first, second, third = (enrolled(deployment, number) for number in (1, 2, 3))
    post(third, report(1))
    deployment.clock.now_us += 900 * SECOND_US
    publish(deployment, 2)
    post(first, report(2))
    post(second, report(1))
    found = fleet(deployment)
    assert (found["current"], found["behind"], found["silent"]) == (1, 1, 1)
    assert found["versions"] == {"2": 1, "1": 1}
    behind = fleet(deployment, only="behind")["instances"]
    assert [one["instance"] for one in behind] == [second.instance]
    silent = fleet(deployment, only="silent")["instances"]
    assert [one["instance"] for one in silent] == [third.instance]
    few = fleet(deployment, limit=1)
    assert (len(few["instances"]), few["left_out"]) == (1, 2)
    deployment.clock.now_us += 24 * 3600 * SECOND_US


def test_what_nobody_heard_of_for_a_day_is_forgotten(deployment: Deployment) -> None:
    post(enrolled(deployment, 1), report(1))
    deployment.clock.now_us += 24 * 3600 * SECOND_US + 1
    assert fleet(deployment)["silent"] == 1
    post(enrolled(deployment, 2), report(1))
    assert fleet(deployment)["silent"] == 0


def test_a_new_start_takes_the_place_of_the_one_before(deployment: Deployment) -> None:
    before, after = Daemon(deployment, 1), Daemon(deployment, 2)
    before.enrol()
    post(before, report(1))
    after.enrol()
    post(after, report(1))
    assert [one["instance"] for one in fleet(deployment)["instances"]] == [after.instance]


def test_who_leaves_is_waited_for_no_longer(deployment: Deployment) -> None:
    stays, leaves = enrolled(deployment, 1), enrolled(deployment, 2)
    post(stays, report(1))
    post(leaves, report(1))
    publish(deployment, 2)
    deployment.clock.now_us += SECOND_US
    post(stays, report(2))
    assert convergence(deployment)["reached"] is False
    post(leaves, report(1, leaving=True))
    assert convergence(deployment)["reached"] is True


def test_the_reach_is_measured_from_publication_by_our_own_clock(deployment: Deployment) -> None:
    daemons = [enrolled(deployment, number) for number in range(1, 5)]
    for daemon in daemons:
        post(daemon, report(1))
    publish(deployment, 2)
    for daemon in daemons:
        deployment.clock.now_us += SECOND_US
        post(daemon, report(2, activated=time_text(NOW_US)))
    # A sign of life does not make it later, and a newcomer was not there to be reached.
    deployment.clock.now_us += 300 * SECOND_US
    post(daemons[0], report(2))
    post(enrolled(deployment, 9), report(2))
    reach = fleet(deployment)["reach"]
    assert reach == {"instances": 4, "p50_ms": 2_000, "p95_ms": 4_000, "max_ms": 4_000}


def test_a_refusal_is_seen_with_its_code(deployment: Deployment) -> None:
    daemon = enrolled(deployment)
    publish(deployment, 2)
    post(daemon, report(1, refused=refusing(2)))
    found = fleet(deployment)
    assert (found["behind"], found["refusing"]) == (1, 1)
    assert found["instances"][0]["refused_code"] == "selftest"
    assert convergence(deployment)["refusing"] == 1


def test_convergence_waits_until_enough_have_it(deployment: Deployment) -> None:
    daemons = [enrolled(deployment, number) for number in (1, 2)]
    for daemon in daemons:
        post(daemon, report(1))
    publish(deployment, 2)
    deployment.clock.now_us += SECOND_US
    found: list[Any] = []
    waiter = threading.Thread(target=lambda: found.append(convergence(deployment, wait=50)))
    waiter.start()
    post(daemons[0], report(2))
    half = convergence(deployment, percent=50)
    assert (half["have"], half["of"], half["reached"]) == (1, 2, True)
    assert found == []
    post(daemons[1], report(2))
    waiter.join(30)
    assert (found[0]["have"], found[0]["of"], found[0]["reached"]) == (2, 2, True)


def test_an_earlier_version_is_had_by_those_that_went_on(deployment: Deployment) -> None:
    daemon = enrolled(deployment)
    publish(deployment, 2)
    post(daemon, report(2))
    assert convergence(deployment, version=1)["reached"] is True
    answer = deployment.http.get(
        f"{SCOPE_PATH}/convergence?version=7", headers=deployment.as_person("olaf")
    )
    assert answer.status_code == 404


def test_nobody_reporting_is_never_convergence(deployment: Deployment) -> None:
    found = convergence(deployment, percent=0)
    assert (found["of"], found["reached"]) == (0, False)


@pytest.mark.parametrize(
    "query", ["only=late", "limit=1001", "limit=x", "all=1", "limit=1&limit=2"]
)
def test_an_unknown_filter_is_refused(deployment: Deployment, query: str) -> None:
    answer = deployment.http.get(
        f"{SCOPE_PATH}/fleet?{query}", headers=deployment.as_person("olaf")
    )
    assert answer.json()["error"]["code"] == "bad_filter"


def test_only_operators_of_the_tenant_see_its_fleet(deployment: Deployment) -> None:
    for path in ("fleet", "convergence"):
        for name, status in (("audrey", 403), ("nobody", 401)):
            answer = deployment.http.get(f"{SCOPE_PATH}/{path}", headers=deployment.as_person(name))
            assert answer.status_code == status
        other = deployment.http.get(
            f"/v1/policy/globex/{path}", headers=deployment.as_person("olaf")
        )
        assert other.status_code == 404
