"""Any number of processes reaches the verdicts that one does."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.export_file import Unusable
from gatepost.signature_workers import jobs_for, signature_check_of
from gateway import seal
from gateway.evidence import Auditor, Report, verify_export
from gateway.signature_check import BLOCK_LINES, SignatureCheck
from tests import specimens
from tests.attacked import World
from tests.exports import PIN, Writer, export, line, logged
from tests.unit.gatepost.running import gatepost

SIGNER = specimens.SIGNER


@pytest.fixture(scope="module")
def workers() -> Iterator[SignatureCheck]:
    with signature_check_of(2) as check:
        yield check


@lru_cache(maxsize=1)
def long_export() -> tuple[bytes, ...]:
    """A chain of more than one block; the leaves are a line."""
    writer = Writer()
    records = [writer.start()]
    while len(records) <= BLOCK_LINES + 60:
        decision = writer.write(specimens.DECISION)
        records += [decision, writer.write(specimens.COMPLETION, of=decision.id)]
    return tuple(logged(export(writer, [*records, writer.write(specimens.SEAL)])))


def judged(lines: list[bytes], check: SignatureCheck) -> Report:
    auditor = Auditor(PIN)
    auditor.add_all(lines, check)
    return auditor.report()


def test_a_sound_export_is_proved(workers: SignatureCheck) -> None:
    report = judged(list(long_export()), workers)
    assert report.exit_code == 0
    assert report.records > BLOCK_LINES


@given(st.data())
@settings(max_examples=15, deadline=None)
def test_the_report_on_a_damaged_export_is_the_same(
    workers: SignatureCheck, data: st.DataObject
) -> None:
    lines = list(long_export())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(lines) - 1))
        if data.draw(st.booleans()):
            del lines[at]
            continue
        changed = bytearray(lines[at])
        changed[data.draw(st.integers(0, len(changed) - 2))] ^= 1
        lines[at] = bytes(changed)
    assert judged(lines, workers) == verify_export(lines, PIN)


def test_the_command_says_the_same_with_any_number(tmp_path: Path) -> None:
    path = tmp_path / "export.ndjson"
    path.write_bytes(b"".join(World().play().lines()))
    reports = [
        gatepost("verify", path, "--root", PIN, "--json", "--jobs", jobs) for jobs in (1, 2, 3)
    ]
    assert {(one.code, one.out) for one in reports} == {(reports[0].code, reports[0].out)}
    assert '"records":' in reports[0].out


@pytest.mark.parametrize("jobs", [0, -1, 65])
def test_a_number_that_makes_no_sense_is_refused(tmp_path: Path, jobs: int) -> None:
    ended = gatepost("verify", tmp_path / "absent", "--root", PIN, "--jobs", jobs)
    assert ended.code == 2
    assert f"--jobs {jobs}: from 1 to 64" in ended.err


def test_a_small_export_is_verified_by_one_process(tmp_path: Path) -> None:
    path = tmp_path / "export.ndjson"
    path.write_bytes(line(Writer().start()))
    assert jobs_for(path) == jobs_for(tmp_path) == jobs_for(tmp_path / "absent") == 1


def test_a_large_one_has_no_more_processes_than_are_of_use(tmp_path: Path) -> None:
    path = tmp_path / "export.ndjson"
    with path.open("wb") as file:
        file.truncate(1024**3)
    assert 1 <= jobs_for(path) <= 3


def test_a_worker_that_dies_is_said_and_no_verdict_given() -> None:
    task = (b"framed", b"s" * seal.SIGNATURE_BYTES, SIGNER.public)
    before = set(multiprocessing.active_children())
    with signature_check_of(2) as check:
        assert check.begin([task])() == [False]
        for worker in set(multiprocessing.active_children()) - before:
            worker.kill()
            worker.join()
        with pytest.raises(Unusable, match="--jobs 1 needs none"):
            check.begin([task])()
