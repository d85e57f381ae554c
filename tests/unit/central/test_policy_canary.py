"""A canary at the policy service: begun, changed, promoted, withdrawn, and ended by refusals."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from central.config import PolicySettings
from gateway import documents, issuing
from gateway.documents import BundlePin, Candidate, PolicyHead
from gateway.issuing import Issued
from gateway.policy import Grant, Policy
from tests.unit.central.deployment import BUNDLE_KEY, NOW_US, SCOPE, Deployment, bundle
from tests.unit.central.test_acts import admins
from tests.unit.central.test_policy_fleet import (
    SCOPE_PATH,
    SECOND_US,
    enrolled,
    fleet,
    post,
    publish,
    refusing,
    report,
)

REFUSALS_MAX = 2


@pytest.fixture
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    made = Deployment(tmp_path_factory.mktemp("central"))
    with made.http:
        publish(made, 1)
        yield made


def asked(
    deployment: Deployment, method: str, path: str, who: str = "olaf", **how: Any
) -> tuple[int, Any]:
    """The status, and the code of a refusal or the answer."""
    answer = deployment.http.request(
        method, f"{SCOPE_PATH}/{path}", headers=deployment.as_person(who), **how
    )
    body = answer.json()
    return answer.status_code, body["error"]["code"] if "error" in body else body


def begin(deployment: Deployment, version: int, percent: int, **how: Any) -> tuple[int, Any]:
    content = bundle(version, **how).envelope
    return asked(deployment, "POST", f"bundles?canary={percent}", content=content)


def head(deployment: Deployment) -> PolicyHead:
    envelope = deployment.http.get(f"{SCOPE_PATH}/head").json()
    return documents.decode_exact(base64.b64decode(envelope["payload"]), PolicyHead)


def pin(version: int) -> BundlePin:
    made = bundle(version)
    return BundlePin(version=version, digest=made.digest, length=len(made.payload))


def offered(version: int, percent: int) -> Candidate:
    made = pin(version)
    return Candidate(version=version, digest=made.digest, length=made.length, percent=percent)


def log(deployment: Deployment) -> list[tuple[str, int, str, str | None]]:
    return [
        (line["what"], line["version"], line["who"], line["reason"])
        for line in deployment.get(f"{SCOPE_PATH}/log", "olaf")
    ]


def test_a_canary_stands_beside_the_pinned_bundle_until_it_is_promoted(
    deployment: Deployment,
) -> None:
    status, answer = begin(deployment, 2, 10)
    assert (status, answer["percent"], answer["new"]) == (201, 10, True)
    assert (head(deployment).bundle, head(deployment).next) == (pin(1), offered(2, 10))
    digest = pin(2).digest.removeprefix("sha256:")
    assert deployment.http.get(f"/v1/policy/blobs/sha256/{digest}").is_success
    status, answer = asked(deployment, "PUT", "canary", json={"percent": 50})
    assert (status, answer["percent"]) == (200, 50)
    assert head(deployment).next == offered(2, 50)
    status, answer = asked(deployment, "POST", "canary/promotion")
    assert (status, answer["version"]) == (201, 2)
    assert (head(deployment).bundle, head(deployment).next) == (pin(2), None)
    assert log(deployment)[1:] == [
        ("canary", 2, "olaf", "10 %"),
        ("canary", 2, "olaf", "50 %"),
        ("promote", 2, "olaf", None),
    ]
    assert deployment.get(f"{SCOPE_PATH}/convergence", "olaf")["version"] == 2


def test_a_withdrawn_canary_leaves_the_pinned_bundle_and_may_be_published_later(
    deployment: Deployment,
) -> None:
    begin(deployment, 2, 10)
    assert asked(deployment, "DELETE", "canary")[0] == 200
    assert (head(deployment).bundle, head(deployment).next) == (pin(1), None)
    assert log(deployment)[-1] == ("withdraw", 2, "olaf", None)
    assert begin(deployment, 2, 20)[0] == 201
    assert asked(deployment, "DELETE", "canary")[0] == 200
    publish(deployment, 2)
    assert head(deployment).bundle == pin(2)


def test_no_version_that_daemons_would_refuse_is_offered(deployment: Deployment) -> None:
    begin(deployment, 5, 10)
    asked(deployment, "DELETE", "canary")
    assert begin(deployment, 4, 10) == (409, "version_not_newer"), "below an earlier candidate"
    assert begin(deployment, 1, 10)[1]["new"] is False, "it is in force"
    later = NOW_US + 3_600_000_000
    assert begin(deployment, 5, 10, expires_us=later) == (409, "version_exists")
    assert begin(deployment, 6, 10, epoch=2) == (422, "document_invalid")
    other = bundle(5, expires_us=later).envelope
    assert asked(deployment, "POST", "bundles", content=other) == (409, "version_exists")
    assert head(deployment).next is None
    publish(deployment, 3)
    assert head(deployment).bundle == pin(3), "between the two is good"


def test_nothing_else_is_published_while_a_canary_runs_and_a_lock_is(
    deployment: Deployment,
) -> None:
    begin(deployment, 2, 10)
    assert begin(deployment, 2, 10)[1]["new"] is False
    assert begin(deployment, 2, 20) == (409, "canary_running")
    content = bundle(3).envelope
    assert asked(deployment, "POST", "bundles", content=content) == (409, "canary_running")
    lock = {"reason": "incident", "ticket": None}
    headers = deployment.as_person("olaf")
    assert deployment.http.put(f"{SCOPE_PATH}/lock", json=lock, headers=headers).is_success
    assert head(deployment).lock is not None
    assert head(deployment).next == offered(2, 10)
    assert asked(deployment, "POST", "canary/promotion")[0] == 201
    assert head(deployment).lock is not None, "promoting lifts no lock"


@pytest.mark.parametrize(
    ("method", "path", "how"),
    [
        ("PUT", "canary", {"json": {"percent": 5}}),
        ("DELETE", "canary", {}),
        ("POST", "canary/promotion", {}),
    ],
)
def test_without_a_canary_there_is_nothing_to_change(
    deployment: Deployment, method: str, path: str, how: dict[str, Any]
) -> None:
    assert asked(deployment, method, path, **how) == (409, "no_canary")


def test_a_percentage_is_0_to_100(deployment: Deployment) -> None:
    assert begin(deployment, 2, 101) == (400, "bad_filter")
    begin(deployment, 2, 100)
    for percent in (-1, 101, 1.5):
        answer = asked(deployment, "PUT", "canary", json={"percent": percent})
        assert answer == (400, "malformed_request")


def test_a_bundle_that_ended_meanwhile_is_not_promoted(deployment: Deployment) -> None:
    begin(deployment, 2, 10, expires_us=NOW_US + 1_000_000)
    deployment.clock.now_us += 2_000_000
    assert asked(deployment, "POST", "canary/promotion") == (422, "document_invalid")
    assert head(deployment).bundle == pin(1)


def test_a_canary_that_may_widen_waits_and_its_promotion_does_not(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    settings = PolicySettings(widening_needs_approval=True)
    made = Deployment(tmp_path_factory.mktemp("approved"), ["policy"], policy=settings)
    with made.http:
        content = bundle(1).envelope
        assert asked(made, "POST", "bundles", content=content)[1]["pending"]
        approve(made, 1, None)
        wider = widening(2)
        status, answer = asked(made, "POST", "bundles?canary=10", content=wider.envelope)
        assert (status, answer["pending"]) == (201, True)
        assert head(made).next is None
        (waits,) = made.get(f"{SCOPE_PATH}/pending", "olga")
        assert waits["percent"] == 10
        verdict = {"digest": wider.digest, "base": pin(1).digest, "verdict": "approve"}
        assert asked(made, "POST", "approvals", "olga", json=verdict)[0] == 201
        offer = head(made).next
        assert offer is not None
        assert (offer.version, offer.percent) == (2, 10)
        assert log(made)[-1] == ("canary", 2, "olga", "10 %, of olaf")
        assert asked(made, "POST", "canary/promotion")[0] == 201
        assert head(made).bundle.digest == wider.digest


def approve(deployment: Deployment, version: int, base: str | None) -> None:
    verdict = {"digest": bundle(version).digest, "base": base, "verdict": "approve"}
    assert asked(deployment, "POST", "approvals", "olga", json=verdict)[0] == 201


def widening(version: int) -> Issued:
    """A bundle that allows everything."""
    return issuing.build_bundle(
        Policy(grants=[Grant(id="all", actions=["*"])]),
        scope=SCOPE,
        epoch=1,
        version=version,
        issued_us=NOW_US,
        not_before_us=NOW_US - 1,
        expires_us=NOW_US + 3_600_000_000,
        source=None,
        signers=[BUNDLE_KEY],
    )


def test_a_candidate_that_too_many_refuse_is_withdrawn_and_recorded(
    deployment: Deployment,
) -> None:
    begin(deployment, 2, 50)
    daemons = [enrolled(deployment, number) for number in range(REFUSALS_MAX + 1)]
    for daemon in daemons[:-1]:
        assert post(daemon, report(1, refused=refusing(2)))[0] == 204
    seen = fleet(deployment)["canary"]
    assert (seen["version"], seen["percent"], seen["have"], seen["refusing"]) == (2, 50, 0, 2)
    assert head(deployment).next is not None, "not more than it may be"
    assert post(daemons[-1], report(1, refused=refusing(2)))[0] == 204
    assert (head(deployment).bundle, head(deployment).next) == (pin(1), None)
    assert log(deployment)[-1] == ("withdraw", 2, "_policy", "3 of 3 daemons refused it")
    assert fleet(deployment)["canary"] is None
    (act,) = [one for one in admins(deployment) if one.what == "policy.canary_withdraw"]
    assert (act.who, act.why) == ("_policy", "3 of 3 daemons refused it")
    assert act.parameters == {"scope": SCOPE, "digest": pin(2).digest}


def test_a_few_of_many_withdraw_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    settings = PolicySettings(
        widening_needs_approval=False, canary_refusals_max=0, canary_refusals_percent_max=25
    )
    made = Deployment(tmp_path_factory.mktemp("many"), ["issuer", "policy"], policy=settings)
    with made.http:
        publish(made, 1)
        begin(made, 2, 50)
        daemons = [enrolled(made, number) for number in range(5)]
        for daemon in daemons[:3]:
            post(daemon, report(2, channel="canary"))
        assert {one["channel"] for one in fleet(made)["instances"]} == {"canary"}
        post(daemons[3], report(1, refused=refusing(2)))
        assert head(made).next is not None, "1 of 4 is not more than 25 %"
        made.clock.now_us += SECOND_US
        post(daemons[3], report(1, refused=refusing(3)))
        post(daemons[4], report(1, refused=refusing(3)))
        assert head(made).next is not None, "another bundle was refused"
        made.clock.now_us += SECOND_US
        post(daemons[4], report(1, refused=refusing(2)))
        post(daemons[3], report(1, refused=refusing(2)))
        assert head(made).next is None
