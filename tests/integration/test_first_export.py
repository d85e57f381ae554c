"""The commands of ``docs/first-export.md``, as somebody new would type them, in one shell."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gatepost.central_client import CentralClient
from gatepost.process import Children
from tests.integration.waiting import eventually

PAGE = (Path(__file__).parent.parent.parent / "docs" / "first-export.md").read_text()
URL = "http://127.0.0.1:4143"

pytestmark = pytest.mark.integration


class Page(msgspec.Struct):
    items: list[dict[str, object]]


@pytest.fixture
def central(tmp_path: Path) -> Iterator[str]:
    """``gatepost up`` on free ports; the URL of its services."""
    options = ["--port", "0", "--probe-port", "0", "--central-port", "0"]
    home = tmp_path / ".gatepost"
    with Children(tmp_path) as children:
        child = children.start("up", "gatepost", ["up", "--home", str(home), *options])
        said = tmp_path / "up.log"
        eventually(lambda: "to stop:" in said.read_text(), "gatepost up is ready", seconds=90)
        assert not children.dead(), child.last_words()
        found = re.search(r"^central +(http://\S+)", said.read_text(), re.M)
        assert found is not None
        yield found[1]


def commands() -> tuple[list[str], list[str]]:
    """Those before the records are asked for, and those after."""
    found = re.findall(r"^ {4}\$ (.+)$", PAGE, re.M)
    at = next(number for number, one in enumerate(found) if one.startswith("token="))
    return found[:at], found[at:]


def run(script: list[str], directory: Path, central: str) -> str:
    beside = Path(sys.executable).parent
    kept = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    ended = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", "\n".join(script).replace(URL, central)],
        cwd=directory,
        env={**kept, "PATH": f"{beside}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.mark.timeout(240)
def test_every_command_of_the_page_does_what_it_says(tmp_path: Path, central: str) -> None:
    before, after = commands()
    assert (len(before), len(after)) >= (3, 10)
    called = run(before, tmp_path, central)
    assert '"object":"chat.completion"' in called.replace(" ", "")
    assert "no rule allows this" in called
    token = (tmp_path / ".gatepost" / "keys" / "auditor.token").read_text().strip()
    client = CentralClient(central, token)

    def shipped() -> bool:
        page = msgspec.json.decode(client.get("/v1/records?kind=completion"), type=Page)
        return bool(page.items)

    eventually(shipped, "the call's records are in the store")
    told = run(after, tmp_path, central)
    assert '"outcome":"deny"' in told
    assert '"outcome":"allow"' in told
    assert "complete export" in told
    assert "incomplete" in told
    assert told.count("signatures checked") == 2


def test_every_entry_of_the_home_is_in_the_table(tmp_path: Path, central: str) -> None:
    table = PAGE.partition("## What lies in")[2]
    named = set(re.findall(r"`([a-z.-]+?)/?`", table))
    home = tmp_path / ".gatepost"
    there = {path.name for path in home.iterdir()}
    keys = {path.name.removesuffix(".key") for path in (home / "keys").glob("*.key")}
    tokens = {path.name for path in (home / "keys").glob("*.token")}
    assert there | keys | tokens <= named
