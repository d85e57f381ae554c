"""A bundle that may widen access waits for another person."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from central.config import PolicySettings
from gateway import documents, issuing, seal
from gateway.documents import PolicyHead
from gateway.issuing import Issued
from gateway.policy import Grant, Policy
from tests.unit.central.deployment import (
    BUNDLE_KEY,
    HOUR_US,
    NOW_US,
    SCOPE,
    SEEDS,
    Deployment,
)

SCOPE_PATH = "/v1/policy/acme%2Fprod"
HEAD_KEYS = {(key := seal.Signer(SEEDS["policy_head"])).kid: key.public}


@pytest.fixture
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Chat is in force: olaf published it, and olga approved it."""
    policy = PolicySettings(widening_needs_approval=True)
    made = Deployment(tmp_path_factory.mktemp("central"), ["policy"], policy=policy)
    with made.http:
        assert published(made, allowing(1, "chat")) == (201, True)
        assert judged(made, "olga", "approve") == (201, "")
        yield made


def allowing(version: int, *actions: str) -> Issued:
    return issuing.build_bundle(
        Policy(grants=[Grant(id=one, actions=[one]) for one in actions]),
        scope=SCOPE,
        epoch=1,
        version=version,
        issued_us=NOW_US,
        not_before_us=NOW_US - HOUR_US,
        expires_us=NOW_US + 100 * HOUR_US,
        source=None,
        signers=[BUNDLE_KEY],
    )


def published(deployment: Deployment, issued: Issued, name: str = "olaf") -> tuple[int, bool]:
    """The status, and whether it waits."""
    answer = deployment.http.post(
        f"{SCOPE_PATH}/bundles", content=issued.envelope, headers=deployment.as_person(name)
    )
    return answer.status_code, answer.json().get("pending")


def pending(deployment: Deployment) -> Any:  # any JSON
    return deployment.get(f"{SCOPE_PATH}/pending", "olga")


def judged(
    deployment: Deployment, name: str, verdict: str, **changes: str | None
) -> tuple[int, str]:
    """``name``'s word on the first that waits."""
    (first, *_) = pending(deployment)
    said = {"digest": first["digest"], "base": first["base"], "verdict": verdict, **changes}
    answer = deployment.http.post(
        f"{SCOPE_PATH}/approvals", json=said, headers=deployment.as_person(name)
    )
    return answer.status_code, answer.json().get("error", {}).get("code", "")


def in_force(deployment: Deployment) -> int:
    answer = deployment.http.get(f"{SCOPE_PATH}/head")
    payload = seal.open_envelope(answer.content, documents.POLICY_HEAD, HEAD_KEYS)
    return documents.decode_exact(payload, PolicyHead).bundle.version


def log(deployment: Deployment) -> list[tuple[str, int, str, str | None]]:
    lines = deployment.get(f"{SCOPE_PATH}/log", "olga")
    return [(line["what"], line["version"], line["who"], line["reason"]) for line in lines]


def test_what_widens_waits_and_another_person_lets_it_pass(deployment: Deployment) -> None:
    assert published(deployment, allowing(2, "chat", "message")) == (201, True)
    assert in_force(deployment) == 1
    (shown,) = pending(deployment)
    assert (shown["who"], shown["version"], shown["base_version"]) == ("olaf", 2, 1)
    assert [(one["what"], one["verdict"]) for one in shown["changes"]] == [
        ("grant 'message'", "widening")
    ]
    assert judged(deployment, "olga", "approve") == (201, "")
    assert in_force(deployment) == 2
    assert pending(deployment) == []
    assert log(deployment)[-2:] == [
        ("propose", 2, "olaf", None),
        ("approve", 2, "olga", "of olaf"),
    ]


def test_the_author_does_not_approve(deployment: Deployment) -> None:
    published(deployment, allowing(2, "chat", "message"))
    assert judged(deployment, "olaf", "approve") == (403, "same_person")
    assert published(deployment, allowing(2, "chat", "message"), "olga") == (201, True)
    assert judged(deployment, "olaf", "approve") == (403, "same_person"), (
        "bringing it again does not make another its author"
    )
    assert in_force(deployment) == 1
    assert len(pending(deployment)) == 1


def test_what_narrows_needs_nobody_else(deployment: Deployment) -> None:
    published(deployment, allowing(2, "chat", "message"))
    judged(deployment, "olga", "approve")
    assert published(deployment, allowing(3, "message")) == (201, False)
    assert in_force(deployment) == 3


def test_the_first_of_a_scope_widens_from_nothing(deployment: Deployment) -> None:
    assert log(deployment) == [("propose", 1, "olaf", None), ("approve", 1, "olga", "of olaf")]


def test_nothing_that_waits_is_served(deployment: Deployment) -> None:
    waits = allowing(2, "chat", "message")
    published(deployment, waits)
    path = f"/v1/policy/blobs/sha256/{waits.digest.removeprefix('sha256:')}"
    assert deployment.http.get(path).status_code == 404
    judged(deployment, "olga", "approve")
    assert deployment.http.get(path).content == waits.envelope


def test_who_compared_with_another_bundle_looks_again(deployment: Deployment) -> None:
    published(deployment, allowing(3, "chat", "message"))
    (shown,) = pending(deployment)
    assert published(deployment, allowing(2)) == (201, False)
    stale = judged(deployment, "olga", "approve", base=shown["base"])
    assert stale == (409, "base_changed")
    assert len(pending(deployment)[0]["changes"]) == 2, "chat would come back, too"
    assert judged(deployment, "olga", "approve") == (201, "")
    assert in_force(deployment) == 3


def test_what_was_overtaken_is_not_put_in_force(deployment: Deployment) -> None:
    published(deployment, allowing(2, "chat", "message"))
    assert published(deployment, allowing(3)) == (201, False)
    assert judged(deployment, "olga", "approve") == (409, "version_not_newer")
    assert judged(deployment, "olaf", "reject") == (201, "")
    assert pending(deployment) == []
    assert in_force(deployment) == 3
    assert log(deployment)[-1] == ("reject", 2, "olaf", "of olaf")


def test_what_expired_while_it_waited_is_not_put_in_force(deployment: Deployment) -> None:
    published(deployment, allowing(2, "chat", "message"))
    deployment.clock.now_us += 100 * HOUR_US
    assert judged(deployment, "olga", "approve") == (422, "document_invalid")


def test_a_lock_and_its_end_wait_for_nobody(deployment: Deployment) -> None:
    """Whoever fears that a lock could not be lifted would not set it, and its end brings back only
    what was approved."""
    olaf = deployment.as_person("olaf")
    lock = f"{SCOPE_PATH}/lock"
    put = deployment.http.put(lock, json={"reason": "drill", "ticket": None}, headers=olaf)
    assert put.status_code == 200
    assert deployment.http.delete(lock, headers=olaf).status_code == 200


def test_what_does_not_wait_cannot_be_judged(deployment: Deployment) -> None:
    said = {"digest": allowing(1, "chat").digest, "base": None, "verdict": "approve"}
    for name, wanted in (("olga", 404), ("audrey", 403)):
        answer = deployment.http.post(
            f"{SCOPE_PATH}/approvals", json=said, headers=deployment.as_person(name)
        )
        assert answer.status_code == wanted
