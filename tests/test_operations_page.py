"""What the page for whoever is called at night names, the daemon really says."""

from __future__ import annotations

import re
from pathlib import Path

from gateway.errors import CODES
from sidecar.alarms import ALARMS
from sidecar.eventlog import EVENTS

_ROOT = Path(__file__).parent.parent
_PAGE = (_ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
_METRICS = set(re.findall(r'"(gatepost_\w+)"', (_ROOT / "sidecar" / "metrics.py").read_text()))
_OTHER = {"/readyz", "gatepost_ready"}


def _night() -> list[list[str]]:
    table = _PAGE.partition("| what somebody sees | what shows it | what to do |\n")[2]
    rows = table.partition("\n\n")[0].splitlines()[1:]
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows]


def test_every_sign_in_the_table_for_the_night_is_one_that_the_daemon_gives() -> None:
    metrics = _METRICS | {f"{name}_total" for name in _METRICS}
    known = set(CODES) | set(ALARMS) | set(EVENTS) | metrics | _OTHER
    rows = _night()
    named = {word for _, shown, _ in rows for word in re.findall(r"`([^`]+)`", shown)}
    assert len(rows) > 15
    assert sorted(named - known) == []


def test_every_row_of_the_night_says_what_to_do_and_every_section_it_sends_to_is_there() -> None:
    sections = set(re.findall(r"^##+ (.+)$", _PAGE, re.M))
    for _, shown, advice in _night():
        assert shown
        assert advice
        for section in re.findall(r'"([A-Z][^"]+)"', advice):
            assert section in sections
