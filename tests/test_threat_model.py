"""What the threat model calls proved, is: every test that it names exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

_ROOT = Path(__file__).parent.parent
_PAGE = _ROOT / "docs" / "threat-model.md"
_NAMED = re.compile(r"`(test_\w+)`")
_FILES = re.compile(r"`((?:tests|k8s)/[\w/.-]+)`")


def _tests() -> set[str]:
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in _ROOT.glob("tests/**/*.py"))
    return {
        node.name
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_every_test_that_the_threat_model_names_exists() -> None:
    named = set(_NAMED.findall(_PAGE.read_text(encoding="utf-8")))
    assert len(named) > 30
    assert sorted(named - _tests()) == []


def test_every_place_that_the_threat_model_names_exists() -> None:
    named = _FILES.findall(_PAGE.read_text(encoding="utf-8"))
    assert named
    assert [name for name in named if not (_ROOT / name).exists()] == []
