"""What every test run shares: the async backend, the Hypothesis profile and loud skips.

A skipped test proves nothing, so each is listed with its reason and counted at the end of the
run; with ``GATEPOST_SKIPS_FAIL=1`` (as in ``make test-system``) a skip is a failure.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Generator
from typing import TypeVar

import pytest
from hypothesis import settings

_SKIPS_FAIL = os.environ.get("GATEPOST_SKIPS_FAIL") == "1"

# No deadline: two cores are shared with whatever else runs. No example database: a failure prints
# the blob that reproduces it, and the same commit gives the same examples everywhere.
settings.register_profile(
    "gatepost", max_examples=60, deadline=None, database=None, derandomize=True, print_blob=True
)
settings.load_profile("gatepost")

ReportT = TypeVar("ReportT", pytest.TestReport, pytest.CollectReport)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Production runs on asyncio; the plain loop, because uvloop hides warnings of coroutines."""
    return ("asyncio", {"use_uvloop": False})


def _skip_reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    return str(report.longrepr)


def _fail_if_skipped(report: ReportT) -> ReportT:
    # An expected failure is reported as skipped too; it did run.
    if _SKIPS_FAIL and report.skipped and not hasattr(report, "wasxfail"):
        reason = _skip_reason(report)
        report.outcome = "failed"
        report.longrepr = f"skipped where a skip is a failure (GATEPOST_SKIPS_FAIL=1): {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _fail_if_skipped((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _fail_if_skipped((yield))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    if not skipped:
        return
    reasons = Counter(_skip_reason(report) for report in skipped)
    terminalreporter.section(f"{len(skipped)} SKIPPED: these tests proved nothing", yellow=True)
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"{count:4d}  {reason}")
    for report in skipped:
        terminalreporter.write_line(f"      {report.nodeid}")
