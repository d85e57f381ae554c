"""The programs in ``examples/``, run as their first lines say, against the running daemon."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gatepost.config_file import load
from gatepost.env import variables
from tests.integration.system import Daemon

pytestmark = pytest.mark.integration

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def run(daemon: Daemon, *command: str) -> str:
    environment = {**os.environ, **variables(load(daemon.site.home.sidecar_toml), daemon.port)}
    ended = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=50
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def example(daemon: Daemon, name: str, *arguments: str) -> str:
    return run(daemon, sys.executable, str(EXAMPLES / name), *arguments)


def test_openai_by_its_environment_is_answered_and_denied(daemon: Daemon) -> None:
    answered, denied = example(daemon, "openai_env.py").splitlines()
    assert answered
    assert denied.startswith("denied: ")


def test_openai_over_the_socket_streams(daemon: Daemon) -> None:
    assert example(daemon, "openai_socket.py", daemon.socket).strip()


def test_anthropic_by_its_environment_streams(daemon: Daemon) -> None:
    assert example(daemon, "anthropic_stream.py").strip()


def test_an_mcp_client_gets_the_small_refund_and_not_the_large_one(daemon: Daemon) -> None:
    small, large = example(daemon, "mcp_tools.py", daemon.tools_url).splitlines()
    assert "120" in small
    assert large.startswith("denied: ")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_speaks_over_the_socket(daemon: Daemon) -> None:
    answer = run(daemon, "sh", str(EXAMPLES / "curl_socket.sh"), daemon.socket)
    assert '"choices"' in answer


def test_every_example_is_run_here() -> None:
    programs = {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".sh")}
    text = Path(__file__).read_text()
    assert programs == {name for name in programs if f'"{name}"' in text}
