"""Copies of the source, and patches on them: nothing that ships is ever changed, or can be.

Owns: what belongs into a copy, and saying which patch does not fit which file. Refuses: running
anything in it (``trial.py``).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

from tests.mutants.mutant import Mutant

SOURCES: Final = (
    *("gateway", "policy_cache", "spool", "sidecar", "central", "gatepost"),
    *("tests/sim", "tests/mutants"),
)
_SKIPPED: Final = shutil.ignore_patterns("__pycache__", "test_*.py", "*.patch")


class PatchFailed(Exception):
    """A patch that does not fit the source any more: the source moved on, and it must follow."""


def copy_source(root: Path, target: Path) -> Path:
    """A copy of what a simulated world is made of. Returns ``target``, which is new."""
    for name in SOURCES:
        shutil.copytree(root / name, target / name, ignore=_SKIPPED)
    return target


def apply(mutant: Mutant, tree: Path) -> None:
    """Apply the patch of ``mutant`` to the copy ``tree``. Raises PatchFailed."""
    # A copy may lie below some checkout, whose files are not meant.
    apart = {**os.environ, "GIT_CEILING_DIRECTORIES": str(tree.resolve().parent)}
    done = subprocess.run(
        ["git", "apply", str(mutant.path.resolve())],
        cwd=tree,
        env=apart,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = re.findall(r"^error: (?!while searching)(.*)$", done.stderr, re.M)
        why = "; ".join(said) or done.stderr.strip()
        raise PatchFailed(f"{mutant.path.name} does not apply any more: {why}")
