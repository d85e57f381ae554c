"""Nothing leaves the disk that the store's log is not proved to hold, whatever the store says."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from gateway import checkpoint, note, shipping
from gateway.errors import ConfigInvalid
from gateway.io.disk import ThreadDisk
from gateway.logproof import LeafType
from gateway.ports import ServiceAnswer
from gateway.shipping import encode_answer
from spool.ranges import NONE
from spool.seen import SEEN_NAME, Contradiction, SeenLog
from tests.sim.disk import SimDisk
from tests.sim.loop import elapse
from tests.sim.records import seal_draft
from tests.sim.shiplog import ShipLog
from tests.sim.shipping import ROOT, Store, World, ship

LARGE = 12_000


def _changed(answer: ServiceAnswer, **changes: object) -> ServiceAnswer:
    read = msgspec.structs.replace(shipping.decode_answer(answer.body), **changes)
    return ServiceAnswer(200, {}, encode_answer(read))


class Liar(Store):
    """A store whose answers are changed on their way as long as ``lies`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.lies: dict[str, object] = {}

    async def call(self, *args: object, **options: object) -> ServiceAnswer:
        answer = await super().call(*args, **options)  # type: ignore[arg-type]  # passed on
        return _changed(answer, **self.lies) if self.lies else answer


def _seen(disk: SimDisk) -> int:
    text = msgspec.json.decode(disk.content(f"{ROOT}/{SEEN_NAME}"), type=dict[str, str])["note"]
    return checkpoint.read(note.parse(text).text).size


def test_a_store_that_proves_nothing_is_not_believed_and_nothing_is_deleted() -> None:
    store = Liar()

    async def script(world: World) -> None:
        store.lies = {"runs": []}
        await world.commit(60, LARGE)
        await elapse(3_600)
        status = world.shipper.status()
        assert (world.spool.acked_seq, status.backlog_records) == (-1, 60)
        assert world.spool.shelf.bases[0] == 0
        assert set(status.alarms) == {"store_unproven", "not_shipping"}
        store.lies = {}
        await world.shipped(60)
        assert world.shipper.status().alarms == []
        await world.shipper.heard(NONE)
        assert len(world.spool.shelf.bases) == 1

    ship(script, store=store)


def test_a_store_that_drops_a_record_and_says_it_took_it_is_caught() -> None:
    """Its log has no leaf for the record, so no proof of it can be made."""

    class Dropping(Store):
        def _answer(self, told, came):  # type: ignore[no-untyped-def]  # as in Store
            kept = [one for one in came if one[1] != 3]
            answer = super()._answer(told, kept)
            runs = shipping.decode_answer(answer.body).runs
            assert runs is not None
            spare = msgspec.structs.replace(runs[-1], first_seq=3, last_seq=3)
            return _changed(answer, runs=[*runs, spare])

    async def script(world: World) -> None:
        await world.commit(5)
        await elapse(600)
        assert world.spool.acked_seq == -1
        assert "not under the checkpoint" in (world.shipper.status().unproven or "")
        assert "store_unproven" in world.shipper.status().alarms

    ship(script, store=Dropping())


def test_records_before_the_first_unproven_one_are_done_and_the_rest_is_sent_again() -> None:
    class Partial(Store):
        def _answer(self, told, came):  # type: ignore[no-untyped-def]  # as in Store
            answer = super()._answer(told, came)
            runs = shipping.decode_answer(answer.body).runs
            assert runs is not None
            return _changed(answer, runs=[one for one in runs if one.first_seq != came[-1][1]])

    async def script(world: World) -> None:
        await world.commit(5)
        await elapse(600)
        assert world.spool.acked_seq == 3
        assert world.store.sizes[:2] == [5, 1]

    ship(script, store=Partial())


def test_what_was_seen_is_durable_before_anything_is_deleted() -> None:
    async def script(world: World) -> None:
        await world.commit(60, LARGE)
        await world.shipped()
        assert world.spool.shelf.bases[0] > 0
        # A power cut that keeps nothing but what is durable still knows it.
        assert _seen(world.disk.cut(0.0)) > world.spool.shelf.bases[0] - 1

    ship(script)


def test_two_histories_are_caught_across_processes_and_both_notes_are_kept() -> None:
    store = Store()

    async def first(world: World) -> None:
        await world.commit(30, LARGE)
        await world.spool.commit(world.spool.kept_reservation(final=True), seal_draft())
        assert await world.shipper.drain(60) == 0
        await world.spool.close()

    disk = ship(first, store=store).disk
    assert _seen(disk) == 31
    rewritten = Store()
    for number in range(40):
        digest = "sha256:" + bytes([number]).hex() * 32
        rewritten.log.add("somebody", number, digest, LeafType.RECORD, 0)

    async def second(world: World) -> None:
        await world.commit(5)
        await elapse(3_600)
        status = world.shipper.status()
        assert {"store_two_histories", "store_unproven"} <= set(status.alarms)
        assert (world.spool.acked_seq, status.contradictions >= 1) == (-1, True)
        # Calls go on.
        await world.commit(5)

    left = ship(second, disk=disk, number=2, store=rewritten).disk
    (path, *_) = [one for one in left.paths() if "/contradiction-" in one]
    found = msgspec.json.decode(left.content(path), type=Contradiction)
    seen, shown = (checkpoint.read(note.parse(one).text) for one in (found.seen, found.shown))
    assert (seen.origin, seen.size) == (shown.origin, 31)
    assert shown.size > 40
    assert _seen(left) == 31, "what was seen is not given up"


def test_two_histories_raise_the_alarm_although_the_notes_find_no_room() -> None:
    store = Store()

    async def script(world: World) -> None:
        await world.commit(3)
        await world.shipped()
        store.log = ShipLog()
        for number in range(40):
            digest = "sha256:" + bytes([number]).hex() * 32
            store.log.add("somebody", number, digest, LeafType.RECORD, 0)
        world.disk.faults.capacity_bytes = world.disk.taken_bytes
        await world.commit(3)
        await elapse(600)
        status = world.shipper.status()
        assert {"store_two_histories", "store_unproven"} <= set(status.alarms)
        assert status.contradictions == 0
        assert not [path for path in world.left if "contradiction" in path]

    ship(script, store=store)


def test_a_log_of_another_number_needs_a_statement() -> None:
    store = Store()

    async def first(world: World) -> None:
        await world.commit(3)
        await world.shipped()
        await elapse(1)

    async def second(world: World) -> None:
        await world.commit(3)
        await elapse(600)
        assert world.spool.acked_seq == -1
        assert "no statement leads" in (world.shipper.status().unproven or "")

    made = ship(first, store=store)
    opened = Store()
    opened.log = ShipLog(2)
    disk = made.disk.killed()
    # The first life deleted nothing, so nothing was written down; as the upkeep does each minute:
    disk.put(f"{ROOT}/{SEEN_NAME}", msgspec.json.encode({"note": store.log.note()}))
    ship(second, disk=disk, number=2, store=opened)


@pytest.mark.anyio
async def test_what_was_seen_and_cannot_be_read_stops_the_start_and_is_named(
    tmp_path: Path,
) -> None:
    (tmp_path / SEEN_NAME).mkdir()
    with pytest.raises(ConfigInvalid, match=f"{SEEN_NAME} is not a regular file"):
        await SeenLog(ThreadDisk(), str(tmp_path)).load()
