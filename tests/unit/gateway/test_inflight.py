"""Admission, memory, and cutting: everything that was taken is given back."""

from __future__ import annotations

import anyio
import pytest

from gateway.errors import TurnAway
from gateway.inflight import InFlight
from tests.sim.loop import elapse, simulate


def flights(**options: int) -> InFlight:
    return InFlight(key_usable=lambda: True, **options)


def refusal(in_flight: InFlight) -> str:
    with pytest.raises(TurnAway) as caught:
        in_flight.admitted()
    return caught.value.code


def test_no_more_calls_than_are_allowed() -> None:
    in_flight = flights(calls_max=2)
    with in_flight.admitted(), in_flight.admitted():
        assert refusal(in_flight) == "too_busy"
        assert in_flight.calls == 2
    assert in_flight.calls == 0


def test_who_drains_takes_nothing_new_and_says_so_first() -> None:
    in_flight = InFlight(key_usable=lambda: False, calls_max=0)
    in_flight.draining = True
    assert refusal(in_flight) == "draining"
    in_flight.draining = False
    assert refusal(in_flight) == "too_busy"


def test_without_a_usable_key_nothing_is_decided() -> None:
    assert refusal(InFlight(key_usable=lambda: False)) == "no_key"


def test_a_place_is_given_back_whatever_happens() -> None:
    in_flight = flights()

    def fail() -> None:
        with in_flight.admitted() as admission:
            admission.hold(10)
            raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        fail()
    assert (in_flight.calls, in_flight.held_bytes) == (0, 0)


def test_bodies_are_counted_as_they_grow_and_shrink() -> None:
    in_flight = flights(body_bytes_max=100)
    with in_flight.admitted() as one, in_flight.admitted() as other:
        one.hold(60)
        with pytest.raises(TurnAway) as caught:
            other.hold(41)
        assert caught.value.code == "too_busy"
        other.hold(40)
        one.hold(10)
        other.hold(90)
        assert in_flight.held_bytes == 100
        other.hold(90)
    assert in_flight.held_bytes == 0


def test_a_refused_growth_changes_nothing() -> None:
    in_flight = flights(body_bytes_max=100)
    with in_flight.admitted() as admission:
        admission.hold(80)
        with pytest.raises(TurnAway):
            admission.hold(101)
        assert in_flight.held_bytes == 80


def test_all_forwarded_calls_are_cut_with_one_reason() -> None:
    async def world() -> None:
        in_flight = flights()
        outcomes: list[str | None] = []

        async def call() -> None:
            with anyio.CancelScope() as scope, in_flight.cuttable(scope, 0) as cuttable:
                await anyio.sleep_forever()
            outcomes.append(cuttable.outcome)

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(call)
            await elapse(1)
            assert in_flight.cut_all("shutdown") == 3
            in_flight.cut_all("response_blocked")
        assert outcomes == ["shutdown"] * 3
        assert in_flight.cut_all("shutdown") == 0

    simulate(1, world)


def test_a_call_decided_before_a_cut_is_cut_when_it_is_forwarded() -> None:
    async def world() -> None:
        in_flight = flights()
        decided_at = in_flight.cuts
        in_flight.cut_all("response_blocked")
        with anyio.CancelScope() as scope, in_flight.cuttable(scope, decided_at) as cuttable:
            await anyio.sleep_forever()
        assert (cuttable.outcome, scope.cancelled_caught) == ("response_blocked", True)
        with anyio.CancelScope() as scope, in_flight.cuttable(scope, in_flight.cuts) as cuttable:
            await anyio.lowlevel.checkpoint()
        assert (cuttable.outcome, scope.cancelled_caught) == (None, False)

    simulate(1, world)


def test_the_first_reason_stands() -> None:
    async def world() -> None:
        in_flight = flights()
        with anyio.CancelScope() as scope, in_flight.cuttable(scope, 0) as cuttable:
            cuttable.cut("client_abort")
            in_flight.cut_all("shutdown")
            await anyio.sleep_forever()
        assert cuttable.outcome == "client_abort"

    simulate(1, world)


def test_idle_is_when_the_last_call_has_ended() -> None:
    async def world() -> None:
        in_flight = flights()
        await in_flight.wait_idle()

        async def call(seconds: float) -> None:
            with in_flight.admitted():
                await elapse(seconds)

        async with anyio.create_task_group() as group:
            group.start_soon(call, 2)
            group.start_soon(call, 5)
            await elapse(1)
            await in_flight.wait_idle()
            assert anyio.current_time() == 5
        assert repr(in_flight) == "InFlight(calls=0, draining=False)"

    simulate(1, world)
