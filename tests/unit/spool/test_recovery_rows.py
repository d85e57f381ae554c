"""Each row of the recovery table in docs/spool.md, through a whole start, and its words."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from gateway.record import DamagedRange
from spool import frame
from spool.examine import NOTES, Findings
from spool.frame import SegmentHeader
from tests.sim.disk import SimDisk
from tests.sim.left_behind import SEGMENT_BYTES, files_of, home, put_segment, recover
from tests.sim.records import draft, instance_id, sealed_records, sealer

PAGE = (Path(__file__).parents[3] / "docs/spool.md").read_text()
RECORDS = sealed_records(6)
SIZE = frame.record_frame_bytes(len(RECORDS[0].payload))
FIRST = frame.PAGE_BYTES
HOLE = [DamagedRange(first_seq=1, last_seq=1)]


def _flip(disk: SimDisk, path: str, offset: int) -> None:
    disk.flip_bit(path, offset * 8)


def _three(disk: SimDisk) -> str:
    return put_segment(disk, RECORDS[:3])


def header_page(disk: SimDisk) -> None:
    _flip(disk, _three(disk), 20)


def last_batch(disk: SimDisk) -> None:
    _flip(disk, _three(disk), FIRST + 2 * SIZE + 60)


def body(disk: SimDisk) -> None:
    _flip(disk, _three(disk), FIRST + SIZE + 60)


def frame_header(disk: SimDisk) -> None:
    _flip(disk, _three(disk), FIRST + SIZE + 9)


def missing_record(disk: SimDisk) -> None:
    put_segment(disk, [RECORDS[0], *RECORDS[2:4]])


def repeat(disk: SimDisk) -> None:
    put_segment(disk, [*RECORDS[:2], RECORDS[1], RECORDS[2]])


def chain(disk: SimDisk) -> None:
    other = sealed_records(2, payload_bytes=400)
    put_segment(disk, [RECORDS[0], other[1]])


def unknown_record(disk: SimDisk) -> None:
    strange = msgspec.structs.replace(draft("strange"), kind="rotate")
    put_segment(disk, [sealer().seal(strange)])


def no_end_frame(disk: SimDisk) -> None:
    put_segment(disk, RECORDS[:2])
    put_segment(disk, RECORDS[2:4])


def older_ones_gone(disk: SimDisk) -> None:
    put_segment(disk, RECORDS[3:])


def segment_missing(disk: SimDisk) -> None:
    put_segment(disk, RECORDS[:1], end=True)
    put_segment(disk, RECORDS[2:4])


def foreign_frame(disk: SimDisk) -> None:
    put_segment(disk, [*RECORDS[:2], sealed_records(3, number=2)[2]])


def foreign_segment(disk: SimDisk) -> None:
    put_segment(disk, RECORDS[:2])
    disk.put(f"{home()}/seg-{4:020d}.log", disk.content(f"{home()}/seg-{0:020d}.log"))


Wanted = Callable[[Findings], bool]
ROWS: list[tuple[str, Callable[[SimDisk], None], set[str], int, Wanted]] = [
    ("R3", header_page, {"header"}, 3, lambda found: not found.damaged),
    ("R4", lambda disk: None, set(), 3, lambda found: found.whole),
    ("R5", last_batch, {"torn_or_rot"}, 2, lambda found: found.cut_bytes == SIZE),
    ("R6", body, {"damaged", "hole"}, 2, lambda found: found.damaged == HOLE),
    ("R7", frame_header, {"damaged", "hole"}, 2, lambda found: found.damaged == HOLE),
    ("R8", missing_record, {"hole"}, 3, lambda found: found.damaged == HOLE),
    ("R8", repeat, {"repeat"}, 3, lambda found: not found.damaged),
    ("R9", chain, {"chain"}, 2, lambda found: found.chain_breaks == [1]),
    ("R9", unknown_record, {"unknown_record"}, 1, lambda found: not found.quarantined),
    ("R10", no_end_frame, set(), 4, lambda found: found.whole),
    ("R11", older_ones_gone, set(), 3, lambda found: found.first_seq == 3),
    ("R12", segment_missing, {"missing_segment"}, 3, lambda found: found.damaged == HOLE),
    ("R17", foreign_frame, {"foreign"}, 2, lambda found: len(found.quarantined) == 1),
    (
        "R17",
        foreign_segment,
        {"foreign_segment"},
        2,
        lambda found: found.quarantined[0].length == SEGMENT_BYTES,
    ),
]


@pytest.mark.parametrize(
    ("row", "make", "notes", "records", "wanted"),
    ROWS,
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_what_is_found_is_told_as_the_table_says(
    row: str,
    make: Callable[[SimDisk], None],
    notes: set[str],
    records: int,
    wanted: Wanted,
) -> None:
    disk = SimDisk()
    if row == "R4":
        _three(disk)
    make(disk)
    (dead,), alone = recover(disk)
    assert alone == []
    assert set(dead.findings.notes) == notes
    assert dead.findings.records == records
    assert dead.findings.ambiguous == (row == "R5")
    assert wanted(dead.findings)
    kept = [name for name in files_of(disk) if name.startswith("quarantine/")]
    assert len(kept) == len(dead.findings.quarantined)


def test_a_segment_that_was_never_used_goes() -> None:
    disk = SimDisk()
    disk.put(f"{home()}/seg-{0:020d}.log", bytes(SEGMENT_BYTES))
    assert recover(disk) == ([], [])
    assert disk.paths() == []


def test_of_a_newer_format_nothing_is_touched() -> None:
    disk = SimDisk()
    path = put_segment(disk, RECORDS[:2])
    disk.put(f"{home()}/next-1.tmp", b"half")
    header = SegmentHeader(frame.instance_bytes(instance_id(1)), 0, 1, SEGMENT_BYTES, version=2)
    disk.put(path, frame.encode_header(header) + disk.content(path)[FIRST:])
    before = {name: disk.content(name) for name in disk.paths()}
    dead, (alone,) = recover(disk)
    assert (dead, "format version 2" in alone.why) == ([], True)
    assert {name: disk.content(name) for name in disk.paths()} == before


def test_what_another_process_holds_is_passed_over() -> None:
    disk = SimDisk()
    _three(disk)
    disk.locks.add(f"{home()}/LOCK")
    before = disk.operations
    assert recover(disk) == ([], [])
    assert disk.operations == before


def test_the_page_says_of_each_row_what_the_code_says() -> None:
    told: set[tuple[str, frozenset[str]]] = set()
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if re.fullmatch(r"R\d+", cells[0]):
            told.add((cells[0], frozenset(re.findall(r"`(\w+)`", cells[3]))))
    tested = {(row, frozenset(notes)) for row, _, notes, _, _ in ROWS}
    without_words = {(row, frozenset[str]()) for row in ("R1", "R18", "R19", "R21")}
    assert told == tested | without_words
    assert frozenset[str]().union(*(words for _, words in told)) == NOTES
