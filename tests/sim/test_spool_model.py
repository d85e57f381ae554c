"""The spool against models of it: damage bit by bit, random lives, and SQLite as a second opinion.

A model knows only what callers were told. What the spool keeps, ships and tells must agree with
it after any number of crashes, full volumes and restarts.
"""

from __future__ import annotations

import random
import sqlite3

import anyio
import pytest

from gateway.errors import TurnAway
from gateway.ports import FileSystem
from spool import frame, read
from spool.config import SpoolConfig
from spool.examine import Examiner
from spool.recover import find_dead
from spool.scan import StoredRecord, scan
from spool.spool import Spool
from tests.sim.disk import Faults, PowerCut, SimDisk
from tests.sim.left_behind import ROOT, home
from tests.sim.loop import elapse, simulate
from tests.sim.records import PLACE, draft, instance_id, sealed_records, sealer

CONFIG = SpoolConfig(directory=ROOT, segment_bytes=256 * 1024, spool_bytes_max=2**20)
RECORDS = sealed_records(6)
RAW = frame.instance_bytes(instance_id(1))
SALT = frame.segment_salt(RAW, 0)
LOG = b"".join(frame.encode_batch(RECORDS[first : first + 2], SALT) for first in (0, 2, 4))
LAST = len(LOG) * 2 // 3
"""Three batches of two; the last begins here."""


def _judge(data: bytes) -> tuple[set[int], bool, int]:
    """Readable seqs, ambiguous, and how many seqs stand in damaged ranges."""
    whole = bytes(frame.PAGE_BYTES) + data + bytes(64)
    scanned = scan(whole, instance=instance_id(1), salt=SALT, base_seq=0)
    examiner = Examiner(instance_id(1))
    examiner.segment(0, scanned, last=True)
    found = examiner.findings([])
    seqs = {piece.seq for piece in scanned.pieces if isinstance(piece, StoredRecord)}
    holes = sum(one.last_seq - one.first_seq + 1 for one in found.damaged)
    return seqs, found.ambiguous, holes


def test_a_flipped_bit_of_a_log_costs_one_record_at_most_and_is_told_apart() -> None:
    for bit in range(0, len(LOG) * 8, 3):
        data = bytearray(LOG)
        data[bit // 8] ^= 1 << bit % 8
        seqs, ambiguous, holes = _judge(bytes(data))
        assert len(seqs) >= 5, bit
        if len(seqs) == 5 and bit // 8 < LAST:
            assert (ambiguous, holes) == (False, 1), bit
        elif len(seqs) == 5:
            assert ambiguous, bit


def test_a_log_cut_at_each_byte_keeps_what_stands_before() -> None:
    ends = [len(LOG) * count // 6 for count in range(1, 7)]
    for cut in range(len(LOG)):
        seqs, _, holes = _judge(LOG[:cut].ljust(len(LOG), b"\0"))
        whole = {seq for seq, end in enumerate(ends) if len(LOG[:cut].rstrip(b"\0")) >= end - 8}
        assert seqs >= {seq for seq in whole if ends[seq] <= cut}, cut
        assert (len(seqs), holes) == (max(seqs, default=-1) + 1, 0), cut


def test_a_sector_of_zeros_costs_the_records_that_it_touches() -> None:
    for sector in range(0, len(LOG) - 512, 8):
        seqs, ambiguous, holes = _judge(LOG[:sector] + bytes(512) + LOG[sector + 512 :])
        size = len(LOG) // 6
        touched = set(range(sector // size, (sector + 511) // size + 1))
        assert set(range(6)) - seqs <= touched, sector
        if sector + 512 <= LAST:
            assert not ambiguous, sector
        assert holes <= len(touched)


async def _stored(disk: SimDisk, directory: str) -> list[str]:
    def work(files: FileSystem) -> list[str]:
        return [one.record_hash() for one in read.records(files, directory)]

    return await disk.run(work)


def test_the_same_script_leaves_the_same_records_as_sqlite_does() -> None:
    """Submits, some given up by their callers, in several batches."""
    for seed in range(20):
        chance, disk = random.Random(seed), SimDisk(seed)
        hashes: list[str] = []
        twin = sqlite3.connect(":memory:")
        twin.execute("CREATE TABLE record (seq INTEGER PRIMARY KEY, hash TEXT UNIQUE)")

        async def world(
            chance: random.Random = chance,
            disk: SimDisk = disk,
            hashes: list[str] = hashes,
            twin: sqlite3.Connection = twin,
        ) -> None:
            spool = await Spool.open(disk, CONFIG, sealer(), instance_id(1))
            oracle = sealer()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(spool.run)
                for step in range(chance.randrange(5, 40)):
                    record = draft(f"r{step}", chance.randrange(300, 15_000))
                    sealed = oracle.seal(record)
                    twin.execute("INSERT INTO record VALUES (?,?)", (sealed.seq, sealed.hash))
                    with anyio.move_on_after(0 if chance.random() < 0.3 else 60):
                        await spool.submit(spool.reserve(1), record).wait()
                    if chance.random() < 0.2:
                        await elapse(chance.random())
                await spool.close()
            hashes += await _stored(disk, home())

        simulate(seed, world)
        assert hashes == [one for (one,) in twin.execute("SELECT hash FROM record ORDER BY seq")]
        assert twin.execute("SELECT min(seq) = 0 FROM record").fetchone() == (1,)
        twin.close()


class Model:
    """What callers were told, and what the store has, of every instance that lived."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.answered: set[str] = set()
        self.submitted: set[str] = set()
        self.stored: list[str] = []


async def _life(model: Model, disk: SimDisk, number: int, *, heal: bool) -> None:
    """Ship and let go of what is dead, then random calls; ends at any moment."""
    dead, alone = await find_dead(disk, ROOT, PLACE, wall_us=0)
    assert alone == []
    for one in dead:
        if heal or model.chance.random() < 0.5:
            fresh = await _stored(disk, one.directory)
            model.stored += [digest for digest in fresh if digest not in model.stored]
            await one.trim(disk, 2**50)
            await one.settle(disk, None, instance_id(number), 0)
            if one.removable(2**60):
                await one.remove(disk)
    if heal:
        return
    bytes_dead = sum(one.bytes_used for one in dead)
    spool = await Spool.open(
        disk, CONFIG, sealer(number), instance_id(number), dead_bytes=bytes_dead
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(spool.run)
        for call in range(model.chance.randrange(12)):
            try:
                reservation = spool.reserve(1)
            except TurnAway:
                continue
            record = draft(f"{number}-{call}", model.chance.randrange(300, 15_000))
            commit = spool.submit(reservation, record)
            (receipt,) = commit.receipts
            model.submitted.add(receipt.hash)
            with anyio.move_on_after(0 if model.chance.random() < 0.2 else 60):
                await commit.wait()
                model.answered.add(receipt.hash)
        assert spool.quota.used_bytes <= CONFIG.spool_bytes_max
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("first", range(0, 200, 50))
def test_every_answered_record_is_stored_once_after_random_lives(first: int) -> None:
    for seed in range(first, first + 50):
        model, disk = Model(seed), SimDisk(seed)
        for number in range(1, 4):
            disk.faults = Faults(
                cut_at_operation=model.chance.choice([None, model.chance.randrange(1, 60)]),
                short_counts=model.chance.random() < 0.3,
            )
            try:
                simulate(seed, lambda: _life(model, disk, number, heal=False))  # noqa: B023
            except (PowerCut, TurnAway):
                pass
            except BaseExceptionGroup as group:
                others = group.split((PowerCut, TurnAway))[1]
                if others is not None:
                    raise others from None
            killed = model.chance.random() < 0.5
            disk = disk.killed() if killed else disk.cut(model.chance.choice([0.0, 0.5, 1.0]))
        simulate(seed, lambda: _life(model, disk, 9, heal=True))  # noqa: B023
        assert model.answered <= set(model.stored) <= model.submitted, seed
        assert len(model.stored) == len(set(model.stored))
