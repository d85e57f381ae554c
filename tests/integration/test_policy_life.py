"""A policy's life in a running daemon: updates, refused ones, the lock, and growing too old."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gatepost.home import SCOPE, Home
from gatepost.signed_file import read_envelope
from gateway import documents, seal
from gateway.io.clock import SystemClock
from gateway.io.entropy import SystemEntropy
from gateway.policy import decode_bundle
from tests.integration import raw, system
from tests.integration.conftest import MakeCentral, MakeSite
from tests.integration.rules import DENIED_MODEL, MODEL, rules
from tests.integration.system import Central, FarEnds, replaced
from tests.integration.tampering import tampering
from tests.unit.gatepost.running import gatepost

pytestmark = pytest.mark.integration

_STRICTER = rules(grants=[{"id": "models", "actions": ["models"]}])
_SHORT_HEADS = replaced(resign_seconds="1\nhead_lifetime_seconds = 3")


@pytest.fixture(scope="module")
def own(base: Path, ends: FarEnds) -> Iterator[Central]:
    """Central services whose policy the tests of this file change, one after the other."""
    with system.central(base / "p", ends, text=None) as running:
        yield running


@pytest.fixture
def services(own: Central) -> Central:
    """The same, with the usual rules in force again."""
    own.publish(rules())
    return own


def test_a_signed_bundle_is_published_once_it_is_signed(services: Central, tmp_path: Path) -> None:
    issued = services.signed(_STRICTER, services.version + 1)
    bundle, unsigned = tmp_path / "bundle.json", tmp_path / "unsigned.json"
    bundle.write_bytes(issued.envelope)
    unsigned.write_bytes(documents.encode(seal.envelope(documents.BUNDLE, issued.payload, [])))
    options = ("--central", services.url, "--token-file", services.home.operator_token)
    refused = gatepost("policy", "publish", unsigned, *options)
    assert refused.code == 2
    assert "document_invalid" in refused.err
    done = gatepost("policy", "publish", bundle, *options)
    assert done.code == 0
    services.version += 1
    assert f"names version {services.version}" in done.out


def test_a_bundle_is_built_above_the_head_that_the_service_serves(
    services: Central, tmp_path: Path
) -> None:
    policy, out = tmp_path / "policy.json", tmp_path / "bundle.json"
    policy.write_bytes(_STRICTER)
    scope = SCOPE
    built = gatepost(
        "policy", "build", policy, "--out", out, "--central", services.url, "--scope", scope
    )
    assert built.code == 0, built.err
    payload = seal.unbase64(read_envelope(out).payload, "unreadable")
    bundle = decode_bundle(payload)
    assert (bundle.scope, bundle.version) == (scope, services.version + 1)
    nowhere = gatepost(
        "policy", "build", policy, "--out", out, "--central", services.url, "--scope", "no/such"
    )
    assert (nowhere.code, "404" in nowhere.err) == (2, True)


def test_an_update_takes_effect_and_records_name_it(services: Central, make_site: MakeSite) -> None:
    first_version = services.version
    daemon = make_site(services=services).start()
    first = raw.ask(daemon.port, raw.chat_request(MODEL))
    assert first.status == 200
    version = services.publish(_STRICTER)
    # The daemon refreshes every 0.2 s at most; nothing tells it.
    daemon.wait_status(lambda status: status.policy.version == version, "the next version")
    second = raw.ask(daemon.port, raw.chat_request(MODEL))
    assert (second.status, second.code) == (403, "denied")
    before = services.records.decision(first.decision_id)["policy"]
    after = services.records.decision(second.decision_id)["policy"]
    assert (before["version"], after["version"]) == (first_version, version)
    assert before["digest"] != after["digest"]
    named = services.records.all(policy_version=version)
    assert [item["id"] for item in named] == [second.decision_id]


def test_a_stream_ends_under_the_policy_that_let_it_in(
    services: Central, make_site: MakeSite
) -> None:
    daemon = make_site(services=services).start()
    with raw.RawConnection(daemon.port) as connection:
        connection.send(raw.chat_request("fault-stall-stream", stream=True))
        response = connection.begin_reply()
        version = services.publish(_STRICTER)
        daemon.wait_status(lambda status: status.policy.version == version, "the next version")
        assert daemon.status().calls_in_flight == 1
        record = services.records.decision(response.headers["x-gatepost-decision-id"])
        assert record["policy"]["version"] == version - 1


def test_a_lock_cuts_streams_and_refuses_calls(services: Central, make_site: MakeSite) -> None:
    """``policy_locked``, within a refresh interval, until it is lifted."""
    daemon = make_site(services=services).start()
    with raw.RawConnection(daemon.port) as connection:
        connection.send(raw.chat_request("fault-stall-stream", stream=True))
        response = connection.begin_reply()
        services.lock("an incident")
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            response.read()
    decision_id = response.headers["x-gatepost-decision-id"]
    assert services.records.completion(decision_id)["outcome"] == "response_blocked"
    reply = raw.ask(daemon.port, raw.chat_request(MODEL))
    assert (reply.status, reply.code) == (503, "policy_locked")
    assert services.records.decision(reply.decision_id)["policy"]["state"] == "locked"
    status = daemon.status()
    assert (status.ready, status.policy.lock_reason) == (False, "an incident")
    services.unlock()
    daemon.wait_status(lambda status: status.ready, "the end of the lock")
    assert raw.ask(daemon.port, raw.chat_request(MODEL)).status == 200


def test_a_publication_and_a_lock_reach_a_daemon_at_once(
    services: Central, make_site: MakeSite
) -> None:
    """A long poll brings them; the timer would ask in half an hour."""
    edit = replaced(refresh_seconds_min="1800", refresh_seconds_max="1800")
    daemon = make_site(edit, services).start()
    assert raw.ask(daemon.port, raw.chat_request(MODEL)).status == 200
    version = services.publish(rules())
    daemon.wait_status(lambda status: status.policy.version == version, "the next version", 5)
    with raw.RawConnection(daemon.port) as connection:
        connection.send(raw.chat_request("fault-stall-stream", stream=True))
        response = connection.begin_reply()
        services.lock("an incident")
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            response.read()
    decision_id = response.headers["x-gatepost-decision-id"]
    assert services.records.completion(decision_id)["outcome"] == "response_blocked"
    services.unlock()
    daemon.wait_status(lambda status: status.ready, "the end of the lock", 5)


def test_an_expired_policy_refuses_every_call(
    make_central: MakeCentral, make_site: MakeSite
) -> None:
    """``policy_expired``, when the policy service has been away for longer than a head lives."""
    services = make_central(edit=_SHORT_HEADS)
    daemon = make_site(services=services).start()
    assert raw.ask(daemon.port, raw.chat_request(MODEL)).status == 200
    services.kill()
    daemon.wait_status(lambda status: status.policy.state == "expired", "the policy's expiry")
    for model in (MODEL, DENIED_MODEL):
        reply = raw.ask(daemon.port, raw.chat_request(model))
        assert (reply.status, reply.code) == (503, "policy_expired")
        assert reply.headers["retry-after"] == "5"
    assert "policy is expired" in daemon.probe("/readyz")[1]
    services.start(_SHORT_HEADS)
    daemon.wait_status(lambda status: status.ready, "a fresh policy")
    assert raw.ask(daemon.port, raw.chat_request(MODEL)).status == 200
    record = services.records.decision(reply.decision_id)
    assert record["decision"]["outcome"] == "error_closed"


def test_the_service_publishes_nothing_that_somebody_else_signed(
    services: Central, tmp_path: Path
) -> None:
    with pytest.raises(Exception, match=r"threshold|signature"):
        services.publish(rules(), _stranger(tmp_path))


@pytest.mark.parametrize("how", ["another_key", "one_bit"])
def test_a_bundle_with_a_bad_signature_is_refused_and_the_last_good_stays(
    services: Central, make_site: MakeSite, tmp_path: Path, how: str
) -> None:
    """A service that has been taken over can sign heads, and still no policy."""
    good = services.version
    with tampering(services) as proxy:
        place = make_site(services=services)
        place.configure(url=proxy.url)
        daemon = place.start()
        signer = _stranger(tmp_path) if how == "another_key" else None
        stricter = services.signed(_STRICTER, good + 1, signer).envelope
        proxy.bundle = _flipped(stricter) if how == "one_bit" else stricter
        services.publish(_STRICTER)
        status = daemon.wait_status(
            lambda status: status.policy.failures_in_a_row > 1, "a refused bundle"
        )
        assert status.policy.version == good
        assert any(name.startswith("rejected_") for name in status.policy.counters)
        reply = raw.ask(daemon.port, raw.chat_request(MODEL))
        assert reply.status == 200
        assert services.records.decision(reply.decision_id)["policy"]["version"] == good
        proxy.bundle = None
        daemon.wait_status(lambda status: status.policy.version == good + 1, "the real bundle")
        assert daemon.stop() == 0


def _stranger(directory: Path) -> Home:
    """Keys of somebody whose root nobody here pinned."""
    home = Home(directory / "stranger")
    home.make(SystemEntropy(), SystemClock().wall_us(), rules())
    return home


def _flipped(envelope: bytes) -> bytes:
    """The envelope with one bit of its signature changed."""
    document = msgspec.json.decode(envelope)
    signature = document["signatures"][0]["sig"]
    document["signatures"][0]["sig"] = ("B" if signature[0] == "A" else "A") + signature[1:]
    return msgspec.json.encode(document)
