"""Shows at the end of a run what each simulated world amounted to."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sim.world import Outcome

OUTCOMES = pytest.StashKey[list[Outcome]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[OUTCOMES] = []


@pytest.fixture
def outcomes(request: pytest.FixtureRequest) -> list[Outcome]:
    """Where a test puts the outcome of its world."""
    return request.config.stash[OUTCOMES]


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key files and compiled packs, the same for every world."""
    return tmp_path_factory.mktemp("world")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    outcomes = terminalreporter.config.stash[OUTCOMES]
    if not outcomes:
        return
    terminalreporter.section("simulated worlds")
    for outcome in outcomes:
        terminalreporter.write_line(str(outcome))
    calls = sum(outcome.calls for outcome in outcomes)
    crashes = sum(outcome.crashes for outcome in outcomes)
    hours = sum(outcome.hours for outcome in outcomes)
    terminalreporter.write_line(f"all: {calls} calls, {crashes} crashes, {hours:.1f} virtual hours")
