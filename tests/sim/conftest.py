"""Runs the worlds of the selected tests side by side, and shows what each amounted to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sim.seeds import FIXED
from tests.sim.totals import Totals
from tests.sim.workers import Workers
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


@pytest.fixture(scope="session")
def workers(request: pytest.FixtureRequest) -> Iterator[Workers]:
    """Runs the world of every selected test, each once; a test without a seed needs all fixed."""
    seeds: dict[int, None] = {}
    for item in request.session.items:
        assert isinstance(item, pytest.Function)
        if "workers" in item.fixturenames:
            of_one = hasattr(item, "callspec")
            seeds.update(dict.fromkeys([_seed_of(item)] if of_one else FIXED))
    workers = Workers(list(seeds))
    try:
        yield workers
    finally:
        workers.stop()


def _seed_of(item: pytest.Function) -> int:
    seed = item.callspec.params["seed"]
    assert isinstance(seed, int)
    return seed


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    outcomes = terminalreporter.config.stash[OUTCOMES]
    if not outcomes:
        return
    terminalreporter.section("simulated worlds")
    for outcome in outcomes:
        terminalreporter.write_line(str(outcome))
    terminalreporter.write_line(str(Totals(outcomes)))
