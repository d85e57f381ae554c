"""The rows of the table of breakages in ``docs/simulation.md``, from the patches themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tests.mutants.mutant import Mutant

HEAD: Final = "| mutant | what is broken | noticed by |\n| --- | --- | --- |\n"


def table(mutants: Sequence[Mutant]) -> str:
    """One row per patch, by name."""
    return HEAD + "".join(
        f"| `{one.name}` | {one.text} | {', '.join(f'`{name}`' for name in one.checkers)} |\n"
        for one in mutants
    )
