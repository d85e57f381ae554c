"""What operators are told of dead instances: a crash is no alarm, and damage is one."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from sidecar import alarms, recovery
from sidecar.recovery import NOTHING, RecoveryStatus
from spool.recover import LeftAlone, find_dead
from spool.segment import segment_name
from tests.sim.disk import SimDisk
from tests.sim.left_behind import ROOT, put_segment
from tests.sim.loop import simulate
from tests.sim.records import PLACE, instance_id, sealed_records
from tests.unit.sidecar.status_specimen import SHIPPING, SPOOL


def looked(disk: SimDisk) -> RecoveryStatus:
    async def world() -> RecoveryStatus:
        found = await find_dead(disk, ROOT, PLACE, wall_us=0)
        return recovery.add_look(NOTHING, *found, wall_us=5_000_000, took_us=7_900)

    return simulate(0, world)


def raised(status: RecoveryStatus) -> tuple[str, ...]:
    return alarms.raised(SPOOL, SHIPPING, status, clock_suspect=False, conflict=False)


def test_a_killed_instance_is_counted_and_no_alarm() -> None:
    disk = SimDisk()
    put_segment(disk, sealed_records(3))
    put_segment(disk, sealed_records(2, number=2), number=2)
    status = looked(disk)
    assert (status.instances, status.records, status.gaps) == (2, 5, 0)
    assert (status.at, status.took_ms) == ("1970-01-01T00:00:05.000000Z", 7)
    assert (status.violations, raised(status)) == ((), ())


def test_a_torn_last_group_is_ambiguous_and_no_violation() -> None:
    disk = SimDisk()
    path = put_segment(disk, sealed_records(3), batch=3)
    data = disk.content(path).rstrip(b"\0")
    disk.put(path, data[:-100].ljust(256 * 1024, b"\0"))
    status = looked(disk)
    assert (status.ambiguous, status.violations) == (1, ())
    assert status.cut_bytes > 0
    assert raised(status) == ()


def test_damage_names_instance_seq_and_rule() -> None:
    disk = SimDisk()
    path = put_segment(disk, sealed_records(4))
    disk.flip_bit(path, (4096 + 700) * 8)
    (violation,) = looked(disk).violations
    assert (violation.instance, violation.rule) == (instance_id(1), "damaged")
    assert violation.first_seq == 1


def test_a_removed_segment_is_a_violation() -> None:
    disk = SimDisk()
    records = sealed_records(6)
    for first in (0, 2, 4):
        put_segment(disk, records[first : first + 2], end=first < 4)
    del disk.entries[f"{ROOT}/{instance_id(1)}/{segment_name(2)}"]
    status = looked(disk)
    (violation,) = status.violations
    assert (violation.first_seq, status.gaps) == (2, 1)
    assert raised(status) == ("integrity",)


def test_what_was_left_alone_is_an_alarm_until_the_next_look() -> None:
    left = [LeftAlone("x", "why")]
    status = recovery.add_look(NOTHING, [], left, wall_us=0, took_us=0)
    assert raised(status) == ("recovery_failed",)
    assert raised(recovery.add_look(status, [], [], wall_us=0, took_us=0)) == ()


def test_an_alarm_is_told_once() -> None:
    with_both = alarms.raised(
        replace(SPOOL, alarms=["quarantine"]),
        replace(SHIPPING, alarms=["quarantine"]),
        NOTHING,
        clock_suspect=True,
        conflict=True,
    )
    assert with_both == ("clock_suspect", "instance_conflict", "quarantine")
    with pytest.raises(AssertionError):
        alarms.raised(
            replace(SPOOL, alarms=["unheard_of"]),
            SHIPPING,
            NOTHING,
            clock_suspect=False,
            conflict=False,
        )
