"""The two commands that run everything on one machine: the demonstration, and ``up``."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import pytest

from gatepost.admin_socket import ask
from gatepost.faults import InputOutputError
from gatepost.home import Home
from sidecar.status import DaemonStatus
from tests.integration.waiting import eventually

pytestmark = pytest.mark.integration


def test_the_demonstration_is_as_it_should_be() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "gatepost", "demo", "--json"],
        capture_output=True,
        timeout=55,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr.decode()
    told = msgspec.json.decode(shown.stdout)
    assert told["ok"] is True
    denied = [row for row in told["verdict"]["rows"] if row["call"]["expected"] == "denied"]
    assert len(denied) >= 3
    assert [row["upstream_requests"] for row in denied] == [0] * len(denied)
    assert told["verdict"]["flipped_exit"] == 1


@contextmanager
def _up(home: Home, *options: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "gatepost", "up", "--home", str(home.directory)]
    ports = ["--port", "0", "--probe-port", "0", "--central-port", "0"]
    with subprocess.Popen(
        [*command, *ports, *options], stderr=subprocess.PIPE, text=True
    ) as running:
        try:
            yield running
        finally:
            running.terminate()
            running.wait(40)


def _ready(home: Home, version: int) -> DaemonStatus | None:
    """The status of a daemon that decides by this version of the policy."""
    try:
        status = msgspec.json.decode(ask(str(home.admin_socket), "/status"), type=DaemonStatus)
    except InputOutputError:
        return None
    return status if status.ready and status.policy.version == version else None


def test_up_keeps_its_home_and_publishes_what_was_edited(base: Path) -> None:
    home = Home(base / "up")
    with _up(home) as running:
        first = eventually(lambda: _ready(home, 1), "a ready daemon", 40)
        running.send_signal(signal.SIGINT)
        assert running.wait(40) == 0
    fingerprint = home.root_fingerprint
    assert home.keys.stat().st_mode & 0o077 == 0
    assert all(key.stat().st_mode & 0o077 == 0 for key in home.keys.iterdir())
    home.policy_json.write_text(home.policy_json.read_text().replace("gpt-4.1-mini", "gpt-6"))
    with _up(home):
        second = eventually(lambda: _ready(home, 2), "the edited policy", 40)
    assert home.root_fingerprint == fingerprint
    assert second.instance.id != first.instance.id


@pytest.mark.parametrize("begun", ["central.log", "provider.log", "sidecar.log"])
def test_up_that_is_ended_while_it_starts_leaves_nobody_behind(base: Path, begun: str) -> None:
    home = Home(base / begun.partition(".")[0])
    with _up(home) as running:
        eventually((home.logs / begun).exists, "the start of that process")
        running.terminate()
        assert running.wait(40) == 0
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            assert str(home.directory).encode() not in process.read_bytes()


def test_up_says_which_port_is_taken(base: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with _up(Home(base / "never"), "--port", str(port)) as running:
            assert running.wait(20) == 2
            assert running.stderr is not None
            assert f"port {port} is taken" in running.stderr.read()
    assert not (base / "never").exists()
