"""kill -9 at any moment, many times over, with the store coming and going."""

from __future__ import annotations

import random

import pytest

from tests.integration.conftest import MakeCentral, MakeSite
from tests.integration.load import Load
from tests.integration.system import hurried
from tests.integration.waiting import eventually

pytestmark = pytest.mark.system

_ROUNDS = 12
_SEED = 20_261_123


@pytest.mark.timeout(180)
def test_no_answered_call_is_ever_lost_or_doubled(
    make_central: MakeCentral, make_site: MakeSite
) -> None:
    services = make_central()
    place = make_site(hurried, services)
    chance = random.Random(_SEED)
    answered: list[str] = []
    for number in range(_ROUNDS):
        daemon = place.start()
        if number % 3 == 1:
            services.kill()
        with Load(daemon.port if number % 2 else daemon.socket, 8) as load:
            least = chance.randrange(1, 300)
            eventually(lambda: len(load.answered) >= least, "answers under load")  # noqa: B023
            daemon.kill()
        answered += load.answered
        if number % 3 == 1:
            services.start()
    last = place.start()
    eventually(lambda: last.status().shipping.backlog_records == 0, "everything shipped", 60)
    assert last.stop() == 0
    decisions = [item["id"] for item in services.records.all(kind="decision")]
    assert set(answered) <= set(decisions)
    assert len(set(decisions)) == len(decisions)
    assert len(set(answered)) == len(answered)
