"""The command as a whole: its parts, what each imports, and usage errors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gateway import __version__
from tests.exports import PIN, sound
from tests.unit.gatepost.running import gatepost

COMMANDS = {
    *(
        "run",
        "drain",
        "central",
        "demo",
        "up",
        "env",
        "init",
        "check-config",
        "status",
        "tail",
        "spool",
        "verify",
        "witness",
    ),
}


def test_the_list_names_every_command_with_a_line() -> None:
    ended = gatepost("--help")
    assert ended.code == 0
    for name in COMMANDS:
        assert f"\n  {name} " in ended.out


def test_the_version_is_the_packages() -> None:
    assert gatepost("--version").out.strip() == f"gatepost, version {__version__}"


@pytest.mark.parametrize(
    "arguments",
    [
        ["unheard-of"],
        ["verify"],
        ["verify", "export", "--root"],
        ["check-config"],
        ["run"],
        ["drain"],
        ["drain", "--config", "x", "--every-seconds", "5"],
        ["drain", "--config", "x", "--watch", "--timeout-seconds", "5"],
        ["central"],
        ["status", "--unheard-of"],
        ["init", "a", "b"],
        ["init", "--uid", "x"],
    ],
)
def test_wrong_usage_is_2_and_says_what_is_wrong(arguments: list[str]) -> None:
    ended = gatepost(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert "Error: " in ended.err


@pytest.mark.parametrize("text", [None, b"tenant = 1", b"\xff"])
def test_a_daemon_without_a_configuration_is_78(tmp_path: Path, text: bytes | None) -> None:
    path = tmp_path / "sidecar.toml"
    if text is not None:
        path.write_bytes(text)
    ended = gatepost("run", "--config", path)
    assert (ended.code, ended.out) == (78, "")
    assert "sidecar.toml" in ended.err
    assert gatepost("central", "--config", path).code == 78
    assert gatepost("drain", "--config", path).code == 78


def imported(*arguments: str) -> set[str]:
    """Top-level modules that a run of the command imports."""
    script = (
        "import sys\n"
        "from gatepost.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True
    )
    return set(ended.stderr.splitlines()[-1].split())


def test_a_command_imports_what_it_needs(tmp_path: Path) -> None:
    """A verifier runs where no daemon does; help should not cost a second."""
    heavy = {"litestar", "uvicorn", "openai", "anthropic", "mcp", "hyperscan", "sidecar", "central"}
    assert heavy.isdisjoint(imported("--help"))
    assert {"openai", "anthropic", "mcp"}.isdisjoint(imported("demo", "--help"))
    offline = heavy | {"anyio", "h11", "spool", "policy_cache"}
    (tmp_path / "export").touch()
    found = imported("verify", str(tmp_path / "export"), "--root", "sha256:" + "0" * 64)
    assert offline.isdisjoint(found)
    assert {"nacl", "rich"} <= found


def test_the_verifier_runs_with_two_packages_alone(tmp_path: Path) -> None:
    """An auditor's machine has neither our configuration nor our terminal."""
    path = tmp_path / "export.ndjson"
    path.write_bytes(b"".join(sound()))
    script = (
        "import runpy, sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        top = name.partition('.')[0]\n"
        "        ours = {'gatepost', 'gateway', 'msgspec', 'nacl', 'cffi', '_cffi_backend'}\n"
        "        if top not in ours and top not in sys.stdlib_module_names:\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "runpy.run_module('gatepost.verifier', run_name='__main__', alter_sys=True)\n"
    )
    command = [sys.executable, "-c", script, str(path), "--root"]
    ended = subprocess.run([*command, PIN], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "all proved" in ended.stdout
    assert "inclusion     true" in ended.stdout
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    ended = subprocess.run([*command, PIN], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "first: " in ended.stdout
    ended = subprocess.run([*command, "nonsense"], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    looking = {"litestar", "uvicorn", "openai", "anthropic", "mcp", "hyperscan", "central"}
    assert looking.isdisjoint(imported("status", "--socket", str(tmp_path / "absent")))
    assert looking.isdisjoint(imported("spool", "ls", "--directory", str(tmp_path)))
    assert looking.isdisjoint(imported("env", "--config", str(tmp_path / "absent")))
