"""What a mirror serves of a scope, and what never reaches those who ask it."""

from __future__ import annotations

import logging

import anyio
import pytest

from central.policy_mirror.scope_mirror import ScopeMirror
from tests.sim.disk import Faults, SimDisk
from tests.unit.central.mirror_world import mirror, naming_next, passes, running
from tests.unit.policy_cache.cache_world import HOUR, UNREACHABLE, World, in_time
from tests.unit.policy_cache.policy_world import OTHER, SECOND, T0


def served(made: ScopeMirror) -> bytes:
    assert made.head is not None
    return made.head.envelope


def test_a_newer_head_wakes_those_who_wait_and_is_served_byte_for_byte() -> None:
    async def world() -> None:
        made = World()
        made.source.waits = True
        made.publish(1)
        async with running(made) as one:
            await passes(1)
            assert served(one) == made.source.current
            with anyio.fail_after(3):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(one.wait_changed)
                    await passes(0.5)
                    made.publish(2)
            assert served(one) == made.source.current
            digest, bundle = list(made.source.bundles.items())[-1]
            assert await one.bundle(digest) == bundle
            assert one.root(1) == made.publisher.roots[0].envelope
            assert one.root(2) is None

    in_time(world)


def test_a_refused_head_is_not_passed_on_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def world() -> None:
        made = World()
        made.publish(1)
        async with running(made) as one:
            await passes(1)
            good = made.source.current
            bundle = made.publisher.bundle(2)
            forged = made.publisher.head(bundle, 2, bundle_version=2, by=OTHER)
            made.source.publish(bundle, forged)
            await passes(90)
            assert served(one) == good
            assert await one.bundle(bundle.digest) is None
            assert one.status().counters["rejected_signature"] > 0
            assert list(one.alarms) == ["policy_rejected"]
            made.head_version = 2
            made.publish(2)
            await passes(90)
            assert served(one) == made.source.current
            assert not one.alarms

    with caplog.at_level(logging.WARNING, "gatepost.central"):
        in_time(world)
    assert any(line.startswith("policy_rejected acme/prod/eu") for line in caplog.messages)


def test_neither_an_older_head_nor_a_second_one_of_a_version_is_passed_on() -> None:
    async def world() -> None:
        made = World()
        made.publish(1)
        old = made.source.current
        made.publish(2)
        async with running(made) as one:
            await passes(1)
            good, made.source.current = made.source.current, old
            await passes(90)
            assert served(one) == good
            assert one.status().counters["rejected_rollback"] > 0
            bundle = made.publisher.bundle(3)
            second = made.publisher.head(bundle, 2, bundle_version=3, issued_us=T0 + 9 * SECOND)
            made.source.publish(bundle, second)
            await passes(90)
            assert served(one) == good
            assert "policy_equivocation" in one.alarms

    in_time(world)


def test_a_root_of_another_chain_is_not_passed_on() -> None:
    async def world() -> None:
        made = World()
        made.publish(1)
        async with running(made) as one:
            await passes(1)
            made.publisher.add_root(signers=(OTHER,))
            await passes(HOUR + 120)
            assert one.status().counters["rejected_signature"] > 0
            assert one.root(2) is None
            assert served(one) == made.source.current

    in_time(world)


def test_after_a_restart_without_an_upstream_all_is_served_from_the_disk() -> None:
    async def world() -> None:
        made = World()
        made.publish(1)
        async with running(made):
            await passes(1)
        made.source.down = UNREACHABLE
        again = mirror(made)
        await again.load()
        assert served(again) == made.source.current
        assert again.root(1) == made.publisher.roots[0].envelope
        digest, bundle = next(iter(made.source.bundles.items()))
        assert await again.bundle(digest) == bundle

    in_time(world)


def test_on_a_full_volume_what_was_verified_is_served_from_memory() -> None:
    async def world() -> None:
        made = World(SimDisk(faults=Faults(capacity_bytes=100)))
        made.publish(1)
        async with running(made) as one:
            await passes(1)
            assert served(one) == made.source.current
            digest, bundle = next(iter(made.source.bundles.items()))
            assert await one.bundle(digest) == bundle
            assert one.root(1) == made.publisher.roots[0].envelope
            assert list(one.alarms) == ["policy_not_kept"]

    in_time(world)


def test_a_head_that_has_expired_is_served_as_it_is_and_not_made_younger() -> None:
    async def world() -> None:
        made = World()
        made.publish(1)
        async with running(made) as one:
            await passes(1)
            made.source.down = UNREACHABLE
            await passes(5 * HOUR)
            assert served(one) == made.source.current
            assert one.status().state == "expired"
            assert "policy_ageing" in one.alarms

    in_time(world)


def test_a_lock_is_passed_on_before_its_bundle_came_and_survives_a_restart() -> None:
    async def world() -> None:
        made = World()
        made.publish(1)
        async with running(made) as one:
            await passes(1)
            made.publish(2, lock="incident")
            made.source.bundles.popitem()
            await passes(90)
            assert served(one) == made.source.current
        again = mirror(made)
        await again.load()
        assert served(again) == made.source.current

    in_time(world)


def test_every_bundle_that_a_head_names_is_fetched_and_kept() -> None:
    async def world() -> None:
        made = World()
        made.publish(1)
        following = made.publisher.bundle(9)
        made.source.current = naming_next(made, following)
        async with running(made) as one:
            await passes(1)
            assert served(one) == made.source.current, "a bundle to come holds up no head"
            assert list(one.missing) == [following.digest]
            assert list(one.alarms) == ["bundle_missing"]
            made.source.bundles[following.digest] = following.envelope
            await passes(40)
            assert not one.missing
        again = mirror(made)
        await again.load()
        assert await again.bundle(following.digest) == following.envelope

    in_time(world)


def test_a_bundle_to_come_that_somebody_else_signed_is_not_passed_on() -> None:
    async def world() -> None:
        made = World()
        made.publish(1)
        forged = made.publisher.bundle(9, signers=(OTHER,))
        made.source.current = naming_next(made, forged)
        made.source.bundles[forged.digest] = forged.envelope
        async with running(made) as one:
            await passes(40)
            assert await one.bundle(forged.digest) is None
            assert list(one.missing) == [forged.digest]

    in_time(world)
