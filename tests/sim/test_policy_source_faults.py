"""What the source of policy can do to a daemon, in the simulated world: time, and nothing else."""

from __future__ import annotations

import anyio
import pytest

from gateway.limits import POLICY_HEAD_BYTES_MAX
from tests.sim.loop import elapse
from tests.sim.policy_end import Way
from tests.sim.policy_faults_world import HOUR, FaultWorld, fault_world, in_world
from tests.unit.policy_cache.cache_world import World, held


def test_a_start_without_the_service_serves_the_copy_on_disk() -> None:
    async def main() -> None:
        world = World()
        async with fault_world(world) as first:
            await first.cache.aclose()
        async with anyio.create_task_group() as tasks:
            again = FaultWorld(tasks, world)
            again.down()
            await again.start()
            assert (held(again.cache).version, again.status.state) == (1, "fresh")
            await elapse(200)
            assert again.status.state == "stale"
            tasks.cancel_scope.cancel()

    in_world(main)


def test_a_start_without_service_and_copy_is_empty_until_the_service_is_there() -> None:
    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            made = FaultWorld(tasks, World())
            made.world.publish(1)
            made.down()
            await made.start()
            await elapse(600)
            assert (made.cache.current(), made.state) == (None, "empty")
            made.up()
            made.world.publish(1)
            await elapse(61)
            assert made.state == "fresh"
            tasks.cancel_scope.cancel()

    in_world(main)


def test_an_outage_of_hours_ends_every_call_at_the_signed_second_and_is_told_before() -> None:
    async def main() -> None:
        async with fault_world() as made:
            made.down()
            expiry = held(made.cache).head_expires_us
            await elapse(2 * HOUR + 60)
            assert (made.state, made.status.ageing_percent) == ("stale", 50)
            await elapse(1.2 * HOUR)
            assert (made.state, made.status.ageing_percent) == ("stale", 80)
            await elapse((expiry - made.world.clock.wall_us()) / 1e6 - 0.001)
            assert made.state == "stale"
            await elapse(0.002)
            assert made.state == "expired"
            told = [event for event, _ in made.world.events if event == "policy_ageing"]
            assert len(told) == 2
            made.up()
            made.world.publish(2)
            await elapse(61)
            assert made.state == "fresh"

    in_world(main)


@pytest.mark.parametrize("how", ["refused", "silent", "tls", "dns", "500", "503", "garbage"])
def test_an_error_on_the_way_changes_nothing_but_by_time(how: str) -> None:
    async def main() -> None:
        async with fault_world() as made:
            made.world.publish(2)

            def heal() -> None:
                made.up()
                made.dialer.how, made.end.status, made.end.way = None, 200, "whole"

            if how == "refused":
                made.down()
            elif how in ("tls", "dns"):
                made.dialer.how = how
            elif how.isdigit():
                made.end.status = int(how)
            else:
                made.end.way = "silent" if how == "silent" else "garbage"
            seen = await made.keep(heal)
            assert seen.counters["unreachable"] > 1
            assert seen.last_error is not None

    in_world(main)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_credential_keeps_the_policy_and_raises_its_alarm(status: int) -> None:
    async def main() -> None:
        async with fault_world() as made:
            made.world.publish(2)
            made.end.status = status
            seen = await made.keep(lambda: setattr(made.end, "status", 200))
            assert "policy_credential" in seen.alarms
            assert "policy_credential" not in made.status.alarms

    in_world(main)


@pytest.mark.parametrize("status", [404, 410])
def test_a_head_that_is_gone_is_an_error_and_takes_no_policy_away(status: int) -> None:
    async def main() -> None:
        async with fault_world() as made:
            made.world.publish(2)
            made.end.status, made.end.spoils = status, "/head"
            seen = await made.keep(lambda: setattr(made.end, "status", 200))
            assert seen.last_error == f"missing: {status} for /v1/policy/acme%2Fprod%2Feu/head"

    in_world(main)


@pytest.mark.parametrize("how", ["304 for ever", "the old head for ever"])
def test_a_frozen_source_is_suspected_and_outlived_by_no_policy(how: str) -> None:
    async def main() -> None:
        async with fault_world() as made:
            made.end.status = 304 if how == "304 for ever" else 200
            made.end.spoils = "/head"
            await elapse(100)
            assert made.state == "fresh"
            assert "policy_frozen" not in made.status.alarms
            await elapse(60)
            assert made.state == "stale"
            assert "policy_frozen" in made.status.alarms
            await elapse(4 * HOUR)
            assert made.state == "expired"
            assert "policy_frozen" in made.status.alarms

    in_world(main)


@pytest.mark.parametrize("what", ["/head", "/root/", "/blobs/"])
@pytest.mark.parametrize(
    "way", ["drip", "endless", "too_long", "truncated", "bomb", "redirect", "garbage", "silent"]
)
def test_a_bad_body_ends_at_its_limit_or_deadline_and_changes_nothing(way: Way, what: str) -> None:
    async def main() -> None:
        async with fault_world() as made:
            made.world.publisher.add_root()
            made.world.publish(2)
            made.end.way, made.end.spoils, made.end.sent_bytes = way, what, 0
            asked = len(made.end.asked)
            await made.keep(lambda: setattr(made.end, "way", "whole"), minutes=6)
            attempts = len(made.end.asked) - asked
            # What is read of an endless body is bounded: a limit, and what the wire holds.
            assert made.end.sent_bytes < attempts * (16 * POLICY_HEAD_BYTES_MAX)

    in_world(main)


def test_a_server_that_asks_for_a_day_of_patience_gets_half_of_the_remaining_life() -> None:
    async def main() -> None:
        async with fault_world() as made:
            made.world.publish(2)
            made.end.status, made.end.headers = 503, "retry-after: 86400\r\n"
            await elapse(60)
            made.end.status = 200
            await elapse(2 * HOUR)
            assert held(made.cache).version == 2

    in_world(main)
