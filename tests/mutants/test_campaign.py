"""What the runner counts as caught: the violation of a law in a world, and nothing else."""

from __future__ import annotations

import difflib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.mutants import __main__ as command
from tests.mutants import tree
from tests.mutants.campaign import Campaign, Report
from tests.mutants.mutant import Mutant, read, read_all
from tests.mutants.trial import Limits

ROOT = Path(__file__).parent.parent.parent
SEED = 3
CALLS = 10
"""Of each agent: a small world, in which a batch that is not synced is noticed at once."""

pytestmark = pytest.mark.timeout(240)


ANCHOR = '    """Write all of ``data``: a write may be short, and says so only by its count."""\n'


def patch(folder: Path, file: str, old: str, new: str) -> Mutant:
    """A patch file that replaces ``old`` in ``file``."""
    before = (ROOT / file).read_text()
    assert before.count(old) == 1
    after = before.replace(old, new)
    old_lines, new_lines = (text.splitlines(keepends=True) for text in (before, after))
    diff = "".join(difflib.unified_diff(old_lines, new_lines, f"a/{file}", f"b/{file}"))
    path = folder / "made-here.patch"
    path.write_text(f"It is broken.\n\nCaught by: durable\n\n{diff}")
    return read(path)


def run(mutants: list[Mutant], place: Path, root: Path = ROOT, seconds: float = 200.0) -> Report:
    limits = Limits(seconds=seconds, calls=CALLS)
    return Campaign(root, place / "copies", (SEED,), print, limits).run(mutants)


def problem(report: Report) -> str:
    assert not report.sound
    assert not report.faults
    (verdict,) = report.verdicts
    assert verdict.problem is not None
    return verdict.problem


def test_a_broken_law_is_caught_with_checker_and_seed(tmp_path: Path) -> None:
    report = run(read_all(["no-fdatasync"]), tmp_path)
    assert report.sound
    assert report.unmodified == [SEED]
    (verdict,) = report.verdicts
    assert (verdict.checker, verdict.seed) == ("durable", SEED)
    assert "not durable" in (verdict.violation or "")


def test_a_patch_that_breaks_nothing_survives(tmp_path: Path) -> None:
    mutant = patch(tmp_path, "spool/segment.py", "the order of writes that", "the order that")
    report = run([mutant], tmp_path)
    assert problem(report) == "survived the worlds of 1 seeds"


def test_a_patch_that_does_not_apply_is_named_with_its_file(tmp_path: Path) -> None:
    mutant = patch(tmp_path, "spool/segment.py", "FILE_MODE = 0o600", "FILE_MODE = 0o640")
    mutant.path.write_text(mutant.path.read_text().replace("0o600", "0o660"))
    report = run([mutant, *read_all(["no-fdatasync"])], tmp_path)
    assert not report.sound
    assert report.verdicts == []
    (fault,) = report.faults
    assert "made-here.patch does not apply any more" in fault
    assert "spool/segment.py" in fault


def test_an_import_error_is_not_caught(tmp_path: Path) -> None:
    mutant = patch(tmp_path, "spool/segment.py", "from spool import frame\n", "import nothing\n")
    assert "No module named 'nothing'" in problem(run([mutant], tmp_path))


def test_a_simulator_that_raises_is_not_caught(tmp_path: Path) -> None:
    mutant = patch(tmp_path, "spool/segment.py", ANCHOR, f"{ANCHOR}    raise ArithmeticError\n")
    assert "the simulator ended with 1" in problem(run([mutant], tmp_path))


def test_a_world_without_end_is_not_caught(tmp_path: Path) -> None:
    endless = "    while data:\n        pass\n"
    mutant = patch(tmp_path, "spool/segment.py", ANCHOR, ANCHOR + endless)
    assert problem(run([mutant], tmp_path, seconds=8.0)) == "no end within 8 s"


def test_another_checker_than_the_patch_names_does_not_count(tmp_path: Path) -> None:
    (mutant,) = read_all(["no-fdatasync"])
    other = replace(mutant, checkers=("answers",), seeds=())
    assert "noticed by durable, and its patch says answers" in problem(run([other], tmp_path))


def test_nothing_counts_if_the_unmodified_source_fails(tmp_path: Path) -> None:
    (mutant,) = read_all(["no-fdatasync"])
    assert SEED in mutant.seeds
    broken = tree.copy_source(ROOT, tmp_path / "broken")
    tree.apply(mutant, broken)
    other = patch(tmp_path, "spool/segment.py", "FILE_MODE = 0o600", "FILE_MODE = 0o640")
    report = run([replace(other, seeds=(SEED,))], tmp_path, root=broken)
    assert not report.sound
    assert report.verdicts == []
    assert f"the unmodified source does not pass seed {SEED}: durable: " in report.faults[0]


def test_a_world_of_another_source_is_refused(tmp_path: Path) -> None:
    copy = tree.copy_source(ROOT, tmp_path / "copy")
    shutil.rmtree(copy / "spool")
    done = subprocess.run(
        [sys.executable, "-B", "-m", "tests.mutants.inside", str(CALLS), str(SEED)],
        cwd=copy,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 1
    assert done.stdout == b""
    assert b"not a world of this copy: spool" in done.stderr


def test_the_command_says_which_mutants_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["nothing"]) == 2
    assert "no mutant nothing" in capsys.readouterr().err
