"""Callers that run as somebody else: the kernel says who they are, and that decides."""

from __future__ import annotations

from pathlib import Path

import pytest

from gatepost import admin_socket
from gatepost.faults import InputOutputError
from gatepost.stack import AGENT
from tests.integration import raw
from tests.integration.conftest import MakeSite
from tests.integration.rules import MODEL
from tests.integration.system import Daemon, appended
from tests.system.users import STRANGER, acting_as

pytestmark = pytest.mark.system

_OTHER_AGENT = f"""
[[identity.agents]]
id = "other-agent"

[[listen.agents]]
uid = {STRANGER}
agent = "other-agent"
"""


def _ask_as(uid: int, address: int | str) -> raw.Reply:
    with acting_as(uid), raw.RawConnection(address) as connection:
        connection.send(raw.chat_request(MODEL))
        return connection.reply()


def test_an_unknown_uid_is_refused_on_tcp_and_recorded(daemon: Daemon) -> None:
    ends = daemon.site.central.ends
    reached = ends.total()
    reply = _ask_as(STRANGER, daemon.port)
    assert (reply.status, reply.code) == (403, "peer_not_allowed")
    record = daemon.records.decision(reply.decision_id)
    assert record["agent"]["id"] is None
    assert record["person"]["assurance"] == "none"
    assert ends.total() == reached


def test_each_uid_on_one_port_is_its_own_agent(make_site: MakeSite) -> None:
    daemon = make_site(appended(_OTHER_AGENT)).start()
    for uid, agent in ((STRANGER, "other-agent"), (0, AGENT)):
        reply = _ask_as(uid, daemon.port)
        assert reply.status == 200
        record = daemon.records.decision(reply.decision_id)
        assert (record["agent"]["id"], record["agent"]["attested_by"]) == (agent, "tcp_uid")


def test_one_agents_token_is_no_good_to_another(make_site: MakeSite) -> None:
    daemon = make_site(appended(_OTHER_AGENT)).start()
    token = daemon.site.central.ends.issuer.token(act={"sub": AGENT})
    request = raw.chat_request(MODEL, headers={"X-Gatepost-Delegation": token})
    assert raw.ask(daemon.port, request).status == 200
    with acting_as(STRANGER):
        stolen = raw.ask(daemon.port, request)
    assert (stolen.status, stolen.code) == (403, "actor_mismatch")


def test_a_socket_lets_in_its_group_only(daemon: Daemon) -> None:
    for path in (daemon.socket, daemon.admin):
        with acting_as(STRANGER), pytest.raises(PermissionError):
            raw.RawConnection(path)
    with acting_as(STRANGER), pytest.raises(InputOutputError, match="only the daemon's own user"):
        admin_socket.ask(daemon.admin, "/status")


def test_a_socket_bound_to_a_uid_takes_calls_from_it_and_no_other(daemon: Daemon) -> None:
    """The session's second socket is for STRANGER; its directory is opened to let others knock."""
    path = daemon.site.home.directory / "run" / "other" / "other.sock"
    _open_the_way(path)
    path.chmod(0o666)
    reply = _ask_as(STRANGER, str(path))
    assert reply.status == 200
    record = daemon.records.decision(reply.decision_id)
    assert (record["agent"]["id"], record["agent"]["attested_by"]) == (AGENT, "uds_uid")
    for uid in (0, STRANGER + 1):
        assert _ask_as(uid, str(path)).code == "peer_not_allowed"


def _open_the_way(path: Path) -> None:
    """Let everybody pass the directories above ``path``."""
    for directory in list(path.parents)[:-2]:
        directory.chmod(directory.stat().st_mode | 0o011)


def test_records_policy_and_keys_are_private_files(daemon: Daemon) -> None:
    """Even where the directories above are open, as on a shared volume."""
    home = daemon.site.home
    _open_the_way(home.directory / "spool" / "x")
    for place in (home.directory / "spool", home.directory / "policy", home.host_key.parent):
        files = [path for path in place.rglob("*") if path.is_file()]
        assert files
        for path in files:
            with acting_as(STRANGER), pytest.raises(PermissionError):
                path.read_bytes()
