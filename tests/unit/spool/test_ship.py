"""Every record reaches the store exactly as it is, whatever the store answers meanwhile.

The store here misbehaves on demand; the real one is tested with the real spool elsewhere.
"""

from __future__ import annotations

import anyio
import msgspec
import pytest

from gateway import limits
from gateway.ports import Receipt, ServiceAnswer, ServiceUnreachable
from gateway.shipping import ShipException, ShipHead
from spool.recover import find_dead
from tests.sim.disk import SimDisk
from tests.sim.loop import elapse
from tests.sim.records import PLACE, draft, instance_id, seal_draft
from tests.sim.shipping import CONFIG, ROOT, Store, Told, World, refusal, ship, taken


def test_every_record_arrives_in_order_and_whole_segments_go() -> None:
    async def script(world: World) -> None:
        await world.commit(100, 12_000)
        await world.shipped()
        assert world.seqs == list(range(100))
        assert len(world.spool.shelf.bases) == 1
        status = world.shipper.status()
        assert (status.resolved, status.backlog_records, status.alarms) == (100, 0, [])

    ship(script)


def test_a_lone_record_waits_for_company_and_a_full_batch_does_not() -> None:
    async def script(world: World) -> None:
        await elapse(5)
        started = anyio.current_time()
        await world.commit(1)
        await world.shipped()
        assert world.store.times[0] - started >= CONFIG.ship_linger_seconds
        await world.commit(limits.SHIP_RECORDS_MAX)
        started = anyio.current_time()
        await world.shipped()
        assert world.store.sizes[-1] == limits.SHIP_RECORDS_MAX
        assert world.store.times[-1] - started < CONFIG.ship_linger_seconds

    ship(script)


def test_an_uncertified_instance_does_not_ship_until_it_is_woken() -> None:
    async def script(world: World) -> None:
        world.certified = False
        await world.commit(3)
        await elapse(3_600)
        assert world.store.sizes == []
        assert world.shipper.status().state == "held"
        assert "not_shipping" in world.shipper.status().alarms
        world.certified = True
        world.shipper.wake()
        await world.shipped(5)

    ship(script)


def test_a_timeout_after_the_store_kept_it_sends_again_and_counts_once() -> None:
    def cut(request: int, seqs: list[int]) -> ServiceAnswer | None:
        if request <= 2:
            raise ServiceUnreachable("timeout", "no answer in 10 s")
        return None

    async def script(world: World) -> None:
        world.store.keep_first = True
        await world.commit(5)
        await world.shipped()
        assert world.seqs == [0, 1, 2, 3, 4]
        assert world.store.sizes == [5, 5, 5]

    ship(script, cut)


@pytest.mark.parametrize("status", [401, 403, 404, 409, 412, 302, 408, 429, 500, 503])
def test_an_hour_of_refusals_that_are_no_records_fault_sets_nothing_aside(status: int) -> None:
    async def script(world: World) -> None:
        await world.commit(3)
        await elapse(3_600)
        shipping = world.shipper.status()
        assert (shipping.set_aside, shipping.backlog_records) == (0, 3)
        assert shipping.last_status == status
        assert shipping.consecutive_failures == len(world.store.sizes) > 50
        assert "not_shipping" in shipping.alarms
        up.append(True)
        await world.shipped(120)
        assert world.shipper.status().alarms == []

    up: list[bool] = []
    ship(script, lambda request, seqs: None if up else refusal(status))


def test_tls_failure_is_no_records_fault_either() -> None:
    def fail(request: int, seqs: list[int]) -> ServiceAnswer | None:
        if request < 20:
            raise ServiceUnreachable("tls", "certificate has expired")
        return None

    async def script(world: World) -> None:
        await world.commit(2)
        await world.shipped()
        assert world.shipper.status().set_aside == 0

    ship(script, fail)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("60", 60.0), ("1000000000", 300.0), ("Thu, 01 Jan 1970 00:02:00 GMT", 60)],
)
def test_retry_after_is_honoured_and_capped(value: str, seconds: float) -> None:
    def later(request: int, seqs: list[int]) -> ServiceAnswer | None:
        return refusal(503, retry_after=value) if request == 1 else None

    async def script(world: World) -> None:
        await elapse(60)
        await world.commit(1)
        await world.shipped()
        first, second = world.store.times
        assert seconds - 1 <= second - first <= seconds + 1

    ship(script, later)


def test_one_record_that_the_store_refuses_is_found_and_kept_aside() -> None:
    def poison(request: int, seqs: list[int]) -> ServiceAnswer | None:
        return refusal(400, "document_invalid") if 77 in seqs else None

    async def script(world: World) -> None:
        await world.commit(200)
        await world.shipped()
        assert world.seqs == [seq for seq in range(200) if seq != 77]
        assert world.shipper.status().set_aside == 1
        assert "records_set_aside" in world.shipper.status().alarms
        path = f"{world.spool.directory}/quarantine/refused-{77:020d}.jsonl"
        why, line = world.disk.content(path).splitlines()
        assert msgspec.json.decode(why)["status"] == 400
        assert world.store.read_line(line)[:2] == (world.spool.instance, 77)
        assert world.spool.status().bytes_quarantined == len(world.disk.content(path))

    ship(script, poison)


def test_a_store_that_refuses_everything_is_not_fed_into_the_quarantine() -> None:
    async def script(world: World) -> None:
        await world.commit(50)
        await elapse(7_200)
        status = world.shipper.status()
        assert status.set_aside == limits.SHIP_POISONED_MAX
        assert "store_refuses_all" in status.alarms
        up.append(True)
        await world.shipped(limits.SHIP_SET_ASIDE_SECONDS + 60)
        assert world.seqs == list(range(limits.SHIP_POISONED_MAX, 50))

    up: list[bool] = []
    ship(script, lambda request, seqs: None if up else refusal(422))


def test_a_batch_that_is_too_large_is_halved() -> None:
    def small(request: int, seqs: list[int]) -> ServiceAnswer | None:
        return refusal(413) if len(seqs) > 60 else None

    async def script(world: World) -> None:
        await world.commit(300)
        await world.shipped()
        assert world.seqs == list(range(300))
        assert world.shipper.status().set_aside == 0
        assert world.store.sizes.count(300) <= 1

    ship(script, small)


def test_412_posts_the_certificate_and_repeats_at_once() -> None:
    def unknown(request: int, seqs: list[int]) -> ServiceAnswer | None:
        return refusal(412, "certificate_unknown") if request == 1 else None

    async def script(world: World) -> None:
        await world.commit(2)
        await world.shipped()
        assert world.posted == [world.spool.instance]
        assert world.store.times[1] - world.store.times[0] < 0.1
        assert world.shipper.status().consecutive_failures == 0

    ship(script, unknown)


def test_what_was_resolved_is_not_sent_again() -> None:
    def partial(request: int, seqs: list[int]) -> Told | None:
        if request == 1:
            return taken(1, [ShipException(seq=seqs[2], code="retry")])
        return None

    async def script(world: World) -> None:
        await world.commit(5)
        await world.shipped()
        assert world.store.sizes == [5, 3]
        assert world.spool.acked_seq == 4

    ship(script, partial)


def test_rejected_and_forked_records_count_as_resolved_with_an_alarm() -> None:
    def judge(request: int, seqs: list[int]) -> Told | None:
        disputed = [ShipException(seq=1, code="rejected"), ShipException(seq=2, code="fork")]
        return taken(seqs[-1], disputed)

    async def script(world: World) -> None:
        await world.commit(4)
        await world.shipped()
        assert world.spool.acked_seq == 3
        assert world.shipper.status().alarms == ["store_fork", "store_rejected"]

    ship(script, judge)


@pytest.mark.parametrize(
    "lie",
    [
        taken(10_000),
        taken(-1),
        taken(4, [ShipException(seq=9_999, code="duplicate")]),
        taken(4, None, ShipHead(seq=4, record_hash="sha256:00")),
        ServiceAnswer(200, {}, b'{"through_seq": 4'),
        ServiceAnswer(204, {}, b""),
    ],
)
def test_an_answer_that_cannot_be_true_moves_nothing(lie: ServiceAnswer | Told) -> None:
    async def script(world: World) -> None:
        await world.commit(5)
        await elapse(60)
        assert world.spool.acked_seq == -1
        assert world.shipper.status().consecutive_failures > 0
        honest.append(True)
        await world.shipped(60)
        assert world.seqs == [0, 1, 2, 3, 4]

    honest: list[bool] = []
    ship(script, lambda request, seqs: None if honest else lie)


def test_only_durable_records_are_shipped() -> None:
    async def script(world: World) -> None:
        await world.commit(1)
        await world.shipped()
        world.disk.faults.flush_seconds = 50.0
        commit = world.spool.submit(world.spool.reserve(1), draft("slow"))
        await elapse(40)
        assert world.seqs == [0]
        await commit.wait()
        await world.shipped(60)
        assert world.seqs == [0, 1]

    ship(script)


def test_drain_ships_what_there_is_and_the_directory_goes() -> None:
    async def script(world: World) -> None:
        await world.commit(20)
        await world.spool.commit(world.spool.kept_reservation(final=True), seal_draft())
        assert await world.shipper.drain(5) == 0
        await world.spool.close()

    world = ship(script)
    assert world.seqs == list(range(21))
    assert world.left == []
    assert world.disk.open_files == 0


def test_drain_ends_at_its_deadline_and_says_what_is_left() -> None:
    def down(request: int, seqs: list[int]) -> ServiceAnswer | None:
        raise ServiceUnreachable("connect", "refused")

    async def script(world: World) -> None:
        await world.commit(7)
        started = anyio.current_time()
        assert await world.shipper.drain(5) == 7
        assert 5 <= anyio.current_time() - started < 5.1
        await world.spool.close()

    assert len(ship(script, down).disk.paths()) == 2


def _dead_disk(count: int = 30) -> SimDisk:
    """A volume that instance 1 left in a hurry."""

    async def die(world: World) -> None:
        world.certified = False
        await world.commit(count, 12_000)

    return ship(die).disk.killed()


def test_what_a_dead_instance_left_is_shipped_beside_our_own_and_removed() -> None:
    async def script(world: World) -> None:
        await world.commit(5)
        await world.shipped()
        (source,) = world.shipper._dead
        assert source.dead.findings.records == 30
        left = {key for key in world.store.kept if key[0] == instance_id(1)}
        assert left == {(instance_id(1), seq) for seq in range(30)}
        assert world.seqs == [0, 1, 2, 3, 4]
        assert {of.instance for of in world.store.of if of} == {instance_id(1)}
        receipt = Receipt(id="recovered", seq=1, hash="h")
        await source.dead.settle(world.disk, receipt, world.spool.instance, 0)
        world.shipper.wake()
        await elapse(1)
        assert world.shipper.status().dead == []
        assert world.spool.status().bytes_dead == 0

    disk = ship(script, disk=_dead_disk(), number=2).disk
    assert not [path for path in disk.paths() if instance_id(1) in path]


def test_a_dead_instance_may_be_taken_in_while_others_are_shipped() -> None:
    async def script(world: World) -> None:
        await world.commit(3)
        await world.shipped()
        disk = world.disk
        for path, data in left.items():
            disk.put(path, data)
        found, _ = await find_dead(disk, ROOT, PLACE, wall_us=0)
        world.shipper.take_in(found)
        assert world.spool.status().bytes_dead == found[0].bytes_used > 0
        with anyio.fail_after(60):
            await world.shipper.wait_dead()
        assert len([key for key in world.store.kept if key[0] == instance_id(1)]) == 30
        assert world.shipper.dead == found, "its recovered record is still to be written"
        await found[0].settle(disk, Receipt(id="r", seq=1, hash="h"), world.spool.instance, 0)
        world.shipper.wake()
        with anyio.fail_after(60):
            await world.shipper.wait_dead()
        assert world.shipper.dead == []
        assert not [path for path in disk.paths() if instance_id(1) in path]

    before = _dead_disk()
    left = {path: before.content(path) for path in before.paths()}
    ship(script, number=2)


def test_waiting_for_dead_instances_ends_when_the_store_does_not_let_them_in() -> None:
    async def script(world: World) -> None:
        with anyio.fail_after(60):
            await world.shipper.wait_dead()
        (dead,) = world.shipper.status().dead
        assert (dead.backlog_records, "403" in (dead.blocked or "")) == (30, True)

    ship(script, lambda request, seqs: refusal(403, "not_entitled"), disk=_dead_disk(), number=2)


def test_a_drain_removes_the_directory_that_it_shipped_last() -> None:
    async def script(world: World) -> None:
        world.certified = False
        (dead,) = world.shipper.dead
        await dead.settle(world.disk, Receipt(id="r", seq=1, hash="h"), world.spool.instance, 0)
        world.certified = True
        assert await world.shipper.drain(60) == 0
        assert world.shipper.dead == []

    ship(script, disk=_dead_disk(), number=2)


def test_a_dead_instance_that_is_not_let_in_does_not_hold_up_our_own() -> None:
    async def script(world: World) -> None:
        await world.commit(3)
        await elapse(60)
        assert world.seqs == [0, 1, 2]
        (dead,) = world.shipper.status().dead
        assert dead.backlog_records == 30
        assert "403" in (dead.blocked or "")
        assert await world.shipper.drain(30) == 30
        assert "shipping_blocked" in world.shipper.status().alarms

    world_disk = _dead_disk()
    stores: list[Store] = []

    def not_entitled(request: int, seqs: list[int]) -> ServiceAnswer | None:
        return refusal(403, "not_entitled") if len(seqs) > 3 else None

    ship(script, not_entitled, disk=world_disk, number=2)
    assert stores == []


@pytest.mark.parametrize("seed", range(6))
def test_a_chain_of_crashes_loses_nothing_and_stores_nothing_twice(seed: int) -> None:
    disk = SimDisk(seed)
    store = Store()
    written = 0
    for number in range(1, 5):
        count = 5 + 3 * number

        async def live(world: World, count: int = count) -> None:
            await world.commit(count, 9_000)
            await elapse(0.05 * seed)

        made = ship(live, disk=disk, number=number, seed=seed, store=store)
        disk = made.disk.cut(keep=seed / 5)
        written += count

    async def last(world: World) -> None:
        await world.shipped()

    ship(last, disk=disk, number=9, seed=seed, store=store)
    assert len(store.kept) == written


def test_a_spool_that_closes_under_the_shipper_takes_nothing_for_sent() -> None:
    async def script(world: World) -> None:
        world.certified = False
        await world.commit(20)
        await world.spool.commit(world.spool.kept_reservation(final=True), seal_draft())
        await world.spool.close()
        world.certified = True
        world.shipper.wake()
        await elapse(1)
        assert (world.seqs, world.spool.acked_seq) == (list(range(21)), 20)

    left = ship(script).disk.paths()
    assert any(path.endswith(".log") for path in left)


def test_a_record_after_a_quiet_hour_is_no_silence() -> None:
    """The alarm is for records that wait, not for a store that had nothing to take."""
    down: list[bool] = []

    def cut(request: int, seqs: list[int]) -> ServiceAnswer | None:
        if down:
            raise ServiceUnreachable("connect", "nobody is there")
        return None

    async def script(world: World) -> None:
        await world.commit(1)
        await world.shipped()
        await elapse(3_600)
        down.append(True)
        await world.commit(1)
        await elapse(limits.SHIP_SILENCE_SECONDS / 2)
        assert world.shipper.status().alarms == []
        await elapse(limits.SHIP_SILENCE_SECONDS)
        assert world.shipper.status().alarms == ["not_shipping"]
        assert world.shipper.status().circuit in ("open", "half_open")
        down.clear()
        await world.shipped(60)
        assert world.shipper.status().alarms == []
        assert world.shipper.status().circuit == "closed"

    ship(script, cut)


def test_sending_again_is_counted_apart() -> None:
    def cut(request: int, seqs: list[int]) -> ServiceAnswer | None:
        if request == 1:
            raise ServiceUnreachable("timeout", "no answer in 10 s")
        return None

    async def script(world: World) -> None:
        await world.commit(5)
        await world.shipped()
        status = world.shipper.status()
        assert (status.sent, status.sent_again, status.resolved, status.in_flight) == (10, 5, 5, 0)
        assert status.accepted + status.duplicates == 5

    ship(script, cut)
