"""A key that was taken back: no word of it counts as a sender's, and no record is thrown away."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import msgspec
import pytest
from litestar.testing import TestClient

from central import app as central_app
from gateway import documents, issuing, quorum, seal
from gateway.documents import Envelope, RequestOf, Revocation
from gateway.evidence import Asked, Auditor, Report
from gateway.timestamp import time_text
from tests.unit.central.deployment import (
    HOST_KEY,
    ISSUER_KEY,
    NOW_US,
    REGION,
    REVOCATION_KEY,
    ROOT_KEY,
    TENANT,
    CountedEntropy,
    Daemon,
    Deployment,
    root_document,
    token_of,
)

MINUTE_US = 60_000_000


def revocation(
    kid: str, *signers: seal.Signer, from_us: int = NOW_US, serial: str | None = None
) -> Envelope:
    document = Revocation(
        kid=kid,
        serial=serial,
        reason="the node was taken over",
        untrusted_from=time_text(from_us),
        issued=time_text(NOW_US),
    )
    issued = issuing.sign(
        documents.REVOCATION, documents.encode(document), signers or [REVOCATION_KEY]
    )
    return seal.parse_envelope(issued.envelope)


def post(deployment: Deployment, envelope: Envelope, query: str = "") -> tuple[int, Any]:
    answer = deployment.http.post(f"/v1/revocations{query}", content=documents.encode(envelope))
    return answer.status_code, answer.json()


def refusal(deployment: Deployment, envelope: Envelope, query: str = "") -> tuple[int, str, str]:
    status, body = post(deployment, envelope, query)
    return status, body["error"]["code"], body["error"]["message"]


def code_of(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def verified(deployment: Deployment) -> Report:
    """The verdict on a complete export."""
    text = deployment.http.get(
        "/v1/exports?complete=1", headers={"Authorization": f"Bearer {token_of('audrey')}"}
    ).content
    auditor = Auditor(root_document().digest, Asked())
    for line in text.splitlines(keepends=True):
        auditor.add(line)
    return auditor.report()


def state(report: Report, name: str) -> str:
    return next(one.state for one in report.verdicts if one.name == name)


def test_a_revoked_key_sends_nothing_more(deployment: Deployment, daemon: Daemon) -> None:
    daemon.ship(daemon.start())
    status, answer = post(deployment, revocation(daemon.signer.kid))
    assert status == 201
    assert answer["certified_no_more"]
    assert [(one["tenant"], one["region"]) for one in answer["leaves"]] == [(TENANT, REGION)]
    line = daemon.decision().envelope_line()
    assert code_of(daemon.ship_lines([line])) == (403, "key_revoked")


def test_a_strangers_request_does_not_learn_that_a_key_was_taken_back(
    deployment: Deployment, daemon: Daemon
) -> None:
    post(deployment, revocation(daemon.signer.kid))
    line = daemon.decision().envelope_line()
    daemon.signer, honest = seal.Signer(b"?" * 32), daemon.signer
    daemon.signer.kid = honest.kid
    assert code_of(daemon.ship_lines([line])) == (401, "request_signature")


def test_a_revocation_takes_effect_from_its_time_on(deployment: Deployment, daemon: Daemon) -> None:
    post(deployment, revocation(daemon.signer.kid, from_us=NOW_US + MINUTE_US))
    daemon.ship(daemon.start())
    deployment.clock.now_us += MINUTE_US
    line = daemon.decision().envelope_line()
    assert code_of(daemon.ship_lines([line])) == (403, "key_revoked")


def test_records_of_a_revoked_key_are_kept_and_flagged(
    deployment: Deployment, daemon: Daemon
) -> None:
    """Its successor brings them: they are evidence, of the daemon or of the thief."""
    daemon.ship(daemon.start(), daemon.decision())
    deployment.clock.now_us += MINUTE_US
    post(deployment, revocation(daemon.signer.kid, from_us=deployment.clock.now_us))
    after = daemon.decision()
    heir = Daemon(deployment, 2).ready()
    shipped = heir.ship(after, of=RequestOf(daemon.instance, after.seq, after.seq))
    assert (shipped.through_seq, shipped.exceptions) == (after.seq, [])
    heir.ship(heir.start())
    items = deployment.get("/v1/records")["items"]
    assert [item["id"] for item in items if item["untrusted"]] == [after.id]
    assert [item["id"] for item in deployment.get("/v1/records", untrusted=1)["items"]] == [
        after.id
    ]
    trusted = deployment.get("/v1/records", untrusted=0)["items"]
    daemons = {daemon.instance, heir.instance}
    assert len([item for item in trusted if item["instance"] in daemons]) == 3
    detail = deployment.get(f"/v1/records/{after.id}")
    assert [one["payloadType"] for one in detail["revocations"]] == [documents.REVOCATION]


def test_an_export_carries_the_revocation_and_its_reader_judges_by_it(
    deployment: Deployment, daemon: Daemon
) -> None:
    daemon.ship(daemon.start(), daemon.decision())
    before = verified(deployment)
    assert (state(before, "revocations"), state(before, "inclusion")) == ("not_applicable", "true")
    post(deployment, revocation(daemon.signer.kid))
    after = verified(deployment)
    assert state(after, "revocations") == "false"
    others = {"signatures", "inclusion", "chain", "roots"}
    assert {state(after, name) for name in others} == {"true"}


def test_a_revocation_is_one_leaf_however_often_and_in_whatever_order_it_is_signed(
    tmp_path: Path,
) -> None:
    other = seal.Signer(b"V" * 32)
    deployment = _with_two_revokers(tmp_path, other)
    with deployment.http:
        daemon = Daemon(deployment).ready()
        orders = ([REVOCATION_KEY, other], [other, REVOCATION_KEY])
        answers = [post(deployment, revocation(daemon.signer.kid, *each)) for each in orders]
        assert [status for status, _ in answers] == [201, 201]
        assert answers[0][1]["leaves"] == answers[1][1]["leaves"]
        alone = refusal(deployment, revocation(daemon.signer.kid, other))
        assert alone[:2] == (422, "document_invalid")
        assert "1 of 2" in alone[2]


def _with_two_revokers(directory: Path, other: seal.Signer) -> Deployment:
    made = Deployment(directory, ["issuer", "records"])
    first = seal.parse_envelope(root_document().envelope)
    root = documents.decode_exact(quorum.payload_of(first), documents.Root)
    text = base64.b64encode(other.public).decode()
    roles = msgspec.structs.replace(
        root.roles, revocation=documents.Role(sorted([REVOCATION_KEY.kid, other.kid]), 2)
    )
    changed = msgspec.structs.replace(root, keys={**root.keys, other.kid: text}, roles=roles)
    issued = issuing.sign(documents.ROOT, documents.encode(changed), [ROOT_KEY])
    (directory / "roots" / "1.json").write_bytes(issued.envelope)
    config = msgspec.structs.replace(made.config, root_fingerprint=issued.digest)
    made.app = central_app.build(config, clock=made.clock, entropy=CountedEntropy())
    made.http = TestClient(made.app)
    return made


@pytest.mark.parametrize("kid", [ISSUER_KEY.kid, ROOT_KEY.kid])
def test_a_key_that_a_root_names_is_rotated_and_not_revoked(
    deployment: Deployment, kid: str
) -> None:
    status, code, message = refusal(deployment, revocation(kid))
    assert (status, code) == (422, "document_invalid")
    assert "gatepost keys rotate-root" in message


@pytest.mark.parametrize("signer", [ROOT_KEY, HOST_KEY], ids=["another-role", "nobody"])
def test_only_the_role_revocation_takes_keys_back(
    deployment: Deployment, daemon: Daemon, signer: seal.Signer
) -> None:
    assert refusal(deployment, revocation(daemon.signer.kid, signer))[:2] == (
        422,
        "document_invalid",
    )
    daemon.ship(daemon.start())


def test_a_signature_that_rides_along_is_refused(deployment: Deployment, daemon: Daemon) -> None:
    """It would stand in every export, and make a verifier call the revocation false."""
    both = revocation(daemon.signer.kid, REVOCATION_KEY, HOST_KEY)
    assert refusal(deployment, both)[:2] == (422, "document_invalid")


def test_a_key_that_no_log_knows_needs_a_named_log(deployment: Deployment) -> None:
    unseen = Daemon(deployment, 7)
    envelope = revocation(unseen.signer.kid)
    assert refusal(deployment, envelope)[:2] == (422, "key_unknown")
    status, answer = post(deployment, envelope, f"?tenant={TENANT}&region={REGION}")
    assert (status, len(answer["leaves"])) == (201, 1)
    assert refusal(deployment, envelope, "?tenant=nobody&region=x")[:2] == (403, "wrong_tenant")
    assert refusal(deployment, envelope, "?tenant=acme")[:2] == (400, "bad_filter")


def test_the_issuer_certifies_neither_a_revoked_key_nor_what_a_revoked_host_attests(
    deployment: Deployment,
) -> None:
    place = f"?tenant={TENANT}&region={REGION}"
    thief, guest = Daemon(deployment, 8), Daemon(deployment, 9)
    post(deployment, revocation(thief.signer.kid), place)
    assert _enrolled(thief) == (403, "key_revoked")
    guest.enrol()
    post(deployment, revocation(HOST_KEY.kid), place)
    assert _enrolled(guest) == (403, "key_revoked")


def _enrolled(daemon: Daemon) -> tuple[int, str]:
    envelope = daemon.signer.sign_document(documents.ENROL, daemon.enrolment(daemon.nonce()))
    answer = daemon.deployment.http.post("/v1/enrol", content=documents.encode(envelope))
    return code_of(answer)


def test_one_certificate_taken_back_leaves_the_others_of_its_key(
    deployment: Deployment, daemon: Daemon
) -> None:
    assert daemon.certificate is not None
    first = _serial(daemon.certificate)
    daemon.ship(daemon.start())
    post(deployment, revocation(daemon.signer.kid, serial=first))
    assert code_of(daemon.ship_lines([daemon.decision().envelope_line()]))[1] == "key_revoked"
    daemon.ready()
    daemon.ship(daemon.end())
    post(deployment, revocation(daemon.signer.kid, serial=_serial(daemon.certificate)))
    assert code_of(daemon.ship_lines([daemon.end().envelope_line()])) == (403, "key_revoked")


def _serial(certificate: Envelope) -> str:
    payload = quorum.payload_of(certificate)
    return documents.decode_exact(payload, documents.KeyCert).serial
