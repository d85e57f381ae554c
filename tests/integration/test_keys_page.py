"""The commands of ``docs/keys.md``, as a holder would type them, in one shell."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gatepost import signed_file

PAGE = (Path(__file__).parent.parent.parent / "docs" / "keys.md").read_text()

pytestmark = pytest.mark.integration


def _script(page: str) -> list[str]:
    """The commands after ``$``, each with the indented lines that follow it."""
    commands: list[str] = []
    for block in re.findall(r"(?:^ {4}.*\n)+", page, re.M):
        if not block.startswith("    $ "):
            continue
        for line in block.splitlines():
            text = line[4:]
            if text.startswith("$ "):
                commands.append(text[2:])
            else:
                commands[-1] += "\n" + text
    return commands


@pytest.mark.timeout(240)
def test_every_command_of_the_page_does_what_it_says(tmp_path: Path) -> None:
    commands = _script(PAGE)
    assert len(commands) >= 20
    beside = Path(sys.executable).parent
    ended = subprocess.run(
        ["sh", "-eu", "-c", "\n".join(commands)],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{beside}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "root: loses ed25519:" in ended.stdout
    assert ended.stdout.count("put it as 1.json into roots_directory") == 2
    assert "not trusted from 2026-11-28T09:30:00.000000Z on" in ended.stdout
    chain = signed_file.read_roots(tmp_path / "roots")
    assert [root.version for root in chain] == [1, 2]
    assert chain[1].custody == "offline"
