"""The patches as files: each can be read, and the documentation lists exactly these."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from tests.mutants import tree
from tests.mutants.mutant import FOLDER, MutantInvalid, read, read_all
from tests.mutants.table import HEAD, table

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "simulation.md"
REQUIRED = frozenset(
    {
        *("no-fdatasync", "acknowledge-before-sync", "delete-before-acknowledgement"),
        *("ship-past-durable", "skip-directory-sync", "forward-before-commit", "skip-checksum"),
        *("drop-policy-check", "clean-end-on-cut-upstream", "retry-tool-call"),
    }
)


def test_the_generated_table_of_mutants_is_that_of_the_patches() -> None:
    page = PAGE.read_text()
    listed = re.compile(re.escape(HEAD) + r"(?:\|.*\n)*")
    if os.environ.get("GATEPOST_UPDATE_GOLDEN"):
        page = listed.sub(lambda _: table(read_all([])), page)
        PAGE.write_text(page)
    found = listed.search(page)
    assert found is not None
    assert found[0] == table(read_all([]))


def test_no_mutant_that_is_asked_for_by_name_is_missing() -> None:
    assert {one.name for one in read_all([])} >= REQUIRED


def test_each_checker_that_a_patch_names_is_one_of_the_page() -> None:
    checkers = PAGE.read_text().partition("## Checkers")[2].partition("\n## ")[0]
    known = set(re.findall(r"^\| `([a-z_]+)` \|", checkers, re.M))
    for mutant in read_all([]):
        assert set(mutant.checkers) <= known, mutant.name


def test_every_patch_applies_and_touches_product_code_only(tmp_path: Path) -> None:
    copy = tree.copy_source(ROOT, tmp_path / "copy")
    for mutant in read_all([]):
        touched = re.findall(r"^\+\+\+ b/(\S+)", mutant.path.read_text(), re.M)
        assert touched
        assert not [name for name in touched if name.startswith("tests/")], mutant.name
        tree.apply(mutant, copy)
        for name in touched:
            assert (copy / name).read_bytes() != (ROOT / name).read_bytes()
            shutil.copyfile(ROOT / name, copy / name)


@pytest.mark.parametrize(
    ("head", "wrong"),
    [
        ("", "begins with a paragraph"),
        ("Something is broken.\n\n", "begins with a paragraph"),
        ("Something is broken.\n\nCaught by: durable\nSeeds: 5 x\n\n", "begins with a paragraph"),
        ("Something is broken.\n\nCaught by: durable\nSeeds: 123456\n\n", "not among the fixed"),
    ],
)
def test_a_patch_without_a_sound_head_is_refused(tmp_path: Path, head: str, wrong: str) -> None:
    path = tmp_path / "bad.patch"
    path.write_text(f"{head}--- a/spool/segment.py\n+++ b/spool/segment.py\n")
    with pytest.raises(MutantInvalid, match=wrong):
        read(path)


def test_an_unknown_mutant_is_refused_with_the_names_that_there_are() -> None:
    with pytest.raises(MutantInvalid, match=r"no mutant nothing; there are .*no-fdatasync"):
        read_all(["nothing"], FOLDER)
