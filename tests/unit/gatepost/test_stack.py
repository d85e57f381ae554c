"""Configurations that a one-machine set-up writes, and publishing its policy."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from central.config import load as load_central
from gatepost import stack
from gatepost.faults import InputOutputError
from gatepost.home import REGION, SCOPE, TENANT, Home
from gatepost.process import Children
from gatepost.samples import sample
from gatepost.stack import FarEnd, Ports, Refresh, Upstreams
from sidecar.config import parse
from tests.sim.clock import EPOCH_US
from tests.sim.entropy import SeededEntropy
from tests.unit.gatepost.answering import Answering
from tests.unit.sidecar.hand_clock import HandClock


@pytest.fixture(params=["home", 'a "quoted" \\ home'])
def home(tmp_path: Path, request: pytest.FixtureRequest) -> Home:
    made = Home(tmp_path / request.param)
    made.make(SeededEntropy(1), EPOCH_US, sample("policy.json"))
    return made


def upstreams(home: Home) -> Upstreams:
    key = home.keys / "company.key"
    return Upstreams(
        openai_url="http://127.0.0.1:1",
        openai_key=key,
        anthropic_url="https://api.anthropic.com",
        anthropic_key=key,
        tools_url="http://127.0.0.1:2/mcp",
    )


def test_the_daemons_configuration_is_one(home: Home) -> None:
    central = "http://127.0.0.1:4143"
    stack.write_sidecar(home, central, upstreams(home), Ports(tcp=1, probe=2), Refresh(5, 6))
    config = parse(home.sidecar_toml.read_text())
    assert (config.tenant, config.region) == (TENANT, REGION)
    assert config.trust.root_sha256 == home.root_fingerprint
    assert (config.listen.tcp_port, config.listen.probe_port) == (1, 2)
    assert config.listen.agents[0].uid == os.getuid()
    assert config.listen.allow_uid_0 == (os.getuid() == 0)
    assert config.listen.probe_host == "127.0.0.1"
    assert config.enrolment.host_key_file == str(home.host_key)
    assert config.policy.scope == SCOPE
    assert (config.policy.refresh_seconds_min, config.policy.refresh_seconds_max) == (5, 6)
    assert config.spool.directory == str(home.directory / "spool")
    assert config.identity.issuers == ()
    assert {route.name for route in config.routes} == {"openai", "anthropic", "orders"}


def test_with_keys_of_an_issuer_it_takes_delegations(home: Home) -> None:
    jwks = home.directory / "jwks.json"
    stack.write_sidecar(home, "http://x:1", upstreams(home), Ports(), Refresh(), jwks)
    identity = parse(home.sidecar_toml.read_text()).identity
    assert identity.issuers[0].jwks_file == str(jwks)
    assert identity.audience == (stack.AUDIENCE,)


def test_the_services_configuration_is_one_and_holds_no_token(home: Home) -> None:
    stack.write_central(home, 4143)
    config = load_central(str(home.central_toml))
    assert config.root_fingerprint == home.root_fingerprint
    assert config.tenants[0].scope == SCOPE
    text = home.central_toml.read_text()
    assert {one.name: one.role for one in config.people} == {
        "operator": "admin",
        "auditor": "auditor",
    }
    for token in (home.operator_token, home.auditor_token, home.one_time_token):
        assert token.read_text().strip() not in text


def test_a_policy_that_no_daemon_would_take_is_not_published(home: Home) -> None:
    home.policy_json.write_text('{"grants": [{"id": "x"}]}')
    with pytest.raises(InputOutputError, match=r"policy\.json"):
        stack.publish(home, "http://127.0.0.1:1", 1, HandClock())


def test_the_newest_version_is_the_services_word(home: Home) -> None:
    log = b'[{"version":3,"what":"publish"},{"version":12,"what":"lock"},{"version":4}]'
    with Answering(200, log) as service:
        assert stack.newest_version(home, service.url) == 12
    assert service.asked[0].startswith("GET /v1/policy/acme%2Fdev/log ")
    with Answering(200, b"[]") as service:
        assert stack.newest_version(home, service.url) == 0


def test_publishing_sends_the_signed_bundle_as_the_operator(home: Home) -> None:
    with Answering(201, b"{}") as service:
        digest = stack.publish(home, service.url, 5, HandClock())
    assert service.asked[0].startswith("POST /v1/policy/acme%2Fdev/bundles ")
    assert home.operator_token.read_text().strip() in service.asked[0]
    assert digest == home.bundle(5, HandClock().now_us).digest


def test_counts_of_a_far_end_never_go_through_a_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with Children(tmp_path) as children, Answering(200, b'{"total":2,"by_path":{"/x":2}}') as far:
        child = children.start("true", "this")
        end = FarEnd(child=child, url=far.url, token="t")
        assert end.counts() == {"/x": 2}
    assert "x-far-end-token: t" in far.asked[0].lower()
    with pytest.raises(InputOutputError):
        end.counts()
