"""A store that lost what it acknowledged gets again what is still on disk; nothing else moves."""

from __future__ import annotations

from collections.abc import Iterable

import anyio
import pytest

from gateway.ports import ServiceAnswer, ServiceUnreachable
from spool.ranges import NONE, SeqRanges
from tests.sim.files import SimFiles
from tests.sim.loop import elapse
from tests.sim.records import seal_draft
from tests.sim.shipping import World, refusal, ship

LARGE = 12_000
"""Payload bytes: some twenty such records fill a segment."""


def forget(world: World, seqs: Iterable[int]) -> SeqRanges:
    """Take records away from the store, as a backup that does not have them would."""
    gone = SeqRanges((seq, seq) for seq in seqs)
    for first, last in gone:
        for seq in range(first, last + 1):
            world.store.kept.pop((world.spool.instance, seq), None)
    return gone


def away(request: int, seqs: list[int]) -> ServiceAnswer | None:
    raise ServiceUnreachable("connect", "refused")


def test_what_is_still_on_disk_comes_back_oldest_first_and_the_rest_is_lost() -> None:
    async def script(world: World) -> None:
        await world.commit(100, LARGE)
        await world.shipped()
        held = world.spool.shelf.bases[0]
        assert 0 < held < 99
        gone = forget(world, range(100))
        world.certified = False
        await world.commit(5)
        assert await world.shipper.heard(gone) == gone
        assert world.spool.unresent_records == 100 - held
        assert world.shipper.backlog_records == 105 - held
        world.certified = True
        sent = len(world.store.sizes)
        world.shipper.wake()
        await world.shipped()
        assert world.seqs == list(range(held, 105))
        assert world.store.sizes[sent:] == [105 - held], "one pass, in seq order"
        status = world.shipper.status()
        assert (status.resent, status.lost) == (100 - held, held)
        assert status.alarms == ["store_lost_records"]
        assert world.spool.status().acked_seq == 104
        assert world.spool.unresent_records == 0

    ship(script)


def test_a_loss_is_news_once() -> None:
    async def script(world: World) -> None:
        await world.commit(100, LARGE)
        await world.shipped()
        gone = forget(world, range(100))
        assert await world.shipper.heard(gone) == gone
        assert await world.shipper.heard(gone) == NONE
        await world.shipped()
        left = SeqRanges([(0, world.spool.shelf.bases[0] - 1)])
        assert await world.shipper.heard(left) == NONE, "known, and not on disk"
        await elapse(1)
        again = forget(world, [97])
        assert await world.shipper.heard(left | again) == again, "it came back and went again"
        await world.shipped()
        assert 97 in world.seqs

    ship(script)


def test_what_is_to_be_sent_again_is_not_deleted_before() -> None:
    down: list[bool] = []

    def sometimes(request: int, seqs: list[int]) -> ServiceAnswer | None:
        return away(request, seqs) if down else None

    async def script(world: World) -> None:
        await world.commit(50, LARGE)
        await world.shipped()
        (base,) = world.spool.shelf.bases
        gone = forget(world, [49])
        down.append(True)
        await world.shipper.heard(gone)
        await world.commit(60, LARGE)
        await elapse(600)
        assert world.spool.shelf.bases[0] == base
        assert len(world.spool.shelf.bases) > 2
        down.clear()
        await world.shipped()
        assert world.seqs == list(range(110))
        await world.shipper.heard(NONE)
        assert len(world.spool.shelf.bases) == 1

    ship(script, sometimes)


def test_acknowledgements_of_newer_records_do_not_settle_what_was_asked_meanwhile() -> None:
    """The batch on its way was read before the store was known to lack older ones."""

    async def script(world: World) -> None:
        await world.commit(15, LARGE)
        await world.shipped()
        gone = forget(world, range(5))
        await world.commit(60, LARGE)
        assert len(world.spool.shelf.bases) > 2, "the batch would free the first segment"
        sent = len(world.store.sizes)
        with anyio.fail_after(10):
            while len(world.store.sizes) == sent:
                if world.shipper.status().state == "shipping":
                    await world.shipper.heard(gone)
                await elapse(0.001)
        assert world.spool.unresent_records == 5
        await world.shipped()
        assert world.seqs == list(range(75))

    ship(script)


def test_a_record_that_was_set_aside_is_not_asked_for_again() -> None:
    def poison(request: int, seqs: list[int]) -> ServiceAnswer | None:
        return refusal(422, "document_invalid") if 7 in seqs else None

    async def script(world: World) -> None:
        await world.commit(20)
        await world.shipped()
        assert world.shipper.status().set_aside == 1
        sent = len(world.store.sizes)
        assert await world.shipper.heard(SeqRanges([(7, 7)])) == NONE
        await elapse(60)
        assert len(world.store.sizes) == sent
        assert world.shipper.status().alarms == ["records_set_aside"]

    ship(script, poison)


def test_a_record_that_is_refused_when_sent_again_is_asked_for_no_more() -> None:
    strict: list[bool] = []

    def poison(request: int, seqs: list[int]) -> ServiceAnswer | None:
        return refusal(422, "document_invalid") if strict and 7 in seqs else None

    async def script(world: World) -> None:
        await world.commit(20)
        await world.shipped()
        strict.append(True)
        gone = forget(world, range(20))
        await world.shipper.heard(gone)
        await world.shipped()
        assert world.seqs == [seq for seq in range(20) if seq != 7]
        status = world.shipper.status()
        assert (status.resent, status.lost, status.set_aside) == (19, 1, 1)
        assert await world.shipper.heard(SeqRanges([(7, 7)])) == NONE
        assert world.shipper.backlog_records == 0

    ship(script, poison)


@pytest.mark.parametrize("before", [True, False])
def test_a_record_that_does_not_read_back_is_asked_for_once(before: bool) -> None:
    """Damaged before it was ever sent, or after."""

    async def script(world: World) -> None:
        world.certified = not before
        await world.commit(20)
        if not before:
            await world.shipped()
        path = f"{world.spool.directory}/seg-{0:020d}.log"
        at = world.disk.content(path).index(b'"r7"')
        file = SimFiles(world.disk).open(path, writable=True)
        file.pwrite(b"X", at)
        file.close()
        world.certified = True
        world.shipper.wake()
        await world.shipped()
        gone = forget(world, range(20))
        lost = gone - SeqRanges([(7, 7)]) if before else gone
        assert await world.shipper.heard(gone) == lost
        await world.shipped()
        assert world.seqs == [seq for seq in range(20) if seq != 7]
        sent = len(world.store.sizes)
        assert await world.shipper.heard(SeqRanges([(7, 7)])) == NONE
        await elapse(60)
        assert len(world.store.sizes) == sent
        assert world.spool.damaged_records == 1

    ship(script)


def test_a_stop_before_all_came_back_leaves_it_on_the_volume() -> None:
    down: list[bool] = []

    async def script(world: World) -> None:
        await world.commit(20)
        await world.spool.commit(world.spool.kept_reservation(final=True), seal_draft())
        await world.shipped()
        down.append(True)
        gone = forget(world, range(5))
        await world.shipper.heard(gone)
        assert await world.shipper.drain(5) == 5
        await world.spool.close()

    world = ship(script, lambda request, seqs: away(request, seqs) if down else None)
    assert any(path.endswith(".log") for path in world.disk.paths())

    async def successor(later: World) -> None:
        await later.shipped()
        kept = [seq for instance, seq in later.store.kept if instance == world.spool.instance]
        assert sorted(kept) == list(range(21))

    ship(successor, disk=world.disk.killed(), number=2)


def test_nothing_is_kept_for_a_store_once_the_spool_is_being_closed() -> None:
    async def script(world: World) -> None:
        await world.commit(20)
        await world.spool.commit(world.spool.kept_reservation(final=True), seal_draft())
        assert await world.shipper.drain(5) == 0
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(world.spool.close)
            await world.spool._closing.wait()
            await world.shipper.heard(forget(world, range(5)))
        assert world.shipper.backlog_records == 0

    assert ship(script).left == []


@pytest.mark.parametrize("seed", range(1, 9))
def test_a_store_that_was_away_is_asked_before_anything_is_deleted(seed: int) -> None:
    down: list[bool] = []

    async def script(world: World) -> None:
        await world.commit(50, LARGE)
        await world.shipped()
        (base,) = world.spool.shelf.bases
        down.append(True)
        await world.commit(60, LARGE)
        await elapse(60)
        gone = forget(world, range(50))
        with anyio.move_on_after(1) as early:
            await world.shipper.wait_back()
        assert early.cancelled_caught
        assert await world.shipper.heard(NONE) == NONE, "no answer while it is away"
        down.clear()
        with anyio.fail_after(60):
            await world.shipper.wait_back()
        await world.shipped()
        assert world.spool.shelf.bases[0] == base
        await world.shipper.heard(gone)
        await world.shipped()
        assert world.seqs == list(range(base, 110))
        await world.shipper.heard(SeqRanges([(0, base - 1)]))
        assert len(world.spool.shelf.bases) == 1

    ship(script, lambda request, seqs: away(request, seqs) if down else None, seed=seed)
