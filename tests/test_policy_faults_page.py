"""The table of faults in ``docs/policy.md`` names tests that exist, one or more for each row."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROWS_MIN = 25


def _rows() -> list[list[str]]:
    text = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8")
    table = text.partition("## Faults\n")[2].partition("\n## ")[0]
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines[2:]]


def _tests() -> set[str]:
    trees = (ast.parse(path.read_bytes()) for path in (ROOT / "tests").rglob("test_*.py"))
    return {
        node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)
    }


def test_every_fault_of_policy_has_a_test_that_exists() -> None:
    rows, tests = _rows(), _tests()
    assert len(rows) >= ROWS_MIN
    missing = {
        row[0]: row[-1]
        for row in rows
        if not (named := re.findall(r"`(test_\w+)`", row[-1])) or not set(named) <= tests
    }
    assert missing == {}
