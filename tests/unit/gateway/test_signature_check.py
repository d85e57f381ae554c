"""Where and when signatures are verified changes no verdict."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import signature_check
from gateway.evidence import Auditor, Report, verify_export
from gateway.signature_check import BLOCK_BYTES, BLOCK_LINES, Answers, SameThread, Task
from tests import attacks
from tests.attacked import World
from tests.exports import PIN, Writer, export, sound

ATTACKS = {
    "none": lambda: (World().play().lines(), World().play().asked()),
    "altered": lambda: attacks.changed_line(logged=False),
    "malleated": attacks.malleated,
    "other kid": attacks.wrong_kid,
    "small order": attacks.small_order_key,
    "hidden certificate": attacks.hidden_certificate,
    "half a line": attacks.half_a_line,
    "revoked": attacks.revoked_key,
}


class Ahead:
    """Verifies only when it is asked, of many blocks the last first."""

    def __init__(self, blocks_ahead: int) -> None:
        self.blocks_ahead = blocks_ahead
        self.asked: list[Sequence[Task]] = []

    def begin(self, tasks: Sequence[Task]) -> Answers:
        self.asked.append(tasks)
        return lambda: signature_check.verify(tasks)


class Lying:
    """Says the opposite of what is true."""

    blocks_ahead = 0

    def begin(self, tasks: Sequence[Task]) -> Answers:
        return lambda: [not one for one in signature_check.verify(tasks)]


def line_by_line(lines: Sequence[bytes], asked: object) -> Report:
    auditor = Auditor(PIN, asked)  # type: ignore[arg-type]
    for line in lines:
        auditor.add(line)
    return auditor.report()


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_the_verdicts_do_not_depend_on_who_verifies(name: str) -> None:
    lines, asked = ATTACKS[name]()
    expected = line_by_line(lines, asked)
    for check in (SameThread(), Ahead(0), Ahead(1), Ahead(100)):
        auditor = Auditor(PIN, asked)
        auditor.add_all(lines, check)
        assert auditor.report() == expected


def test_what_was_found_ahead_is_not_verified_again() -> None:
    auditor = Auditor(PIN)
    auditor.add_all(sound(), Lying())
    report = auditor.report()
    records = report.verdict("entitlement").counted
    assert report.verdict("signatures").problem_count == records == 4


def test_records_behind_a_certificate_are_verified_ahead_with_its_key() -> None:
    first, second = Writer(1), Writer(2)
    lines = [*export(first, first.whole()), *export(second, second.whole())[1:]]
    check = Ahead(100)
    auditor = Auditor(PIN)
    auditor.add_all(lines, check)
    keys = {public for tasks in check.asked for _, _, public in tasks}
    assert keys == {first.signer.public, second.signer.public}
    assert sum(map(len, check.asked)) == auditor.report().records == 8


LINES = st.sampled_from(
    [
        b'{"payloadType":"application/vnd.gatepost.record.v1+json","payload":"',
        b'{"payloadType":"application/vnd.gatepost.key-cert.v1+json"',
        b'{"leaves":',
        b"junk",
    ]
)


@given(st.lists(st.tuples(LINES, st.integers(1, 3 * BLOCK_LINES)), max_size=8))
def test_blocks_hold_every_line_once_and_documents_alone(runs: list[tuple[bytes, int]]) -> None:
    lines = [line for line, count in runs for _ in range(count)]
    blocks = list(signature_check.blocks(lines))
    assert [line for block in blocks for line in block] == lines
    for block in blocks:
        assert 1 <= len(block) <= BLOCK_LINES
        assert len({signature_check.is_document(line) for line in block}) == 1


def test_a_block_of_long_lines_is_short() -> None:
    lines = [b"x" * (BLOCK_BYTES // 3)] * 10
    assert [len(block) for block in signature_check.blocks(lines)] == [4, 4, 2]


def test_an_export_without_a_line_is_judged() -> None:
    assert verify_export([], PIN) == line_by_line([], Auditor(PIN)._asked)
