"""Whoever else is in trouble, our own records go on; what vanished holds up nothing else."""

from __future__ import annotations

from gateway.ports import Receipt, ServiceAnswer
from tests.sim.disk import SimDisk
from tests.sim.loop import elapse
from tests.sim.records import instance_id
from tests.sim.shipping import Told, World, refusal, ship, taken


def _dead_disk(count: int = 60) -> SimDisk:
    """A volume that instance 1 left in a hurry: three segments."""

    async def die(world: World) -> None:
        world.certified = False
        await world.commit(count, 12_000)

    return ship(die).disk.killed()


def _lose(disk: SimDisk, path: str) -> None:
    """Somebody deletes a file."""
    for names in (disk.entries, disk._durable):
        names.pop(path, None)


def test_a_dead_instance_whose_batch_always_fails_does_not_hold_up_our_own() -> None:
    """A store that answers 500, or takes nothing, for that one batch."""
    answers: list[ServiceAnswer | Told] = [refusal(500), refusal(429), taken(-1)]
    for answer in answers:

        def of_the_dead(
            request: int, seqs: list[int], answer: ServiceAnswer | Told = answer
        ) -> ServiceAnswer | Told | None:
            return answer if len(seqs) > 20 else None

        async def script(world: World) -> None:
            for _ in range(20):
                await world.commit(3)
                await elapse(60)
            assert world.seqs == list(range(60))
            (dead,) = world.shipper.status().dead
            assert dead.backlog_records == 60
            assert world.shipper.status().set_aside == 0

        ship(script, of_the_dead, disk=_dead_disk(), number=2)


def test_a_dead_instance_is_tried_to_the_last_while_nobody_else_waits() -> None:
    """Its bytes may be what our own first record waits for."""

    def away(request: int, seqs: list[int]) -> ServiceAnswer | None:
        return refusal(503) if request < 40 else None

    async def script(world: World) -> None:
        await elapse(1_200)
        assert {key for key in world.store.kept if key[0] == instance_id(1)}
        assert world.shipper.backlog_records == 0

    ship(script, away, disk=_dead_disk(), number=2)


def test_a_drain_comes_back_to_a_dead_instance_that_failed() -> None:
    def away(request: int, seqs: list[int]) -> ServiceAnswer | None:
        return refusal(503) if request < 20 else None

    async def script(world: World) -> None:
        await world.commit(3)
        assert await world.shipper.drain(60) == 0

    ship(script, away, disk=_dead_disk(), number=2)


def test_a_segment_of_a_dead_instance_that_vanishes_costs_only_itself() -> None:
    async def script(world: World) -> None:
        world.certified = False
        (source,) = world.shipper._dead
        _lose(world.disk, f"{source.dead.directory}/seg-{source.dead.bases[1]:020d}.log")
        lost = range(source.dead.bases[1], source.dead.bases[2])
        await source.dead.settle(
            world.disk, Receipt(id="r", seq=1, hash="h"), world.spool.instance, 0
        )
        world.certified = True
        world.shipper.wake()
        await world.shipped(60)
        await elapse(1)
        kept = {seq for instance, seq in world.store.kept if instance == instance_id(1)}
        assert kept == set(range(60)) - set(lost)
        assert world.shipper.status().dead == [], "and the directory is gone"

    ship(script, disk=_dead_disk(), number=2)


def test_our_own_segment_that_vanishes_costs_only_itself_and_raises_the_alarm() -> None:
    async def script(world: World) -> None:
        world.certified = False
        await world.commit(60, 12_000)
        bases = world.spool.shelf.bases
        assert len(bases) >= 3
        lost = range(bases[1], bases[2])
        _lose(world.disk, world.spool.shelf.path(bases[1]))
        world.certified = True
        world.shipper.wake()
        await world.shipped(60)
        assert world.seqs == sorted(set(range(60)) - set(lost))
        assert "integrity" in world.spool.status().alarms
        await world.commit(1)
        assert not world.spool.failed.is_set()

    ship(script)


def test_the_segment_being_written_that_vanishes_is_a_failed_disk() -> None:
    async def script(world: World) -> None:
        world.certified = False
        await world.commit(3)
        _lose(world.disk, world.spool.shelf.path(0))
        world.certified = True
        world.shipper.wake()
        await world.spool.failed.wait()
        assert "was removed" in (world.spool.status().reason or "")

    ship(script)
