"""Central services that cannot start say why, and end with 78."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.system import Central, Edit, appended, replaced

pytestmark = pytest.mark.integration


def _run(central: Central, directory: Path, edit: Edit) -> subprocess.CompletedProcess[str]:
    config = directory / "central.toml"
    text = replaced(data_directory=f'"{directory}/data"', port="0")(
        central.home.central_toml.read_text()
    )
    config.write_text(edit(text))
    return subprocess.run(
        [sys.executable, "-m", "gatepost", "central", "--config", str(config)],
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
