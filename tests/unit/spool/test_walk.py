"""Reading a spool while it is written and shipped: nothing is taken for damage that is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.io.disk import OsFileSystem
from gateway.ports import File, FileSystem
from gateway.seal import Sealed
from spool import frame
from spool.examine import Damage
from spool.frame import SegmentHeader
from spool.scan import StoredRecord
from spool.walk import NewerFormat, SegmentView, Walk
from tests.sim.records import instance_id, sealed_records
from tests.unit.spool.on_disk import FILES, flip, offset_of, put_home, put_segment, zero

INSTANCE = instance_id(1)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return put_home(tmp_path, INSTANCE)


class Racing(OsFileSystem):
    """A file system on which something happens before the n-th opening."""

    def __init__(self, at: int, happens: Callable[[], object]) -> None:
        self.opened = 0
        self._at = at
        self._happens = happens

    def open(self, path: str, *, writable: bool) -> File:
        assert not writable
        self.opened += 1
        if self.opened == self._at:
            self._happens()
        return super().open(path, writable=writable)


def seqs(views: list[SegmentView]) -> list[int]:
    return [item.seq for view in views for item in view.items if isinstance(item, StoredRecord)]


def damages(views: list[SegmentView]) -> list[Damage]:
    return [item for view in views for item in view.items if isinstance(item, Damage)]


def walked(
    home: Path, *, written: bool, files: FileSystem = FILES
) -> tuple[Walk, list[SegmentView]]:
    walk = Walk(files, str(home), INSTANCE, may_be_written=written)
    return walk, list(walk)


def test_the_zero_tail_of_a_live_segment_is_not_damage(home: Path) -> None:
    put_segment(home, sealed_records(3))
    walk, views = walked(home, written=True)
    assert (seqs(views), damages(views), walk.writing_bytes) == ([0, 1, 2], [], 0)


@pytest.mark.parametrize("part", [1, 8, 40, 41, 200])
def test_a_group_that_is_half_written_is_being_written(home: Path, part: int) -> None:
    records = sealed_records(4)
    path = put_segment(home, records)
    at = offset_of(records, 3)
    zero(path, at + part, 4_000)
    walk, views = walked(home, written=True)
    assert (seqs(views), damages(views)) == ([0, 1, 2], [])
    assert walk.writing_bytes > 0
    walk, views = walked(home, written=False)
    assert [one.rule for one in damages(views)] == ["torn_or_rot"], "nobody writes there"


def test_damage_below_the_newest_group_is_damage_in_a_live_one_too(home: Path) -> None:
    records = sealed_records(4)
    path = put_segment(home, records)
    flip(path, offset_of(records, 1) + 60)
    _, views = walked(home, written=True)
    assert [one.rule for one in damages(views)] == ["damaged"]
    assert seqs(views) == [0, 2, 3]


def test_a_torn_reading_that_a_later_one_finds_whole_is_not_damage(home: Path) -> None:
    """The first reading sees a group half written and, further on, a later group whole."""
    records = sealed_records(6)
    path = put_segment(home, records)
    whole = path.read_bytes()
    zero(path, offset_of(records, 3) + 50, 10)
    files = Racing(2, lambda: path.write_bytes(whole))
    _, views = walked(home, written=True, files=files)
    assert files.opened == 2
    assert (seqs(views), damages(views)) == ([0, 1, 2, 3, 4, 5], [])


def test_records_that_come_meanwhile_may_be_seen_and_harm_nothing(home: Path) -> None:
    records = sealed_records(6)
    path = put_segment(home, records)
    whole = path.read_bytes()
    zero(path, offset_of(records, 3) + 50, 10_000)
    _, views = walked(home, written=True, files=Racing(2, lambda: path.write_bytes(whole)))
    assert (seqs(views), damages(views)) == ([0, 1, 2, 3, 4, 5], [])


def three_segments(home: Path) -> tuple[list[Sealed], list[Path]]:
    records = sealed_records(6)
    parts = [records[:2], records[2:4], records[4:]]
    return records, [put_segment(home, part, end=part is not parts[2]) for part in parts]


def test_segments_that_are_shipped_meanwhile_leave_no_hole(home: Path) -> None:
    _, paths = three_segments(home)

    def ship() -> None:
        paths[0].unlink()
        paths[1].unlink()

    walk, views = walked(home, written=True, files=Racing(2, ship))
    findings = walk.examiner.findings([])
    assert (findings.damaged, findings.first_seq, findings.last_seq) == ([], 4, 5)
    assert walk.deleted == 1
    assert [view.begins for view in views] == [True, True]


def test_a_segment_that_somebody_removed_is_a_hole(home: Path) -> None:
    _, paths = three_segments(home)
    walk, _ = walked(home, written=True, files=Racing(2, paths[1].unlink))
    (hole,) = walk.examiner.findings([]).damaged
    assert (hole.first_seq, hole.last_seq, walk.deleted) == (2, 3, 0)


def test_an_instance_that_is_shipped_to_its_end_is_just_gone(home: Path) -> None:
    _, paths = three_segments(home)

    def ship() -> None:
        for path in [*paths, home / "LOCK"]:
            path.unlink()
        home.rmdir()

    walk, _ = walked(home, written=False, files=Racing(2, ship))
    assert (walk.deleted, walk.examiner.findings([]).records) == (2, 0)
    assert walked(home, written=False)[1] == []


def test_a_newer_format_is_told_and_not_guessed_at(home: Path) -> None:
    path = put_segment(home, sealed_records(1))
    raw = frame.instance_bytes(INSTANCE)
    header = SegmentHeader(raw, 0, frame.segment_salt(raw, 0), 256 * 1024, version=2)
    path.write_bytes(frame.encode_header(header).ljust(256 * 1024, b"\0"))
    with pytest.raises(NewerFormat, match="format version 2; this program reads up to 1"):
        walked(home, written=False)


def test_a_segment_of_somebody_else_gives_no_record(home: Path, tmp_path: Path) -> None:
    put_segment(home, sealed_records(2))
    other = put_segment(put_home(tmp_path, instance_id(2)), sealed_records(4, number=2)[2:])
    (home / other.name).write_bytes(other.read_bytes())
    _, views = walked(home, written=False)
    assert seqs(views) == [0, 1]
    assert [one.rule for one in damages(views)] == ["foreign"]
