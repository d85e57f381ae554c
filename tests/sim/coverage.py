"""How much of the product the simulated world runs: ``python -m tests.sim.coverage``.

Runs the simulated faults of policy and a fixed set of seeds under coverage of the four packages
that make a daemon, prints the table by file and by package, and ends with 1 below 85 % for the
whole or for any package, or if a law was broken. Everything runs in this process, one after the
other. A module that nothing of a daemon and nothing of its world imports is named and not counted.
Owns: the seeds, the bound and the table. Refuses: ``gateway/io``, which is real sockets and files,
and the tests of the parts; a line that only a unit test runs does not count here.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Final

import coverage

PACKAGES: Final = ("gateway", "policy_cache", "spool", "sidecar")
LEFT_OUT: Final = (
    "gateway/io/*",
    "gateway/*_audit.py",
    "gateway/condition_order.py",
    "gateway/policy_diff.py",
    "gateway/quorum.py",
    "gateway/revoking.py",
    "gateway/witness.py",
    "gateway/witness_policy.py",
    "gateway/workload_token.py",
)
"""Real sockets and files, and what central services and the offline verifier import and no daemon
does."""
FAULTS: Final = (
    "tests/sim/test_policy_document_faults.py",
    "tests/sim/test_policy_node_faults.py",
    "tests/sim/test_policy_source_faults.py",
)
"""The simulated faults of policy, which seeds meet too rarely."""
SEEDS: Final = (1, 2, 3, 8)
PERCENT_MIN: Final = 85.0


def main() -> int:
    """Run, print, judge."""
    measured = coverage.Coverage(source=list(PACKAGES), omit=list(LEFT_OUT), data_file=None)
    measured.start()
    # Imported here, or the lines that run at import would not count; by pytest first: it rewrites.
    import pytest

    sound = pytest.main(["-q", "-p", "no:cacheprovider", *FAULTS]) == pytest.ExitCode.OK
    from tests.sim.place import place_of
    from tests.sim.world import plan_of, run_world

    for seed in SEEDS:
        with place_of(seed) as directory:
            outcome = run_world(seed, plan_of(seed), directory)
        print(outcome, flush=True)
        for violation in outcome.violations:
            sound = False
            print(f"  {violation}", file=sys.stderr)
    measured.stop()
    measured.report(show_missing=True, skip_covered=True)
    return 0 if _is_enough(measured) and sound else 1


def _is_enough(measured: coverage.Coverage) -> bool:
    lines, missed = Counter[str](), Counter[str]()
    for path in measured.get_data().measured_files():
        _, statements, _, missing, _ = measured.analysis2(path)
        place = Path(path).relative_to(Path.cwd())
        if missing == statements and statements:
            # No part of a daemon: something else imports it, or nothing does yet.
            print(f"not counted, because nothing here imports it: {place}")
            continue
        package = place.parts[0]
        for name in (package, "all of it"):
            lines[name] += len(statements)
            missed[name] += len(missing)
    enough = True
    print()
    for name in (*PACKAGES, "all of it"):
        percent = 100.0 * (1 - missed[name] / lines[name]) if lines[name] else 0.0
        good = percent >= PERCENT_MIN
        enough = enough and good
        bound = "" if good else f", below {PERCENT_MIN:.0f} %"
        print(f"{name:12} {lines[name]:6} lines {percent:5.1f} %{bound}")
    return enough


if __name__ == "__main__":
    sys.exit(main())
