"""Who a call is for and by whom: what reaches the record, and which credentials cross over."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from gatepost.stack import AGENT, FAR_END_KEY, ISSUER
from tests.integration import raw
from tests.integration.records import Item
from tests.integration.rules import CLAUDE, MODEL
from tests.integration.system import Daemon
from tests.integration.tokens import PERSON

pytestmark = pytest.mark.integration

OWN_KEY = "sk-the-agents-own-key"


def _headers_for(slot: str, value: str) -> dict[str, str]:
    return {slot: f"Bearer {value}" if slot == "Authorization" else value}


def _absent(record: Item) -> dict[str, str]:
    return {entry["path"]: entry["reason"] for entry in record["absent"]}


@pytest.mark.parametrize("slot", ["X-Gatepost-Delegation", "Authorization", "x-api-key"])
def test_a_token_names_the_person_wherever_it_stands(daemon: Daemon, slot: str) -> None:
    token = daemon.site.central.ends.issuer.token(jti="token-of-this-test")
    reply = raw.ask(daemon.port, raw.chat_request(MODEL, headers=_headers_for(slot, token)))
    assert reply.status == 200
    record = daemon.records.decision(reply.decision_id)
    assert record["person"] == {
        "id": PERSON,
        "iss": ISSUER,
        "token_id": "token-of-this-test",
        "assurance": "delegated",
    }
    assert record["authz"] == {
        "roles": ["support"],
        "scopes": ["llm.chat", "tool.orders"],
        "delegation": [AGENT],
    }


@pytest.mark.parametrize(
    ("address", "attested_by"),
    [
        (lambda daemon: daemon.port, "tcp_uid"),
        (lambda daemon: daemon.socket, "uds_uid"),
    ],
)
def test_without_a_token_only_the_agent_is_known(
    daemon: Daemon, address: Callable[[Daemon], int | str], attested_by: str
) -> None:
    headers = _headers_for("Authorization", OWN_KEY)
    reply = raw.ask(address(daemon), raw.chat_request(MODEL, headers=headers))
    assert reply.status == 200
    record = daemon.records.decision(reply.decision_id)
    assert record["person"] == {
        "id": None,
        "iss": None,
        "token_id": None,
        "assurance": "workload",
    }
    assert (record["agent"]["id"], record["agent"]["attested_by"]) == (AGENT, attested_by)
    assert _absent(record)["person.id"] == "no_delegation_token"


@pytest.mark.skipif(not socket.has_ipv6, reason="this Python has no IPv6")
def test_the_other_loopback_knows_its_callers_too(daemon: Daemon) -> None:
    with raw.RawConnection(daemon.port, socket.AF_INET6) as connection:
        connection.send(raw.chat_request(MODEL, headers={"Host": f"[::1]:{daemon.port}"}))
        reply = connection.reply()
    assert reply.status == 200
    assert daemon.records.decision(reply.decision_id)["agent"]["attested_by"] == "tcp_uid"


def test_a_rejected_token_is_recorded_with_what_is_known(daemon: Daemon) -> None:
    token = daemon.site.central.ends.issuer.forged()
    reply = raw.ask(daemon.port, raw.chat_request(MODEL, headers={"X-Gatepost-Delegation": token}))
    assert (reply.status, reply.code) == (401, "token_signature_invalid")
    assert 'error="invalid_token"' in reply.headers["www-authenticate"]
    record = daemon.records.decision(reply.decision_id)
    assert (record["agent"]["id"], record["person"]["id"]) == (AGENT, None)
    assert _absent(record)["person.id"] == "token_rejected"
    assert record["decision"]["reason"] == "token_signature_invalid"
    assert token not in str(record)


def test_another_uids_socket_takes_no_calls(daemon: Daemon) -> None:
    """``peer_not_allowed``: the socket is bound to a uid that this test does not run as."""
    ends = daemon.site.central.ends
    reached = ends.total()
    other = daemon.site.home.directory / "run" / "other" / "other.sock"
    reply = raw.ask(str(other), raw.chat_request(MODEL))
    assert (reply.status, reply.code) == (403, "peer_not_allowed")
    record = daemon.records.decision(reply.decision_id)
    assert record["agent"]["id"] is None
    assert _absent(record)["agent.id"] == "not_bound"
    assert ends.total() == reached


@pytest.mark.parametrize("slot", ["Authorization", "x-api-key", "api-key", "x-goog-api-key"])
def test_the_companys_key_arrives_and_no_caller_credential_does(daemon: Daemon, slot: str) -> None:
    ends = daemon.site.central.ends
    token = ends.issuer.token()
    headers = {
        "X-Gatepost-Delegation": token,
        "Cookie": "session=of-the-agent",
        "Proxy-Authorization": "Basic YWdlbnQ6c2VjcmV0",
        "X-Internal": "of-the-agent",
        **_headers_for(slot, OWN_KEY),
    }
    body = raw.chat(MODEL)
    path = f"/openai/v1/chat/completions?key={OWN_KEY}"
    reply = raw.ask(daemon.port, raw.request("POST", path, body, headers))
    assert reply.status == 200
    seen = ends.provider.last_headers()
    assert seen["authorization"] == f"Bearer {FAR_END_KEY}"
    arrived = "\n".join(f"{name}: {value}" for name, value in seen.items())
    for secret in (OWN_KEY, token, "of-the-agent", "YWdlbnQ6c2VjcmV0"):
        assert secret not in arrived
    assert seen["accept-encoding"] == "identity"


def test_each_provider_gets_the_key_where_it_reads_it(daemon: Daemon) -> None:
    body = raw.chat(CLAUDE, max_tokens=8)
    headers = {"x-api-key": OWN_KEY, "anthropic-version": "2023-06-01"}
    reply = raw.ask(daemon.port, raw.request("POST", "/anthropic/v1/messages", body, headers))
    assert reply.status == 200
    seen = daemon.site.central.ends.provider.last_headers()
    assert seen["x-api-key"] == FAR_END_KEY
    assert "authorization" not in seen


@pytest.mark.parametrize("stream", [False, True])
def test_nothing_of_the_upstreams_inside_comes_back(daemon: Daemon, stream: bool) -> None:
    reply = raw.ask(daemon.port, raw.chat_request(MODEL, stream=stream))
    assert reply.status == 200
    assert not {"set-cookie", "x-internal-host", "server"} & set(reply.headers)
    assert FAR_END_KEY not in str(reply)
    assert reply.decision_id
