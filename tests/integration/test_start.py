"""Starts that cannot work, and starts that must wait: each says what is missing."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gatepost.process import StartFailed
from tests.integration import raw
from tests.integration.conftest import MakeCentral, MakeSite
from tests.integration.rules import MODEL, rules
from tests.integration.system import Edit, Site, appended, hurried, impatient, replaced

pytestmark = pytest.mark.integration


def _run(place: Site) -> subprocess.CompletedProcess[str]:
    """Run a daemon that is expected to end by itself."""
    return subprocess.run(
        [sys.executable, "-m", "gatepost", "run", "--config", str(place.home.sidecar_toml)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (appended("nonsense = ["), ["sidecar.toml"]),
        (appended("\n[unheard_of]\nx = 1\n"), ["unheard_of"]),
        (replaced(tcp_port="70000"), ["tcp_port", "65535"]),
        (replaced(region='"Not A Name"'), ["region"]),
        (replaced(root_sha256='"sha256:short"'), ["root_sha256"]),
        (replaced(spool_bytes_max="1000"), ["spool_bytes_max", "1000"]),
        (replaced(admin_socket='"/nowhere/of/all/admin.sock"'), ["/nowhere/of/all", "parent"]),
        (
            appended(
                '\n[[routes]]\nname = "x"\nprefix = "/x"\nprotocol = "openai"\nupstreams = ["y"]\n'
            ),
            ["route 'x'", "upstream 'y'"],
        ),
    ],
)
def test_a_configuration_that_cannot_work_ends_with_78_and_names_the_place(
    make_site: MakeSite, edit: Edit, words: list[str]
) -> None:
    ended = _run(make_site(edit))
    assert ended.returncode == 78
    assert ended.stdout == ""
    said = [line for line in ended.stderr.splitlines() if not line.startswith("{")]
    assert "Traceback" not in ended.stderr
    for word in words:
        assert word in "\n".join(said)


def test_a_configuration_that_is_not_there_ends_with_78(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "gatepost", "run", "--config", str(tmp_path / "absent.toml")],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 78
    assert "absent.toml" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("name", "host"),
    [("tcp_port", "127.0.0.1"), ("tcp_port", "::1"), ("probe_port", "127.0.0.1")],
)
def test_a_taken_port_ends_with_78_and_is_named(make_site: MakeSite, name: str, host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as taken:
        port = taken.getsockname()[1]
        ended = _run(make_site(replaced(**{name: str(port)})))
    assert ended.returncode == 78
    assert f"port {port}" in ended.stderr
    assert "taken by another process" in ended.stderr


def test_a_live_socket_is_never_stolen(make_site: MakeSite) -> None:
    place = make_site()
    daemon = place.start()
    ended = _run(place)
    assert ended.returncode == 78
    assert "Traceback" not in ended.stderr
    assert raw.ask(daemon.socket, raw.chat_request(MODEL)).status == 200


def test_a_refused_tenant_ends_with_78(make_site: MakeSite) -> None:
    ended = _run(make_site(replaced(region='"elsewhere"')))
    assert ended.returncode == 78
    assert "wrong_tenant" in ended.stderr


def test_without_a_certificate_nothing_is_decided(make_site: MakeSite, tmp_path: Path) -> None:
    """``no_key``: the bundle leaves no time without a certificate."""
    edits = (
        replaced(host_key_file=f'"{tmp_path}/host.key"'),
        replaced(one_time_token_file=f'"{tmp_path}/absent.token"'),
    )
    place = make_site(appended("", hurried, impatient, *edits))
    daemon = place.start()
    ends = place.central.ends
    reached = ends.total()
    reply = raw.ask(daemon.port, raw.chat_request(MODEL))
    assert (reply.status, reply.code) == (503, "no_key")
    assert ends.total() == reached
    status = daemon.status()
    assert not status.ready
    assert status.instance.enrolment_error is not None
    assert daemon.records.all(instance=daemon.instance) == []
    assert daemon.stop() == 75


def test_without_a_policy_calls_are_refused(make_central: MakeCentral, make_site: MakeSite) -> None:
    """``policy_unavailable``, recorded; and calls go on once there is a policy."""
    services = make_central(text=None)
    daemon = make_site(services=services).start()
    reply = raw.ask(daemon.port, raw.chat_request(MODEL))
    assert (reply.status, reply.code) == (503, "policy_unavailable")
    assert daemon.probe("/readyz") == (503, "policy is empty\n")
    record = services.records.decision(reply.decision_id)
    assert (record["policy"]["state"], record["policy"]["version"]) == ("empty", None)
    services.publish(rules())
    daemon.wait_status(lambda status: status.ready, "a policy")
    assert raw.ask(daemon.port, raw.chat_request(MODEL)).status == 200


def test_without_central_services_a_start_serves_its_last_policy(
    make_central: MakeCentral, make_site: MakeSite
) -> None:
    """The bundle of this test allows an hour without a certificate."""
    services = make_central(text=rules(uncertified_seconds_max=3_600))
    place = make_site(impatient, services)
    assert place.start().stop() == 0
    services.kill()
    daemon = place.start()
    reply = raw.ask(daemon.port, raw.chat_request(MODEL))
    assert reply.status == 200
    assert daemon.status().policy.state in ("fresh", "stale")
    services.start()
    # Enrolment tries again with a growing, random wait.
    record = services.records.decision(reply.decision_id, seconds=40)
    assert record["policy"]["version"] == 1
    assert services.records.detail(reply.decision_id)["certificate"] is not None
    assert daemon.stop() == 0


def test_a_failed_start_leaves_nothing_listening(make_site: MakeSite) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = make_site(replaced(probe_port=str(taken.getsockname()[1])))
        with pytest.raises(StartFailed, match="taken by another process"):
            place.start()
    assert not place.home.agent_socket.exists()
    assert not place.home.admin_socket.exists()
    assert raw.ask(place.start().port, raw.chat_request(MODEL)).status == 200
