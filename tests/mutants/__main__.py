"""``python -m tests.mutants [MUTANT...] [--json]``: does the simulated world notice breakages?

Exit code 0: every mutant was caught; 1: one was not, or a patch does not apply, or the unmodified
source fails; 2: there is no such mutant.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Final

import msgspec

from tests.mutants import mutant
from tests.mutants.campaign import Campaign, Report
from tests.mutants.trial import Limits
from tests.sim.seeds import FIXED

ROOT: Final = Path(__file__).parent.parent.parent


def main(arguments: list[str]) -> int:
    """Run and report; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("mutants", nargs="*", metavar="MUTANT", help="names of patches; all")
    parser.add_argument("--json", action="store_true", help="the report as JSON, on stdout")
    asked = parser.parse_args(arguments)
    try:
        mutants = mutant.read_all(asked.mutants)
    except mutant.MutantInvalid as invalid:
        print(invalid, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="gatepost-mutants-") as place:
        report = Campaign(ROOT, Path(place), FIXED, _progress, Limits()).run(mutants)
    print(msgspec.json.encode(report).decode() if asked.json else _table(report))
    return 0 if report.sound else 1


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _table(report: Report) -> str:
    rows = [("mutant", "caught by", "seed", "seconds")]
    for one in report.verdicts:
        caught = one.checker if one.problem is None else "NOT CAUGHT"
        rows.append((one.mutant, str(caught), str(one.seed or "-"), str(one.seconds)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    lines += [f"{one.mutant}: {one.problem}" for one in report.verdicts if one.problem]
    return "\n".join(lines + report.faults)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
