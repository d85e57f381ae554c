"""What a source that can be reached may serve, in the simulated world: refused, nothing lost."""

from __future__ import annotations

import base64
from collections.abc import Callable

import msgspec
import pytest

from gateway import documents, issuing, seal
from gateway.documents import BUNDLE
from gateway.issuing import Issued
from tests.sim.loop import elapse
from tests.sim.policy_faults_world import FaultWorld, fault_world, in_world
from tests.unit.policy_cache.cache_world import World, held
from tests.unit.policy_cache.policy_world import (
    BUNDLE_A,
    BUNDLE_B,
    OTHER,
    SECOND,
    T0,
    Publisher,
    policy,
)


def serve(made: FaultWorld, head: Issued, bundle: Issued | None = None) -> None:
    """Serve ``head`` instead of the newest one, and with it ``bundle``."""
    world = made.world
    good = world.publisher.bundle(2)
    world.bundle_version = 2
    world.source.publish(bundle or good, head)


async def refused_as(made: FaultWorld, reason: str) -> None:
    """The checker: refused for ``reason``, evidence kept, and a better one accepted."""
    made.world.head_version += 5
    seen = await made.keep(lambda: None)
    assert seen.counters[f"rejected_{reason}"] > 1
    assert any(f"-{reason}.json" in path for path in made.world.disk.paths())


def test_an_older_version_is_refused_as_rollback() -> None:
    async def main() -> None:
        async with fault_world() as made:
            old = made.world.source.current
            made.world.publish(2)
            await elapse(61)
            assert held(made.cache).version == 2
            made.world.source.current = old
            made.world.bundle_version = 3
            await refused_as(made, "rollback")

    in_world(main)


def test_a_head_of_another_epoch_is_refused() -> None:
    async def main() -> None:
        async with fault_world() as made:
            for epoch in (0, 2):
                bundle = made.world.publisher.bundle(2, epoch=epoch)
                head = made.world.publisher.head(bundle, 9, bundle_version=2, epoch=epoch)
                serve(made, head, bundle)
                await elapse(120)
                assert made.status.counters["rejected_epoch"] > 0
                assert held(made.cache).version == 1

    in_world(main)


def test_two_documents_of_one_version_are_refused_with_an_alarm_and_kept_as_evidence() -> None:
    async def main() -> None:
        async with fault_world() as made:
            made.world.head_version = 0
            made.world.publish(2)
            await refused_as(made, "equivocation")
            assert "policy_equivocation" in made.status.alarms

    in_world(main)


def _resigned(good: Issued, signatures: list[documents.Signature]) -> bytes:
    envelope = msgspec.json.decode(good.envelope, type=documents.Envelope)
    return documents.encode(msgspec.structs.replace(envelope, signatures=signatures))


@pytest.mark.parametrize("how", ["by nobody we know", "too few", "one key twice", "one bit"])
def test_a_bundle_that_is_signed_badly_is_refused(how: str) -> None:
    async def main() -> None:
        world = World(publisher=Publisher(bundle_threshold=2))
        both = (BUNDLE_A, BUNDLE_B)
        first = world.publisher.bundle(1, signers=both)
        async with fault_world_of(world, first) as made:
            good = world.publisher.bundle(2, signers=both)
            one, other = msgspec.json.decode(good.envelope, type=documents.Envelope).signatures
            strange = documents.Signature(OTHER.kid, one.sig)
            flipped = bytearray(base64.b64decode(other.sig))
            flipped[3] ^= 1
            bad = documents.Signature(other.keyid, base64.b64encode(bytes(flipped)).decode())
            chosen = {
                "by nobody we know": [strange, strange],
                "too few": [one],
                "one key twice": [one, one],
                "one bit": [one, bad],
            }[how]
            head = world.publisher.head(good, 2, bundle_version=2)
            world.source.publish(good, head)
            world.source.bundles[good.digest] = _resigned(good, chosen)
            await elapse(180)
            assert held(made.cache).version == 1
            counters = made.status.counters
            assert counters.get("rejected_signature", 0) + counters.get("rejected_threshold", 0)
            world.source.bundles[good.digest] = good.envelope
            await elapse(61)
            assert held(made.cache).version == 2

    in_world(main)


def fault_world_of(world: World, first: Issued):  # type: ignore[no-untyped-def]  # a context manager
    """A world whose first bundle is ``first``."""
    world.publisher.bundle = _remembered(first, world.publisher.bundle)  # type: ignore[method-assign]
    return fault_world(world)


def _remembered(first: Issued, make: Callable[..., Issued]) -> Callable[..., Issued]:
    def bundle(version: int = 1, **changes: object) -> Issued:
        return first if version == 1 else make(version, **changes)

    return bundle


def test_a_head_with_a_bad_signature_walks_the_roots_once_for_each_attempt() -> None:
    async def main() -> None:
        async with fault_world() as made:
            bundle = made.world.publisher.bundle(2)
            serve(made, made.world.publisher.head(bundle, 2, bundle_version=2, by=OTHER))
            made.end.asked.clear()
            await elapse(180)
            asked = [path.rpartition("/")[2] for _, path in made.end.asked]
            attempts = made.status.counters["rejected_signature"]
            assert attempts > 1
            assert (asked.count("head"), asked.count("2")) == (attempts, attempts)
            assert held(made.cache).version == 1

    in_world(main)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b'"engine":"table/1"', b'"engine":"table/2"', "incompatible"),
        (b'"spec":1', b'"spec":2', "incompatible"),
        (b'"mode":"enforce"', b'"mode":"shadow"', "unsupported"),
    ],
)
def test_a_bundle_for_another_engine_or_schema_is_refused_and_asks_for_an_update(
    old: bytes, new: bytes, reason: str
) -> None:
    async def main() -> None:
        async with fault_world() as made:
            good = made.world.publisher.bundle(2)
            assert old in good.payload
            bad = issuing.sign(BUNDLE, good.payload.replace(old, new, 1), [BUNDLE_A])
            serve(made, made.world.publisher.head(bad, 2, bundle_version=2), bad)
            made.world.bundle_version = 2
            await elapse(180)
            assert made.status.counters[f"rejected_{reason}"] > 1
            assert "policy_update_required" in made.status.alarms
            assert held(made.cache).version == 1
            made.world.head_version = 2
            made.world.publish(3)
            await elapse(61)
            assert "policy_update_required" not in made.status.alarms

    in_world(main)


def test_a_bundle_whose_own_test_fails_is_refused_and_fetched_once() -> None:
    async def main() -> None:
        async with fault_world() as made:
            test = {
                "name": "chat is open",
                "input": {"model": {"operation": "chat"}},
                "expect": {"outcome": "allow"},
            }
            good = made.world.publisher.bundle(2, content=policy(tests=[test]))
            payload = good.payload.replace(b'"outcome":"allow"', b'"outcome":"deny"', 1)
            bad = issuing.sign(BUNDLE, payload, [BUNDLE_A])
            serve(made, made.world.publisher.head(bad, 2, bundle_version=2), bad)
            made.end.asked.clear()
            await elapse(180)
            assert made.status.counters["rejected_selftest"] > 1
            assert sum("/blobs/" in path for _, path in made.end.asked) == 1
            assert held(made.cache).version == 1

    in_world(main)


def test_under_an_expired_root_nothing_new_is_accepted_until_its_successor_is_there() -> None:
    async def main() -> None:
        publisher = Publisher()
        publisher.roots.clear()
        publisher.add_root(expires_us=T0 + 200 * SECOND)
        async with fault_world(World(publisher=publisher)) as made:
            await elapse(150)
            made.world.publish(2)
            await elapse(240)
            assert made.status.state == "expired"
            assert made.status.counters["rejected_expired"] > 0
            publisher.add_root()
            made.world.publish(3)
            await elapse(61)
            assert (made.status.state, made.status.root_version) == ("fresh", 2)

    in_world(main)


@pytest.mark.parametrize("length", [-1, 1])
def test_a_bundle_of_another_length_or_content_than_pinned_is_refused(length: int) -> None:
    async def main() -> None:
        async with fault_world() as made:
            made.world.publish(2)
            good = made.world.publisher.bundle(2)
            payload = good.payload[:length] if length < 0 else good.payload + b" "
            served = documents.encode(seal.envelope(BUNDLE, payload, []))
            made.world.source.bundles[good.digest] = served
            await elapse(180)
            assert made.status.counters["rejected_length"] > 1
            assert held(made.cache).version == 1

    in_world(main)
