"""Host keys attest as long as the configuration names them, and not once they were taken back."""

from __future__ import annotations

import base64
from pathlib import Path

import anyio
import msgspec
import pytest

from central.config import CentralConfig, Host
from central.issuer.service import Issuer
from central.keys import RootFiles
from gateway import attestation, seal
from tests.unit.central.deployment import (
    HOST_KEY,
    REGION,
    TENANT,
    CountedEntropy,
    Deployment,
    HandClock,
    configuration,
)
from tests.unit.central.test_enrolment import register
from tests.unit.central.test_revocations import post, revocation

LAPTOP = seal.Signer(b"q" * 32)


def start(config: CentralConfig) -> None:
    """An issuer's start, and its end."""
    issuer = Issuer(config, RootFiles(config.roots_directory, None), HandClock(), CountedEntropy())
    anyio.run(issuer.start)
    issuer.database.close()


def hosts(config: CentralConfig) -> dict[str, tuple[str, str]]:
    """Key id → place, of what is registered."""
    issuer = Issuer(config, RootFiles(config.roots_directory, None), HandClock(), CountedEntropy())
    rows = issuer.database._writer.execute("SELECT kid, tenant, region FROM host").fetchall()
    issuer.database.close()
    return {kid: (tenant, region) for kid, tenant, region in rows if tenant != "*"}


def test_a_host_that_left_the_configuration_attests_no_more_and_the_log_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = Deployment(tmp_path, ["issuer"])
    with made.http:
        assert register(made, "gpo_laptop", LAPTOP) == (201, "")
    config = configuration(tmp_path, ["issuer"])
    start(config)
    assert set(hosts(config)) == {HOST_KEY.kid, LAPTOP.kid}
    assert "host_dropped" not in caplog.text
    with caplog.at_level("WARNING", "gatepost.central"):
        start(msgspec.structs.replace(config, hosts=[]))
    assert set(hosts(config)) == {LAPTOP.kid}, "who spent a token was never named"
    assert f"host_dropped: host node-1 ({HOST_KEY.kid})" in caplog.text
    start(config)
    assert set(hosts(config)) == {HOST_KEY.kid, LAPTOP.kid}


def test_a_host_that_moved_attests_where_the_configuration_says(tmp_path: Path) -> None:
    config = configuration(tmp_path, ["issuer"])
    start(config)
    pub = base64.b64encode(HOST_KEY.public).decode()
    moved = Host(name="node-1", tenant="globex", region="us-east-1", pub=pub)
    start(msgspec.structs.replace(config, hosts=[moved]))
    assert hosts(config) == {HOST_KEY.kid: ("globex", "us-east-1")}


def test_a_host_key_that_was_taken_back_is_not_registered(deployment: Deployment) -> None:
    status, _ = post(deployment, revocation(LAPTOP.kid), f"?tenant={TENANT}&region={REGION}")
    assert status in (200, 201)
    assert register(deployment, "gpo_laptop", LAPTOP) == (403, "key_revoked")
    fresh = attestation.register_host("gpo_laptop", HOST_KEY, TENANT, REGION)
    answer = deployment.http.post("/v1/hosts", content=msgspec.json.encode(fresh))
    assert answer.status_code == 201, "the token was not spent"
