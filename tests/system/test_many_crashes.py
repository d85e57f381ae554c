"""kill -9 at any moment, fifty times over, with the store coming and going.

The moments are random: under load, while segments are switched (they are small here), during a
start, and during the drain after SIGTERM.
"""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from tests.integration.conftest import MakeCentral, MakeSite
from tests.integration.load import Load
from tests.integration.system import Central, Daemon, Site, hurried, replaced
from tests.integration.waiting import eventually
from tests.system.proof import nothing_lost_or_doubled, report, shipped

pytestmark = pytest.mark.system

_ROUNDS = 50
_SEED = 20_261_123
_CALLERS = 8
_START_SECONDS_MAX = 15.0
"""A start takes a second or two on two busy cores; one that must first ship would take longer."""


def _small_segments(text: str) -> str:
    """Some hundred calls fill one."""
    return hurried(replaced(spool_bytes_max="33554432\nsegment_bytes = 262144")(text))


def _kill_in_start(place: Site, chance: random.Random) -> None:
    """Begin a start, and kill it as soon as it has written a random share of its log lines."""
    lines = place.log().count("\n")
    least = lines + chance.randrange(0, 6)
    child = place.begin_start()
    eventually(
        lambda: place.log().count("\n") >= least or child.returncode is not None, "a few lines"
    )
    child.stop(signal.SIGKILL)


def _crash(daemon: Daemon, chance: random.Random, *, draining: bool) -> list[str]:
    """Load the daemon and kill it; the ids of the calls that it had answered."""
    with Load(daemon.port if chance.random() < 0.5 else daemon.socket, _CALLERS) as load:
        least = chance.randrange(1, 250)
        eventually(lambda: len(load.answered) >= least, "answers under load")
        if draining:
            drains = daemon.site.log().count('"event":"draining"')
            daemon.signal(signal.SIGTERM)
            eventually(lambda: daemon.site.log().count('"event":"draining"') > drains, "the drain")
        daemon.kill()
    return load.answered


def _started(place: Site) -> Daemon:
    begun = time.perf_counter()
    daemon = place.start()
    assert time.perf_counter() - begun < _START_SECONDS_MAX
    daemon.wait_status(lambda status: status.ready, "readiness")
    return daemon


def _round(
    number: int, services: Central, place: Site, chance: random.Random, answered: list[str]
) -> None:
    if number % 5 == 4:
        _kill_in_start(place, chance)
        return
    daemon = _started(place)
    away = number % 5 == 1
    if away:
        services.kill()
    answered += _crash(daemon, chance, draining=number % 5 == 3)
    if away:
        services.start()


@pytest.mark.timeout(900)
def test_no_answered_call_is_ever_lost_or_doubled(
    make_central: MakeCentral, make_site: MakeSite, tmp_path: Path
) -> None:
    services = make_central()
    place = make_site(_small_segments, services)
    chance = random.Random(_SEED)
    answered: list[str] = []
    for number in range(_ROUNDS):
        _round(number, services, place, chance, answered)
    last = _started(place)
    shipped(last)
    assert last.stop() == 0
    assert len(answered) > _ROUNDS
    nothing_lost_or_doubled(services, answered)
    chains = report(services, tmp_path)
    assert chains.instances > _ROUNDS / 2
    assert [one for one in (place.home.directory / "spool").iterdir() if one.is_dir()] == []
