"""A call's context: durations come from the clock port, and nothing changes under a call."""

from __future__ import annotations

import pytest

from gateway.inflight import Admission
from gateway.world import Context
from tests.sim.loop import elapse
from tests.unit.gateway.world_builder import CHAT, Place, route, run


def context(place: Place) -> Context:
    return Context(
        world=place.world,
        incoming=place.application(CHAT),
        route=route("openai", "openai"),
        admission=Admission(place.in_flight),
        started_us=place.clock.mono_us(),
    )


def test_durations_are_those_of_the_clock_port() -> None:
    async def script(place: Place) -> None:
        here = context(place)
        await elapse(2)
        assert here.micros_since(here.started_us) == 2_000_000

    run(script)


def test_neither_world_nor_context_can_be_changed() -> None:
    async def script(place: Place) -> None:
        here = context(place)
        with pytest.raises(AttributeError):
            here.started_us = 0  # type: ignore[misc]  # that it is refused is the point
        with pytest.raises(AttributeError):
            place.world.overhead_header = True  # type: ignore[misc]  # as above

    run(script)
