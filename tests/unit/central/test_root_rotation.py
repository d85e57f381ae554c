"""Services that start again under the next root, with other keys."""

from __future__ import annotations

import base64
import logging
from pathlib import Path

import msgspec
import pytest
from litestar.testing import TestClient

from central import app as central_app
from gateway import checkpoint, documents, issuing, quorum, root_draft, roots, seal
from gateway.documents import PolicyHead, Root
from gateway.roots import RoleName
from tests.unit.central.deployment import (
    BUNDLE_KEY,
    NOW_US,
    REGION,
    ROOT_KEY,
    SCOPE,
    SEEDS,
    TENANT,
    CountedEntropy,
    Daemon,
    Deployment,
    bundle,
    root_document,
    write_key,
)

FIRST = documents.decode_exact(
    quorum.payload_of(seal.parse_envelope(root_document().envelope)), Root
)
NEW_SEEDS: dict[RoleName, bytes] = {"issuer": b"I" * 32, "log": b"L" * 32, "policy_head": b"P" * 32}
NEW_BUNDLE_KEY = seal.Signer(b"B" * 32)
HEAD = f"/v1/policy/{SCOPE.replace('/', '%2F')}/head"
BUNDLES = f"/v1/policy/{SCOPE.replace('/', '%2F')}/bundles"
CHECKPOINT = f"/log/{TENANT}/{REGION}/1/checkpoint"


def second_root() -> Root:
    """Every key of a service, and the bundle key, is another one."""
    replaced = {
        seal.Signer(SEEDS[str(role)]).kid: seal.Signer(seed) for role, seed in NEW_SEEDS.items()
    }
    replaced[BUNDLE_KEY.kid] = NEW_BUNDLE_KEY
    changes = root_draft.Changes(
        replaced={kid: base64.b64encode(new.public).decode() for kid, new in replaced.items()}
    )
    return root_draft.following(FIRST, changes, 365, NOW_US)


def under_second_root(deployment: Deployment) -> None:
    """The same databases, after the operator put root 2 and the new keys in their places."""
    directory = deployment.directory
    issued = issuing.sign(documents.ROOT, documents.encode(second_root()), [ROOT_KEY])
    (directory / "roots" / "2.json").write_bytes(issued.envelope)
    for role, seed in NEW_SEEDS.items():
        write_key(directory / f"{role}.key", seed)
    deployment.app = central_app.build(
        deployment.config, clock=deployment.clock, entropy=CountedEntropy("again")
    )
    deployment.http = TestClient(deployment.app)


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    return Deployment(tmp_path)


def published(deployment: Deployment, version: int, *signers: seal.Signer) -> bool:
    answer = deployment.http.post(
        BUNDLES, content=bundle(version, *signers).envelope, headers=deployment.as_person("olaf")
    )
    assert answer.status_code == 201, answer.text
    return bool(answer.json()["new"])


def test_the_newest_checkpoint_is_signed_by_the_log_keys_of_both_roots(
    deployment: Deployment,
) -> None:
    """A daemon that only sends what the store had gets no other checkpoint than that one."""
    with deployment.http:
        daemon = Daemon(deployment).ready()
        start = daemon.start()
        daemon.ship(start)
    under_second_root(deployment)
    with deployment.http:
        answer = daemon.ship(start)
        text = deployment.http.get(CHECKPOINT, headers=deployment.as_person("audrey")).text
    assert answer.checkpoint == text
    for root in (FIRST, second_root()):
        held = roots.role_keys(root, "log")
        assert checkpoint.open_note(text, None, held).checkpoint.size == 2
    under_second_root(deployment)
    with deployment.http:
        again = deployment.http.get(CHECKPOINT, headers=deployment.as_person("audrey")).text
    assert again == text, "signed once"


def test_a_head_is_signed_by_the_key_of_the_newest_root_from_the_start_on(
    deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    with deployment.http:
        published(deployment, 1, BUNDLE_KEY, NEW_BUNDLE_KEY)
        before = deployment.http.get(HEAD).content
    under_second_root(deployment)
    with deployment.http, caplog.at_level(logging.ERROR):
        after = deployment.http.get(HEAD).content
    assert not [one for one in caplog.records if one.msg == "bundle_not_signed_under_root"]
    heads = []
    for root, data in ((FIRST, before), (second_root(), after)):
        held = roots.role_keys(root, "policy_head")
        payload = seal.open_envelope(data, documents.POLICY_HEAD, held.keys, held.threshold)
        heads.append(documents.decode_exact(payload, PolicyHead))
    assert [head.root_version for head in heads] == [1, 2]
    assert heads[0].version < heads[1].version
    assert heads[0].bundle == heads[1].bundle


def test_a_bundle_that_the_next_root_did_not_sign_is_named_until_it_is_signed_again(
    deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    with deployment.http:
        assert published(deployment, 1)
    under_second_root(deployment)
    with deployment.http, caplog.at_level(logging.ERROR):
        told = [one for one in caplog.records if one.msg == "bundle_not_signed_under_root"]
        assert [one.__dict__["scope"] for one in told] == [SCOPE]
        assert not published(deployment, 1, NEW_BUNDLE_KEY), "the same version of the same bytes"
        digest = bundle(1).digest.removeprefix("sha256:")
        kept = deployment.http.get(f"/v1/policy/blobs/sha256/{digest}").content
        seal.open_envelope(kept, documents.BUNDLE, {NEW_BUNDLE_KEY.kid: NEW_BUNDLE_KEY.public})
        assert not published(deployment, 1, BUNDLE_KEY, NEW_BUNDLE_KEY)
        assert kept == deployment.http.get(f"/v1/policy/blobs/sha256/{digest}").content


def test_a_service_with_a_key_of_the_root_before_does_not_start(deployment: Deployment) -> None:
    under_second_root(deployment)
    write_key(deployment.directory / "log.key", SEEDS["log"])
    with pytest.raises(Exception, match="does not give"):
        central_app.build(
            msgspec.structs.replace(
                deployment.config,
                services=["records"],
                keys=msgspec.structs.replace(deployment.config.keys, issuer=None, digest_wrap=None),
            ),
            clock=deployment.clock,
            entropy=CountedEntropy("again"),
        )
