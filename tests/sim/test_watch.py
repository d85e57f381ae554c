"""The checker of what is shipped: it believes what was durable once, and nothing else."""

from __future__ import annotations

import base64
import gzip
import random
from pathlib import Path

import msgspec

from gateway.seal import Sealed
from tests.sim import central as services
from tests.sim.central import Central
from tests.sim.clock import SimClock
from tests.sim.disk import SimDisk
from tests.sim.entropy import SeededEntropy
from tests.sim.ledger import Ledger
from tests.sim.left_behind import ROOT, home, put_segment
from tests.sim.records import draft, instance_id, seal_draft, sealed_records, sealer
from tests.sim.rot import spoil
from tests.sim.sectors import Change, Inode
from tests.sim.watch import Watch


def _watch(files: Path, disk: SimDisk, ledger: Ledger) -> tuple[Watch, Central]:
    config = services.configuration(files, 3_600)
    central = Central(config, SimClock(), SeededEntropy(1), random.Random(1))
    return Watch(1, disk, ROOT, 2**20, ledger, central), central


def _body(records: list[Sealed]) -> bytes:
    payloads = [base64.b64encode(one.payload).decode() for one in records]
    return gzip.compress(b"\n".join(msgspec.json.encode({"payload": one}) for one in payloads))


def test_a_record_that_rots_after_it_was_read_was_durable(files: Path) -> None:
    disk, ledger, chance = SimDisk(), Ledger(), random.Random(1)
    records = sealed_records(3)
    put_segment(disk, records)
    watch, central = _watch(files, disk, ledger)
    while all(watch.index.holds(one.payload) for one in records):
        spoil(disk, watch.index, ledger, chance, central.keeps)
    watch.shipping(_body(records))
    assert ledger.violations == []


def test_a_record_that_was_never_durable_is_noticed_as_it_arrives(files: Path) -> None:
    disk, ledger = SimDisk(), Ledger()
    put_segment(disk, sealed_records(3))
    watch, _ = _watch(files, disk, ledger)
    watch.shipping(_body(sealed_records(4)))
    assert [one.checker for one in ledger.violations] == ["durable"]


def test_an_alarm_that_is_raised_before_its_bytes_are_kept_counts_for_their_instance(
    files: Path,
) -> None:
    disk, ledger = SimDisk(), Ledger()
    put_segment(disk, sealed_records(3))
    watch, _ = _watch(files, disk, ledger)
    watch.is_built, watch.damaged_records = lambda: True, lambda: 1
    watch.worked()
    assert ledger.alarmed == set()
    for number in (1, 2):
        disk.change(Change("make", f"{home(number)}/quarantine/a.bin", entry=Inode()))
        watch.worked()
    assert ledger.alarmed == {instance_id(1)}


def test_a_record_that_follows_the_seal_is_noticed(files: Path) -> None:
    disk, chain = SimDisk(), sealer()
    records = [chain.seal(one) for one in (draft("first"), seal_draft(), draft("late"))]
    put_segment(disk, records)
    watch, _ = _watch(files, disk, Ledger())
    watch.index.refresh()
    assert watch.index.behind_seals == [(instance_id(1), 2)]
