"""Every line and every branch of the verifier is run by its own tests and vectors alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
VERIFIER = ("policy_cache/trusted.py", "gateway/roots.py")
LINES_MAX = 400
TESTS = ("test_trusted.py", "test_vectors.py")


@pytest.mark.timeout(300)
def test_the_verifier_is_covered_whole_by_its_own_tests(tmp_path: Path) -> None:
    data = f"--data-file={tmp_path / 'coverage'}"
    tests = [f"tests/unit/policy_cache/{name}" for name in TESTS]
    run = ["run", "--branch", data, f"--include={','.join(VERIFIER)}", "-m", "pytest", "-q", "-x"]
    report = ["report", data, "--show-missing", "--fail-under=100"]
    for arguments in ([*run, "-p", "no:cacheprovider", *tests], report):
        command = [sys.executable, "-m", "coverage", *arguments]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stdout + ended.stderr
    assert all(name in ended.stdout for name in VERIFIER)


def test_the_verifier_is_short_enough_to_be_read_at_once() -> None:
    assert len((ROOT / VERIFIER[0]).read_bytes().splitlines()) <= LINES_MAX
