"""Publishing and serving policy over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from gateway import documents, issuing, seal
from gateway.documents import PolicyHead
from gateway.issuing import Issued
from gateway.timestamp import time_micros
from tests.unit.central.deployment import (
    BUNDLE_KEY,
    HOUR_US,
    NOW_US,
    ROOT_KEY,
    SEEDS,
    Deployment,
    bundle,
    root_document,
)

HEAD = "/v1/policy/acme%2Fprod/head"
BUNDLES = "/v1/policy/acme%2Fprod/bundles"
LOCK = "/v1/policy/acme%2Fprod/lock"
HEAD_KEYS = {(key := seal.Signer(SEEDS["policy_head"])).kid: key.public}


@pytest.fixture
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    made = Deployment(tmp_path_factory.mktemp("central"), ["policy"])
    with made.http:
        yield made


def publish(deployment: Deployment, issued: Issued, name: str = "olaf") -> tuple[int, str]:
    answer = deployment.http.post(
        BUNDLES, content=issued.envelope, headers=deployment.as_person(name)
    )
    return answer.status_code, answer.json().get("error", {}).get("code", "")


def head(deployment: Deployment) -> PolicyHead:
    answer = deployment.http.get(HEAD)
    assert answer.status_code == 200, answer.text
    payload = seal.open_envelope(answer.content, documents.POLICY_HEAD, HEAD_KEYS)
    return documents.decode_exact(payload, PolicyHead)


def test_a_published_bundle_is_pinned_and_served_by_digest(deployment: Deployment) -> None:
    issued = bundle(1)
    assert publish(deployment, issued) == (201, "")
    pinned = head(deployment).bundle
    assert (pinned.version, pinned.digest) == (1, issued.digest)
    assert pinned.length == len(issued.payload)
    hexadecimal = issued.digest.removeprefix("sha256:")
    blob = deployment.http.get(f"/v1/policy/blobs/sha256/{hexadecimal}")
    assert blob.content == issued.envelope


def test_before_anything_is_published_there_is_no_head(deployment: Deployment) -> None:
    answer = deployment.http.get(HEAD)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_heads_are_signed_again_before_they_age(deployment: Deployment) -> None:
    publish(deployment, bundle(1))
    first = head(deployment)
    assert head(deployment) == first
    deployment.clock.now_us += 61_000_000
    second = head(deployment)
    assert second.version == first.version + 1
    assert second.bundle == first.bundle
    assert time_micros(second.issued) == deployment.clock.now_us
    assert time_micros(second.expires) - time_micros(second.issued) == 4 * HOUR_US


def test_a_clock_that_was_set_back_does_not_freeze_the_head(deployment: Deployment) -> None:
    publish(deployment, bundle(1))
    first = head(deployment)
    deployment.clock.now_us -= 10_000_000
    assert head(deployment).version == first.version + 1


def test_an_unchanged_head_is_not_sent_again(deployment: Deployment) -> None:
    publish(deployment, bundle(1))
    etag = deployment.http.get(HEAD).headers["etag"]
    answer = deployment.http.get(HEAD, headers={"If-None-Match": etag})
    assert (answer.status_code, answer.content) == (304, b"")
    deployment.clock.now_us += 61_000_000
    assert deployment.http.get(HEAD, headers={"If-None-Match": etag}).status_code == 200


def test_versions_never_fall_and_are_never_used_twice(deployment: Deployment) -> None:
    assert publish(deployment, bundle(5)) == (201, "")
    assert publish(deployment, bundle(5)) == (201, ""), "the very same again"
    other = bundle(5, expires_us=NOW_US + 99 * HOUR_US)
    assert publish(deployment, other) == (409, "version_exists")
    assert publish(deployment, bundle(4)) == (409, "version_not_newer")
    assert publish(deployment, bundle(6)) == (201, "")
    assert publish(deployment, bundle(1, epoch=2)) == (201, ""), "a new epoch starts over"
    assert head(deployment).epoch == 2


@pytest.mark.parametrize(
    "issued",
    [
        bundle(1, ROOT_KEY),
        bundle(1, scope="acme/test"),
        bundle(1, expires_us=NOW_US),
        bundle(1, not_before_us=NOW_US + HOUR_US),
    ],
    ids=["signer", "scope", "expired", "early"],
)
def test_a_bundle_that_no_daemon_would_accept_is_refused(
    deployment: Deployment, issued: Issued
) -> None:
    assert publish(deployment, issued) == (422, "document_invalid")


def test_a_policy_that_does_not_compile_is_refused(deployment: Deployment) -> None:
    payload = bundle(1).payload.replace(b'["chat"]', b'["no-such-operation"]')
    broken = issuing.sign(documents.BUNDLE, payload, [BUNDLE_KEY])
    assert publish(deployment, broken) == (422, "document_invalid")


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("audrey", (403, "role_insufficient")),
        ("greta", (403, "role_insufficient")),
        ("nobody", (401, "token_unknown")),
        ("root", (201, "")),
    ],
)
def test_only_an_operator_of_the_tenant_publishes(
    deployment: Deployment, name: str, wanted: tuple[int, str]
) -> None:
    assert publish(deployment, bundle(1), name) == wanted


def test_another_tenants_scope_is_not_there(deployment: Deployment) -> None:
    answer = deployment.http.post(
        "/v1/policy/globex/bundles",
        content=bundle(1).envelope,
        headers=deployment.as_person("olaf"),
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_a_lock_stands_in_the_next_head_until_it_is_lifted(deployment: Deployment) -> None:
    publish(deployment, bundle(1))
    olaf = deployment.as_person("olaf")
    answer = deployment.http.put(LOCK, json={"reason": "incident", "ticket": None}, headers=olaf)
    assert answer.status_code == 200
    locked = head(deployment)
    assert locked.lock == documents.Lock(reason="incident", ticket=None)
    publish(deployment, bundle(2))
    assert head(deployment).lock is not None, "publishing does not unlock"
    deployment.clock.now_us += 61_000_000
    assert head(deployment).lock is not None, "nor does signing again"
    assert deployment.http.delete(LOCK, headers=olaf).status_code == 200
    assert head(deployment).lock is None


def test_the_publish_log_says_who_did_what(deployment: Deployment) -> None:
    publish(deployment, bundle(1))
    olaf = deployment.as_person("olaf")
    deployment.http.put(LOCK, json={"reason": "incident", "ticket": "INC-1"}, headers=olaf)
    found = deployment.http.get("/v1/policy/acme%2Fprod/log", headers=olaf).json()
    assert [(line["what"], line["version"], line["who"]) for line in found] == [
        ("publish", 1, "olaf"),
        ("lock", 1, "olaf"),
    ]
    assert found[1]["reason"] == "incident"


def test_a_waiting_request_is_answered_at_the_publication(deployment: Deployment) -> None:
    publish(deployment, bundle(1))
    etag = deployment.http.get(HEAD).headers["etag"]
    answers = []

    def wait() -> None:
        asked = {"If-None-Match": etag, "Prefer": "wait=30"}
        answers.append(deployment.http.get(HEAD, headers=asked))

    waiter = threading.Thread(target=wait)
    waiter.start()
    version = 2
    # Publishing until the answer is there needs no guess of when the request arrived.
    while waiter.is_alive():
        publish(deployment, bundle(version))
        version += 1
        waiter.join(0.05)
    assert answers[0].status_code == 200
    assert answers[0].headers["preference-applied"] == "wait=30"


def test_roots_are_served_as_they_are(deployment: Deployment) -> None:
    assert deployment.http.get("/v1/policy/root/1").content == root_document().envelope
    assert deployment.http.get("/v1/policy/root/2").status_code == 404
    assert deployment.http.get("/v1/policy/root/0").status_code == 404


@pytest.mark.parametrize("digest", ["0" * 64, "..", "A" * 64, "0" * 63])
def test_an_unknown_blob_is_not_found(deployment: Deployment, digest: str) -> None:
    assert deployment.http.get(f"/v1/policy/blobs/sha256/{digest}").status_code == 404
