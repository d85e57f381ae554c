"""Enrolment over HTTP: who gets a certificate, for what, and who does not."""

from __future__ import annotations

import base64
import itertools
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import anyio
import msgspec
import pytest

from central.issuer.service import SERVICE_ROLES, Issuer
from central.keys import RootFiles
from gateway import attestation, documents, seal
from gateway.attestation import EnrolAnswer
from gateway.documents import Enrol, EnrolAttestation
from gateway.errors import ConfigInvalid
from gateway.timestamp import time_micros, time_text
from tests.unit.central.deployment import (
    BUNDLE_KEY,
    HOST_KEY,
    ISSUER_KEY,
    NOW_US,
    REVOCATION_KEY,
    ROOT_KEY,
    SEEDS,
    CountedEntropy,
    Daemon,
    Deployment,
    HandClock,
    configuration,
)
from tests.unit.gateway.test_seal import SMALL_ORDER

ISSUERS = {ISSUER_KEY.kid: ISSUER_KEY.public}
_numbers = itertools.count(10)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    made = Deployment(tmp_path_factory.mktemp("central"), ["issuer"])
    with made.http:
        yield made


@pytest.fixture
def fresh(deployment: Deployment) -> Daemon:
    """A daemon that nobody has seen before."""
    deployment.clock.now_us = NOW_US
    return Daemon(deployment, next(_numbers))


def enrol(daemon: Daemon, request: Enrol, signer: seal.Signer | None = None) -> tuple[int, str]:
    """(status, error code or "") of an enrolment with exactly this request."""
    body = documents.encode((signer or daemon.signer).sign_document(documents.ENROL, request))
    answer = daemon.deployment.http.post("/v1/enrol", content=body)
    code = "" if answer.status_code == 201 else answer.json()["error"]["code"]
    return answer.status_code, code


def test_an_attested_key_gets_a_certificate_for_a_day(fresh: Daemon) -> None:
    enrolled = fresh.enrol()
    certificate = seal.open_certificate(enrolled.certificate, ISSUERS)
    assert (certificate.kid, certificate.instance) == (fresh.signer.kid, fresh.instance)
    assert (certificate.tenant, certificate.region) == ("acme", "eu-west-1")
    assert certificate.attestation.subject == HOST_KEY.kid
    window = time_micros(certificate.not_after) - time_micros(certificate.issued)
    assert window == 24 * 3_600_000_000


def test_a_nonce_serves_once(fresh: Daemon) -> None:
    request = fresh.enrolment(fresh.nonce())
    assert enrol(fresh, request) == (201, "")
    assert enrol(fresh, request) == (422, "nonce_unknown")


def test_a_nonce_runs_out(fresh: Daemon) -> None:
    request = fresh.enrolment(fresh.nonce())
    fresh.deployment.clock.now_us += 121_000_000
    assert enrol(fresh, request) == (422, "nonce_unknown")


def test_a_nonce_of_ones_own_is_refused(fresh: Daemon) -> None:
    assert enrol(fresh, fresh.enrolment("bm9uY2U=")) == (422, "nonce_unknown")


def test_open_nonces_are_bounded_and_expire(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.limits.ENROL_NONCES_MAX", 3)
    deployment.clock.now_us = NOW_US + 900_000_000
    answers = [deployment.http.post("/v1/enrol/nonce") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 503]
    assert answers[3].headers["retry-after"] == "5"
    deployment.clock.now_us += 121_000_000
    assert deployment.http.post("/v1/enrol/nonce").status_code == 200


@pytest.mark.parametrize("place", [{"tenant": "initech"}, {"region": "mars"}])
def test_another_tenant_or_region_is_refused(fresh: Daemon, place: dict[str, str]) -> None:
    assert enrol(fresh, fresh.enrolment(fresh.nonce(), **place)) == (403, "wrong_tenant")


def test_a_host_attests_only_for_its_own_tenant(fresh: Daemon) -> None:
    request = fresh.enrolment(fresh.nonce(), tenant="globex")
    assert enrol(fresh, request) == (403, "wrong_tenant")


@pytest.mark.parametrize("host", [HOST_KEY, seal.Signer(b"q" * 32)], ids=["named", "one_time"])
def test_a_host_attests_no_central_service(fresh: Daemon, host: seal.Signer) -> None:
    if host is not HOST_KEY:
        assert register(fresh.deployment, "gpo_laptop", host) == (201, "")
    request = token(fresh, fresh.enrolment(fresh.nonce(), topology="central"), host)
    assert enrol(fresh, request) == (403, "topology_not_allowed")
    daemon = token(fresh, fresh.enrolment(fresh.nonce(), topology="regional"), host)
    assert enrol(fresh, daemon) == (201, "")


@pytest.mark.parametrize("role", sorted(SERVICE_ROLES))
def test_the_key_of_a_central_service_attests_services_and_no_daemon(
    fresh: Daemon, role: str
) -> None:
    service = seal.Signer(SEEDS[role])
    daemon = token(fresh, fresh.enrolment(fresh.nonce()), service)
    assert enrol(fresh, daemon) == (403, "attestation_invalid")
    own_chain = token(fresh, fresh.enrolment(fresh.nonce(), topology="central"), service)
    assert enrol(fresh, own_chain) == (201, "")


@pytest.mark.parametrize("signer", [ROOT_KEY, BUNDLE_KEY, REVOCATION_KEY])
def test_a_key_of_people_attests_nothing(fresh: Daemon, signer: seal.Signer) -> None:
    request = token(fresh, fresh.enrolment(fresh.nonce(), topology="central"), signer)
    assert enrol(fresh, request) == (403, "attestation_invalid")


def test_the_new_key_must_have_signed_the_request(fresh: Daemon) -> None:
    request = fresh.enrolment(fresh.nonce())
    assert enrol(fresh, request, seal.Signer(b"x" * 32)) == (422, "document_invalid")


def test_a_small_order_key_is_refused(fresh: Daemon) -> None:
    identity = base64.b64encode((1).to_bytes(32, "little")).decode()
    request = fresh.enrolment(fresh.nonce(), pub=identity)
    assert enrol(fresh, request) == (422, "key_refused")


def token(daemon: Daemon, request: Enrol, host: seal.Signer) -> Enrol:
    proved = msgspec.structs.replace(
        request.attestation, token=attestation.host_token(request, host)
    )
    return msgspec.structs.replace(request, attestation=proved)


def test_an_unknown_host_attests_nothing(fresh: Daemon) -> None:
    request = token(fresh, fresh.enrolment(fresh.nonce()), seal.Signer(b"y" * 32))
    assert enrol(fresh, request) == (403, "attestation_invalid")


@pytest.mark.parametrize("member", ["nonce", "instance", "pub"])
def test_a_host_attests_one_start_and_no_other(fresh: Daemon, member: str) -> None:
    request = fresh.enrolment(fresh.nonce())
    other = Daemon(fresh.deployment, next(_numbers))
    changes = {
        "nonce": fresh.nonce(),
        "instance": other.instance,
        "pub": base64.b64encode(other.signer.public).decode(),
    }
    reused = msgspec.structs.replace(request, **{member: changes[member]})
    signer = other.signer if member == "pub" else fresh.signer
    assert enrol(fresh, reused, signer) == (403, "attestation_invalid")


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("k8s_sa", (501, "attestation_not_configured")),
        ("spiffe_jwt", (501, "attestation_not_configured")),
        ("one_time", (403, "attestation_invalid")),
        ("trust_me", (403, "attestation_invalid")),
    ],
)
def test_other_attestations_are_answered_clearly(
    fresh: Daemon, kind: str, wanted: tuple[int, str]
) -> None:
    named = EnrolAttestation(type=kind, token="t", worker=0)
    assert enrol(fresh, fresh.enrolment(fresh.nonce(), attestation=named)) == wanted


@pytest.mark.parametrize(
    "changes",
    [
        {"audience": "somebody-else"},
        {"topology": "moon"},
        {"instance": "not-an-instance"},
        {"not_before": "yesterday"},
        {"digest_key": "c2hvcnQ="},
        {"digest_key": "%"},
    ],
)
def test_a_malformed_request_is_refused(fresh: Daemon, changes: dict[str, str]) -> None:
    request = fresh.enrolment(fresh.nonce(), **changes)
    assert enrol(fresh, request) == (422, "document_invalid")


@pytest.mark.parametrize(
    ("asked_us", "given_us"),
    [(-60_000_000, -60_000_000), (-3_600_000_000, -900_000_000), (+60_000_000, 0)],
)
def test_a_window_reaches_back_as_far_as_is_allowed(
    fresh: Daemon, asked_us: int, given_us: int
) -> None:
    not_before = time_text(NOW_US + asked_us)
    body = documents.encode(
        fresh.signer.sign_document(
            documents.ENROL, fresh.enrolment(fresh.nonce(), not_before=not_before)
        )
    )
    answer = fresh.deployment.http.post("/v1/enrol", content=body)
    enrolled = msgspec.json.decode(answer.content, type=EnrolAnswer)
    certificate = seal.open_certificate(enrolled.certificate, ISSUERS)
    assert certificate.not_before == time_text(NOW_US + given_us)


def test_the_next_instance_of_a_worker_supersedes_the_last(fresh: Daemon) -> None:
    fresh.enrol()
    following = Daemon(fresh.deployment, next(_numbers))
    assert following.enrol().supersedes == fresh.instance
    again = following.enrolment(following.nonce())
    assert enrol(following, again) == (201, ""), "a renewal supersedes nobody"
    other = EnrolAttestation(type="host_key", token="", worker=1)
    beside = Daemon(fresh.deployment, next(_numbers))
    request = beside.enrolment(beside.nonce(), attestation=other)
    body = documents.encode(beside.signer.sign_document(documents.ENROL, request))
    answer = beside.deployment.http.post("/v1/enrol", content=body)
    assert answer.json()["supersedes"] is None, "another worker of the same host"


def test_a_key_belongs_to_one_instance(fresh: Daemon) -> None:
    fresh.enrol()
    thief = Daemon(fresh.deployment, next(_numbers))
    thief.signer = fresh.signer
    assert enrol(thief, thief.enrolment(thief.nonce())) == (403, "instance_taken")


def register(
    deployment: Deployment, text: str, host: seal.Signer, **changes: str
) -> tuple[int, str]:
    body = attestation.register_host(text, host, "acme", "eu-west-1")
    body = msgspec.structs.replace(body, **changes)
    answer = deployment.http.post("/v1/hosts", content=msgspec.json.encode(body))
    return answer.status_code, answer.json().get("error", {}).get("code", "")


def test_a_one_time_token_registers_one_host_key(deployment: Deployment, fresh: Daemon) -> None:
    laptop, thief = seal.Signer(b"q" * 32), seal.Signer(b"t" * 32)
    assert register(deployment, "gpo_wrong", laptop) == (403, "attestation_invalid")
    stolen = register(deployment, "gpo_laptop", laptop, tenant="globex")
    assert stolen == (403, "wrong_tenant")
    pub = base64.b64encode(thief.public).decode()
    assert register(deployment, "gpo_laptop", laptop, pub=pub) == (403, "attestation_invalid")
    assert register(deployment, "gpo_laptop", laptop) == (201, "")
    assert register(deployment, "gpo_laptop", laptop) == (201, ""), "the answer may be lost"
    assert register(deployment, "gpo_laptop", thief) == (403, "attestation_invalid")
    assert enrol(fresh, token(fresh, fresh.enrolment(fresh.nonce()), laptop)) == (201, "")


@pytest.mark.parametrize("encoded", SMALL_ORDER)
def test_a_host_key_of_small_order_is_never_registered(
    deployment: Deployment, tmp_path: Path, encoded: str
) -> None:
    pub = base64.b64encode(bytes.fromhex(encoded)).decode()
    spent = register(deployment, "gpo_laptop", seal.Signer(b"q" * 32), pub=pub)
    assert spent == (422, "key_refused")
    config = configuration(tmp_path, ["issuer"])
    hosts = [msgspec.structs.replace(config.hosts[0], pub=pub)]
    made = Issuer(
        msgspec.structs.replace(config, hosts=hosts),
        RootFiles(config.roots_directory, None),
        HandClock(),
        CountedEntropy(),
    )
    with pytest.raises(ConfigInvalid, match="hosts: key"):
        anyio.run(made.start)
    made.database.close()


def test_digest_keys_are_kept_wrapped(deployment: Deployment, fresh: Daemon) -> None:
    fresh.enrol()
    for name in ("issuer.db", "issuer.db-wal"):
        path = deployment.directory / "data" / name
        assert not path.exists() or b"d" * 32 not in path.read_bytes()


@pytest.mark.parametrize("body", [b"", b"{}", b"\xff", b"[" * 5_000, b'{"payloadType":1}'])
def test_what_is_no_envelope_is_refused(deployment: Deployment, body: bytes) -> None:
    answer = deployment.http.post("/v1/enrol", content=body)
    assert answer.json()["error"]["code"] == "document_invalid"


def test_an_oversized_request_is_refused(deployment: Deployment) -> None:
    answer = deployment.http.post("/v1/enrol", content=b"x" * 100_000)
    assert answer.json()["error"]["code"] == "body_too_large"


def test_a_superseded_instance_that_asks_again_is_refused_and_noted(
    fresh: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    fresh.enrol()
    following = Daemon(fresh.deployment, next(_numbers))
    following.enrol()
    for later_us in (60_000_000, 120_000_000):
        fresh.deployment.clock.now_us = NOW_US + later_us
        with caplog.at_level("WARNING", "gatepost.central"):
            assert enrol(fresh, fresh.enrolment(fresh.nonce())) == (409, "instance_conflict")
        assert f"instance_conflict: instance {fresh.instance} of acme" in caplog.text
    with sqlite3.connect(fresh.deployment.directory / "data" / "issuer.db") as kept:
        (row,) = kept.execute("SELECT * FROM conflict WHERE instance = ?", (fresh.instance,))
    assert row == (
        fresh.instance,
        following.instance,
        NOW_US + 60_000_000,
        NOW_US + 120_000_000,
        2,
    )
    assert enrol(following, following.enrolment(following.nonce())) == (201, "")


def test_a_refused_superseded_instance_has_spent_its_nonce(fresh: Daemon) -> None:
    fresh.enrol()
    Daemon(fresh.deployment, next(_numbers)).enrol()
    asked = fresh.enrolment(fresh.nonce())
    assert enrol(fresh, asked) == (409, "instance_conflict")
    assert enrol(fresh, asked) == (422, "nonce_unknown")
