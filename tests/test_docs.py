"""What can rot in the documentation: commands, settings, links, codes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from gatepost import configuration_page
from gatepost.cli import main
from gateway.errors import CODES
from sidecar.alarms import ALARMS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = sorted(
    [
        ROOT / "README.md",
        ROOT / "SECURITY.md",
        ROOT / "k8s" / "README.md",
        *(ROOT / "docs").rglob("*.md"),
    ]
)
MAKEFILE = (ROOT / "Makefile").read_text()


def test_the_generated_configuration_page_matches_the_types() -> None:
    target = ROOT / configuration_page.PAGE
    if os.environ.get("GATEPOST_UPDATE_GOLDEN"):
        target.write_text(configuration_page.page())
    assert target.read_text() == configuration_page.page()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_gatepost_command_in_the_docs_exists(page: Path) -> None:
    known = set(main.list_commands(None))  # type: ignore[arg-type]  # it takes no context
    for command in re.findall(r"(?:^ {4}|`|\()gatepost ([a-z][a-z-]+)", page.read_text(), re.M):
        assert command in known, f"{page.name}: gatepost {command}"


def test_every_make_target_in_the_readme_exists() -> None:
    for target in re.findall(r"(?:^ {4}|`)make ([a-z-]+)", README, re.M):
        assert re.search(rf"^{target}:", MAKEFILE, re.M), target


def test_every_command_names_the_page_that_shows_it_at_work() -> None:
    context = click.Context(main)
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        (page,) = re.findall(r"docs/[a-z-]+\.md", command.get_help(context))
        assert f"gatepost {name}" in (ROOT / page).read_text(), f"{name}: {page}"


def test_every_command_that_is_listed_explains_itself() -> None:
    for name in main.list_commands(None):  # type: ignore[arg-type]  # it takes no context
        shown = subprocess.run(
            [sys.executable, "-m", "gatepost", name, "--help"],
            capture_output=True,
            check=True,
            timeout=30,
        )
        assert b"Usage:" in shown.stdout


def test_every_refusal_that_the_docs_name_with_its_status_is_one() -> None:
    named = 0
    for page in PAGES:
        for status, code in re.findall(r"\b([45]\d\d) `([a-z_]+)`", page.read_text()):
            assert code in CODES, f"{page.name}: {code}"
            assert CODES[code].status == int(status), f"{page.name}: {status} {code}"
            named += 1
    assert named >= 5


def test_operators_are_told_what_to_do_for_every_alarm_and_for_no_other() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    table = page.partition("| alarm | up when | what to do |\n")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in table.splitlines()[1:]]
    assert [name for name, _, _ in rows] == [f"`{name}`" for name in ALARMS]
    assert all(when and advice for _, when, advice in rows)
