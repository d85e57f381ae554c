"""What the next start does with the directories of processes that are gone."""

from __future__ import annotations

import anyio
import pytest

from gateway import limits
from gateway.documents import Envelope
from gateway.ports import FileSystem, Receipt
from gateway.record import UNCHAINED, Clock, Start, Started
from gateway.seal import sha256_text
from spool import frame, read
from spool.dead import Place
from spool.frame import SegmentHeader
from spool.recover import find_dead, newest
from tests.sim.disk import Faults, SimDisk
from tests.sim.left_behind import ROOT, SEGMENT_BYTES, files_of, home, put_segment, recover
from tests.sim.loop import simulate
from tests.sim.records import PLACE, draft, instance_id, seal_draft, sealed_records, sealer

DAY_US = 24 * 3600 * 1_000_000


def test_no_root_is_nothing_to_recover() -> None:
    assert recover(SimDisk()) == ([], [])


def test_a_dead_directory_is_read_and_its_lock_held() -> None:
    disk = SimDisk()
    records = sealed_records(5)
    put_segment(disk, records[:3], end=True)
    put_segment(disk, records[3:])
    disk.put(f"{home()}/next-4.tmp", bytes(100))
    (dead,), alone = recover(disk)
    assert alone == []
    assert (dead.findings.records, dead.findings.last_hash) == (5, records[4].hash)
    assert dead.needs_record, "it did not end in order"
    assert dead.bytes_used == 2 * SEGMENT_BYTES
    assert f"{home()}/LOCK" in disk.locks
    assert "next-4.tmp" not in files_of(disk)
    assert recover(disk) == ([], []), "whoever holds the lock is not dead"


def test_a_directory_without_records_is_removed_at_once() -> None:
    disk = SimDisk()
    put_segment(disk, sealed_records(1))
    disk.put(f"{home()}/seg-{0:020d}.log", bytes(SEGMENT_BYTES))
    disk.put(f"{home(2)}/LOCK", b"")
    assert recover(disk) == ([], [])
    assert disk.paths() == []


@pytest.mark.parametrize("number", [limits.JSON_INTEGER_MAX + 1, 10**20 - 1])
def test_a_name_with_a_number_that_no_record_can_have_stops_no_start(number: int) -> None:
    disk = SimDisk()
    put_segment(disk, sealed_records(2), end=True)
    stray = f"{home()}/seg-{number:020d}.log"
    disk.put(stray, b"not a segment")
    (dead,), alone = recover(disk)
    assert (dead.findings.records, dead.bases, alone) == (2, [0], [])
    assert disk.content(stray) == b"not a segment"


def test_damaged_bytes_are_in_quarantine_before_anything_is_shipped() -> None:
    disk = SimDisk()
    path = put_segment(disk, sealed_records(3))
    at = frame.PAGE_BYTES + frame.record_frame_bytes(len(sealed_records(1)[0].payload))
    disk.flip_bit(path, (at + 60) * 8)
    damaged = disk.content(path)
    for _ in range(2):
        (dead,), _ = recover(disk)
        (kept,) = dead.findings.quarantined
        assert kept.file == f"{0:020d}-{at}.bin"
        content = disk.content(f"{home()}/quarantine/{kept.file}")
        assert content == damaged[at : at + kept.length]
        assert kept.digest == sha256_text(content)
        assert disk.content(path) == damaged
        dead.release()


def test_a_directory_with_nothing_readable_keeps_only_its_quarantine() -> None:
    disk = SimDisk()
    path = put_segment(disk, sealed_records(1))
    disk.flip_bit(path, (frame.PAGE_BYTES + 60) * 8)
    (dead,), _ = recover(disk)
    assert (dead.findings.records, dead.findings.ambiguous, dead.bases) == (0, True, [])
    assert dead.needs_record
    kept = f"quarantine/{0:020d}-{frame.PAGE_BYTES}.bin"
    assert files_of(disk) == ["LOCK", "found.json", kept]
    (again,), _ = recover(disk.killed())
    assert again.findings == dead.findings, "until a record says it"


def test_a_start_takes_one_turn_of_the_disk_for_all_that_hold_only_a_quarantine() -> None:
    disk = SimDisk()
    for number in range(1, 6):
        disk.put(f"{home(number)}/LOCK", b"")
        disk.put(f"{home(number)}/quarantine/{0:020d}-4096.bin", bytes(100))
        disk.put(f"{home(number)}/settled.json", b'{"by":null,"seq":null,"wall_us":0}')
    turns: list[int] = []
    disk.on_work = lambda: turns.append(1)
    dead, _ = recover(disk)
    assert [one.quarantine_bytes for one in dead] == [100] * 5
    assert len(turns) == 1


def test_a_damaged_header_page_costs_no_record() -> None:
    disk = SimDisk()
    path = put_segment(disk, sealed_records(3))
    for bit in range(0, 128 * 8, 37):
        disk.flip_bit(path, bit)
    (dead,), _ = recover(disk)
    assert dead.findings.records == 3
    assert "header" in dead.findings.notes
    assert dead.findings.quarantined[0].length == frame.PAGE_BYTES


def test_much_damage_keeps_the_whole_segment() -> None:
    disk = SimDisk()
    records = sealed_records(40)
    path = put_segment(disk, records)
    size = frame.record_frame_bytes(len(records[0].payload))
    for index in range(0, 40, 2):
        disk.flip_bit(path, (frame.PAGE_BYTES + index * size + 60) * 8)
    (dead,), _ = recover(disk)
    assert [one.length for one in dead.findings.quarantined] == [SEGMENT_BYTES]


def test_a_segment_of_another_instance_is_quarantined_whole() -> None:
    disk = SimDisk()
    put_segment(disk, sealed_records(2))
    other = put_segment(disk, sealed_records(6, number=2)[4:], number=2)
    disk.put(f"{home()}/seg-{4:020d}.log", disk.content(other))
    dead, _ = recover(disk)
    mine = next(one for one in dead if one.instance == instance_id(1))
    assert mine.findings.records == 2
    assert "foreign_segment" in mine.findings.notes
    assert mine.findings.quarantined[0].length == SEGMENT_BYTES


def test_a_newer_format_is_left_alone() -> None:
    disk = SimDisk()
    path = put_segment(disk, sealed_records(2))
    header = SegmentHeader(frame.instance_bytes(instance_id(1)), 0, 1, SEGMENT_BYTES, version=2)
    content = frame.encode_header(header) + disk.content(path)[frame.PAGE_BYTES :]
    disk.put(path, content)
    dead, (alone,) = recover(disk)
    assert dead == []
    assert "format version 2" in alone.why
    assert disk.content(path) == content
    assert disk.locks == set()


def test_a_directory_that_others_may_write_to_is_left_alone() -> None:
    disk = SimDisk()
    put_segment(disk, sealed_records(2))
    disk.modes[home()] = 0o770
    dead, (alone,) = recover(disk)
    assert dead == []
    assert "chmod go-w" in alone.why
    assert alone.bytes_used == sum(len(disk.content(path)) for path in disk.paths())


@pytest.mark.parametrize("other", [Place("globex", "eu"), Place("acme", "us")])
def test_records_of_another_tenant_or_region_are_left_alone(other: Place) -> None:
    disk = SimDisk()
    path = put_segment(disk, sealed_records(3))
    disk.flip_bit(path, (frame.PAGE_BYTES + 2_000) * 8)
    disk.put(f"{home()}/next-1.tmp", bytes(100))
    before = {name: disk.content(name) for name in disk.paths()}

    async def world() -> None:
        dead, (alone,) = await find_dead(disk, ROOT, other, wall_us=0)
        assert dead == []
        assert "tenant acme, region eu" in alone.why
        assert f"{other.tenant}, {other.region}" in alone.why
        assert alone.bytes_used == SEGMENT_BYTES + 100

    simulate(0, world)
    assert {name: disk.content(name) for name in disk.paths()} == before
    assert disk.locks == set()


@pytest.mark.parametrize("seed", range(3))
def test_of_two_that_look_at_once_each_passes_over_what_the_other_has(seed: int) -> None:
    disk = SimDisk(faults=Faults(queue_seconds=0.01))
    for number in (1, 3):
        for record in sealed_records(8, number):
            put_segment(disk, [record], number=number)
    for number in (2, 4, 5):
        disk.put(f"{home(number)}/LOCK", b"")
    found: list[str] = []

    async def look() -> None:
        dead, alone = await find_dead(disk, ROOT, PLACE, wall_us=0)
        assert alone == [], "a directory that another removed is not a finding"
        found.extend(one.instance for one in dead)

    async def world() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(look)
            tasks.start_soon(look)

    simulate(seed, world)
    assert sorted(found) == [instance_id(1), instance_id(3)]


def test_a_disk_that_cannot_make_it_durable_leaves_the_directory_alone() -> None:
    disk = SimDisk(faults=Faults(sync_error_at=1))
    put_segment(disk, sealed_records(2))
    dead, (alone,) = recover(disk)
    assert dead == []
    assert "input/output" in alone.why


def test_the_chain_tells_its_key_and_certificates() -> None:
    chain = sealer()
    certificate = Envelope(payload_type="t", payload="cA==", signatures=[])
    start = Start(
        v=1,
        kind="start",
        id="start",
        tenant="acme",
        region="eu",
        chain=UNCHAINED,
        topology="sidecar",
        time=Started(
            started="2026-01-01T00:00:00.000000Z",
            clock=Clock(source="simulated", err_ms=None, mono_us=0, boot_id=None),
        ),
        pub="key",
        certificate=certificate,
        config_digest="sha256:00",
        build="test",
        continues=None,
        continues_reason="first_start",
    )
    disk = SimDisk()
    put_segment(disk, [chain.seal(start), chain.seal(draft("a")), chain.seal(seal_draft())])
    (dead,), _ = recover(disk)
    findings = dead.findings
    assert (findings.tenant, findings.region, findings.public_key) == ("acme", "eu", "key")
    assert findings.certificates == [certificate]
    assert findings.clean
    assert not dead.needs_record


def test_the_next_start_continues_the_instance_that_wrote_last() -> None:
    disk = SimDisk()
    put_segment(disk, sealed_records(3, number=2), number=2)
    put_segment(disk, sealed_records(2, number=1), number=1)
    dead, _ = recover(disk)
    assert [one.instance for one in dead] == [instance_id(1), instance_id(2)]
    continues = newest(dead)
    assert continues is not None
    assert (continues.instance, continues.seq) == (instance_id(2), 2)
    assert continues.record_hash == sealed_records(3, number=2)[2].hash
    assert newest([]) is None


@pytest.mark.parametrize(("age_days", "removable"), [(0, False), (29, False), (31, True)])
def test_quarantine_is_kept_for_thirty_days_after_its_record(
    age_days: int, removable: bool
) -> None:
    disk = SimDisk()
    path = put_segment(disk, sealed_records(3))
    disk.flip_bit(path, (frame.PAGE_BYTES + 60) * 8)
    (dead,), _ = recover(disk)

    async def world() -> None:
        assert not dead.removable(0)
        await dead.trim(disk, 2)
        assert not dead.removable(10 * limits.QUARANTINE_SECONDS_MAX * 1_000_000)
        await dead.settle(disk, Receipt(id="r", seq=5, hash="h"), instance_id(9), 0)
        assert dead.removable(age_days * DAY_US) == removable
        if removable:
            await dead.remove(disk)
        else:
            dead.release()

    simulate(0, world)
    if removable:
        assert disk.paths() == []
    else:
        (again,), _ = recover(disk)
        assert again.settled is not None
        assert (again.settled.by, again.settled.seq) == (instance_id(9), 5)
        assert not again.needs_record


def test_quarantine_stays_where_the_record_was_written_before_the_segments_went() -> None:
    disk = SimDisk()
    path = put_segment(disk, sealed_records(3))
    disk.flip_bit(path, (frame.PAGE_BYTES + 60) * 8)
    (dead,), _ = recover(disk)

    async def world() -> None:
        await dead.settle(disk, Receipt(id="r", seq=5, hash="h"), instance_id(9), 0)
        await dead.trim(disk, 2)
        dead.release()

    simulate(0, world)
    kept = files_of(disk)
    assert any(name.startswith("quarantine/") for name in kept)
    for _ in range(2):
        (again,), _ = recover(disk)
        again.release()
        assert files_of(disk) == kept, "before thirty days are over"
    assert recover(disk, wall_us=31 * DAY_US) == ([], [])


def test_a_directory_goes_although_the_note_about_it_found_no_room() -> None:
    disk = SimDisk()
    put_segment(disk, sealed_records(2))
    (dead,), _ = recover(disk)

    async def world() -> None:
        await dead.trim(disk, 1)
        disk.faults = Faults(capacity_bytes=disk.taken_bytes)
        with pytest.raises(OSError, match="no space left"):
            await dead.settle(disk, Receipt(id="r", seq=5, hash="h"), instance_id(9), 0)
        assert files_of(disk) == ["LOCK", "found.json", "settled.json.tmp"]
        assert dead.removable(0), "the record is written, and nothing else keeps it"
        await dead.remove(disk)
        assert disk.paths() == []
        await dead.remove(disk)

    simulate(0, world)
    assert disk.locks == set()


def test_trimming_goes_by_whole_segments_oldest_first() -> None:
    disk = SimDisk()
    records = sealed_records(6)
    for first in (0, 2, 4):
        put_segment(disk, records[first : first + 2], end=True)
    (dead,), _ = recover(disk)

    async def world() -> None:
        await dead.trim(disk, 2)
        assert dead.bases == [2, 4]
        assert dead.bytes_used == 2 * SEGMENT_BYTES
        await dead.trim(disk, 5)
        assert dead.removable(0) is False, "nothing says yet what was found"
        assert dead.bytes_used == 0

    simulate(0, world)
    assert files_of(disk) == ["LOCK", "found.json"], "until a record says it"


def test_reading_needs_no_lock_and_changes_nothing() -> None:
    disk = SimDisk()
    records = sealed_records(30, payload_bytes=15_000)
    put_segment(disk, records[:15], end=True)
    put_segment(disk, records[15:])
    disk.locks.add(f"{home()}/LOCK")

    async def world() -> None:
        def work(files: FileSystem) -> None:
            assert [one.seq for one in read.records(files, home())] == list(range(30))
            later = list(read.records(files, home(), from_seq=20))
            assert [one.seq for one in later] == list(range(20, 30))
            assert later[0].envelope_line() == records[20].envelope_line()
            assert later[0].record_hash() == records[20].hash

        await disk.run(work)
        assert disk.operations == 0
        disk.put(f"{home(2)}/LOCK", b"")
        assert await disk.run(lambda files: list(read.records(files, home(2)))) == []

    simulate(0, world)
    assert disk.open_files == 0


def test_damage_larger_than_a_chunk_is_passed_over() -> None:
    disk = SimDisk()
    records = sealed_records(60, payload_bytes=12_000)
    size = frame.record_frame_bytes(len(records[0].payload))
    path = put_segment(disk, records)
    content = bytearray(disk.content(path))
    content[frame.PAGE_BYTES + size : frame.PAGE_BYTES + 50 * size] = b"\xaa" * (49 * size)
    disk.put(path, bytes(content))

    async def world() -> list[int]:
        return await disk.run(lambda files: [one.seq for one in read.records(files, home())])

    assert simulate(0, world) == [0, *range(50, 60)]
