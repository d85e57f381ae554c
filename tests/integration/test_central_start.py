"""Central services that cannot start say why, and end with 78."""

from __future__ import annotations

import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from gatepost.process import Children
from tests.integration.system import Central, Edit, appended, replaced, same

pytestmark = pytest.mark.integration


def _run(
    central: Central, directory: Path, edit: Edit, command: str = "central"
) -> subprocess.CompletedProcess[str]:
    config = directory / "central.toml"
    text = replaced(data_directory=f'"{directory}/data"', port="0")(
        central.home.central_toml.read_text()
    )
    config.write_text(edit(text))
    return subprocess.run(
        [sys.executable, "-m", "gatepost", command, "--config", str(config)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize(
    ("edit", "word"),
    [
        (appended("\n[unheard_of]\n"), "unheard_of"),
        (replaced(root_fingerprint=f'"sha256:{"0" * 64}"'), "root"),
        (replaced(issuer='"/absent.key"'), "/absent.key"),
        (replaced(resign_seconds="1000000"), "resign_seconds"),
    ],
)
def test_a_configuration_that_cannot_work_ends_with_78(
    central: Central, tmp_path: Path, edit: Edit, word: str
) -> None:
    ended = _run(central, tmp_path, edit)
    assert (ended.returncode, ended.stdout) == (78, "")
    assert word in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_taken_port_ends_with_78_and_is_named(central: Central, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = _run(central, tmp_path, replaced(port=str(port)))
    assert ended.returncode == 78
    assert f"port {port}" in ended.stderr
    assert "Traceback" not in ended.stderr


def _without_the_logs_key(text: str) -> str:
    return "".join(line for line in text.splitlines(True) if not line.startswith("log = "))


def test_an_issuer_apart_does_not_start_with_the_key_of_the_log(
    central: Central, tmp_path: Path
) -> None:
    ended = _run(central, tmp_path, same, "issuer")
    assert (ended.returncode, ended.stdout) == (78, "")
    assert "keys.log: an issuer that runs apart" in ended.stderr


def test_an_issuer_apart_serves_enrolment_and_nothing_else(
    central: Central, tmp_path: Path
) -> None:
    config = tmp_path / "issuer.toml"
    text = replaced(data_directory=f'"{tmp_path}/data"', port="0")(
        central.home.central_toml.read_text()
    )
    config.write_text(_without_the_logs_key(text))
    with Children(tmp_path) as children:
        child = children.start("issuer", "gatepost", ["issuer", "--config", str(config)])
        announced = child.wait_ready()
        assert announced["one_operator"] is False
        url = str(announced["url"])
        ready = urllib.request.urlopen(f"{url}/readyz", timeout=10).read()
        assert ready == b'{"ready":true,"one_operator":false,"alarms":[]}'
        asked = urllib.request.Request(f"{url}/v1/enrol/nonce", data=b"", method="POST")
        assert b"nonce" in urllib.request.urlopen(asked, timeout=10).read()
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{url}/v1/records", timeout=10)
        assert (tmp_path / "data" / "issuer.db").exists()
        assert child.stop() == 0
