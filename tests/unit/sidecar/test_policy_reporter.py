"""What the policy service hears of a daemon's policy, and when."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from gateway import limits
from sidecar.parts import Parts
from tests.sim.loop import elapse
from tests.unit.sidecar.enrolment_world import World, play

Script = Callable[[World, Parts], Awaitable[None]]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key files of the central services."""
    return tmp_path_factory.mktemp("central")


def heard(world: World) -> list[tuple[Any, ...]]:
    """(version, state, times that the service heard of it so far) of each instance."""
    return world.rows("policy", "SELECT version, state, received_us FROM instance_report")


def reporting(script: Script) -> Script:
    """``script`` beside a reporter that runs from the first certificate on."""

    async def run(world: World, parts: Parts) -> None:
        await parts.instance.certified.wait()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(parts.policy_reporter.run)
            await elapse(2)
            await script(world, parts)
            tasks.cancel_scope.cancel()

    return run


def test_an_activation_is_reported_at_once(directory: Path) -> None:
    async def script(world: World, parts: Parts) -> None:
        assert [row[0] for row in heard(world)] == [1]
        await world.publisher.publish()
        await parts.policy.refresh()
        await elapse(1)
        assert [row[0] for row in heard(world)] == [2]
        ((activated, digest),) = world.rows(
            "policy", "SELECT activated, digest FROM instance_report"
        )
        assert activated is not None
        assert digest == parts.policy.status().digest

    play(reporting(script), directory)


def test_a_sign_of_life_comes_within_the_interval(directory: Path) -> None:
    async def script(world: World, parts: Parts) -> None:
        ((_, _, first_us),) = heard(world)
        await elapse(limits.POLICY_REPORT_SECONDS)
        ((_, _, last_us),) = heard(world)
        assert last_us > first_us

    play(reporting(script), directory)


def test_a_state_that_changes_by_time_alone_is_reported(directory: Path) -> None:
    """The services sign a head each minute, and this daemon looks for one twice an hour only."""

    async def script(world: World, parts: Parts) -> None:
        assert [row[1] for row in heard(world)] == ["fresh"]
        await elapse(140)
        assert parts.policy.status().state == "stale"
        assert [row[1] for row in heard(world)] == ["stale"]

    play(reporting(script), directory)


def test_an_absent_service_holds_nothing_up_and_hears_the_latest(directory: Path) -> None:
    async def script(world: World, parts: Parts) -> None:
        await world.publisher.publish()
        await parts.policy.refresh()
        world.cut_off(cut_off=True)
        await parts.reports.aclose()
        await elapse(600)
        assert world.lines("policy_report_failed") != []
        assert parts.policy.status().version == 2
        world.cut_off(cut_off=False)
        await elapse(limits.POLICY_REPORT_SECONDS + 5)
        assert [row[0] for row in heard(world)] == [2]

    play(reporting(script), directory)


def test_who_leaves_is_not_listed(directory: Path) -> None:
    async def script(world: World, parts: Parts) -> None:
        assert len(heard(world)) == 1
        await parts.policy_reporter.leave()
        await elapse(1)
        assert heard(world) == []

    play(reporting(script), directory)


def test_no_interval_reports_nothing(directory: Path) -> None:
    async def script(world: World, parts: Parts) -> None:
        await elapse(600)
        assert heard(world) == []

    policy = {"scope": "acme/prod", "directory": "/state/policy", "report_seconds": 0}
    play(reporting(script), directory, place={"policy": policy})
