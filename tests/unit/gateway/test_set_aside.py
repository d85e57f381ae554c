"""Bytes that a store set aside speak against the key that signed them, and nobody else."""

from __future__ import annotations

import base64

import msgspec
import pytest

from gateway import log_line, record_audit, seal
from gateway.chain_audit import ChainAudit, Link
from gateway.evidence import Report, verify_export
from gateway.log_audit import evidence_hash
from gateway.log_line import Evidence, Leaves, LogLine
from gateway.logproof import Entry, LeafType
from tests import specimens
from tests.attacked import World
from tests.exports import (
    OTHER,
    PIN,
    RECEIVED_US,
    Writer,
    checkpoint_line,
    export,
    line,
    logged,
)


def aside(*set_aside: bytes) -> Report:
    """A good export of a log that ends in ``set_aside`` as evidence."""
    world = World().play()
    entries, end = world.entries(), []
    for data in set_aside:
        text = base64.b64encode(data).decode()
        end.append(LogLine(evidence=Evidence("fork", len(entries), RECEIVED_US, text)))
        entries.append(Entry(LeafType.EVIDENCE, RECEIVED_US, evidence_hash(data)))
    text = base64.b64encode(b"".join(one.encode() for one in entries)).decode()
    end.append(LogLine(leaves=Leaves(0, text)))
    lines = [*world.lines()[:-2], *map(log_line.write, end), checkpoint_line(entries)]
    return verify_export(lines, PIN)


def twin(calls: int, number: int = 1) -> seal.Sealed:
    """A daemon's first key at work on a chain of its own: its last record there."""
    writer = Writer(number)
    writer.start()
    for _ in range(calls):
        writer.write(specimens.DECISION, trace=None)
    return writer.write(specimens.DECISION)


def changed(report: Report) -> dict[str, str]:
    good = verify_export(World().play().lines(), PIN)
    return {
        one.name: one.state for one in report.verdicts if one.state != good.verdict(one.name).state
    }


def test_another_record_for_a_place_in_the_chain_is_a_fork() -> None:
    sealed = twin(1)
    report = aside(line(sealed)[:-1])
    assert changed(report) == {"forks": "false"}
    assert report.cause is not None
    assert "another record was signed for seq 2" in report.cause[1].cause


@pytest.mark.parametrize("number", [1, 2])
def test_a_record_behind_the_seal_is_out_of_turn(number: int) -> None:
    """The first daemon's key had handed over to another one; the second's signed the seal."""
    report = aside(line(twin(20, number))[:-1])
    assert changed(report) == {"chain": "false"}
    assert report.cause is not None
    assert "was signed after the seal" in report.cause[1].cause


def test_a_record_by_a_key_that_was_retired_is_out_of_turn_in_an_open_chain() -> None:
    audit = ChainAudit("open")
    rotate = Link(0, "sha256:00", b"r" * 32, "ed25519:00", 1)
    audit.add(rotate)
    audit.rotate(rotate, "ed25519:11")
    found = audit.contradiction(Link(5, "sha256:22", b"x" * 32, "ed25519:00", 2))
    assert found is not None
    assert (found.finding, "by a key retired at 0" in found.detail) == ("chain", True)
    assert audit.contradiction(Link(5, "sha256:22", b"x" * 32, "ed25519:11", 2)) is None


@pytest.mark.parametrize("by", ["another key", "another instance", "nobody"])
def test_what_the_chains_own_key_did_not_sign_says_nothing_of_it(by: str) -> None:
    sealed = twin(1)
    if by == "nobody":
        data = b"junk"
    elif by == "another key":
        forged = OTHER.sign(seal.record_pae(sealed.payload))
        data = line(msgspec.structs.replace(sealed, signature=forged))[:-1]
    else:
        second = Writer(2)
        payload = sealed.payload.replace(Writer(1).signer.kid.encode(), second.signer.kid.encode())
        signature = second.signer.sign(seal.record_pae(payload))
        kid = second.signer.kid
        other = msgspec.structs.replace(sealed, payload=payload, signature=signature, kid=kid)
        data = line(other)[:-1]
    report = aside(data)
    assert changed(report) == {}
    assert report.verdict("inclusion").state == "true"


def test_a_repetition_of_what_stands_in_the_chain_is_no_fork() -> None:
    world = World().play()
    records = [one.line for one in world.items if not one.head]
    assert changed(aside(records[1][:-1])) == {}


def test_a_fork_is_not_hidden_behind_more_set_aside_records_than_are_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(record_audit, "_CONTRADICTIONS_KEPT", 2)
    records = [one.line[:-1] for one in World().play().items if not one.head]
    report = aside(*records[1:3], line(twin(1))[:-1])
    assert changed(report) == {"forks": "incomplete"}


def test_leaves_that_do_not_follow_the_last_ones_are_false() -> None:
    lines = World().play().lines()
    found = log_line.read(lines[-2]).leaves
    assert found is not None
    moved = msgspec.structs.replace(found, first_index=1)
    lines[-2] = log_line.write(LogLine(leaves=moved))
    report = verify_export(lines, PIN)
    assert report.verdict("inclusion").state == "false"
    assert "leaf 0 should follow" in report.verdict("inclusion").problems[0].cause


@pytest.mark.parametrize("at", [1, -1])
def test_nothing_follows_the_checkpoint(at: int) -> None:
    lines = World().play().lines()
    report = verify_export([*lines, lines[at]], PIN)
    assert report.verdict("form").state == "false"
    assert report.verdict("form").problems[0].cause == "something follows the checkpoint"


def test_records_that_no_line_of_the_log_is_about_are_counted_one_by_one() -> None:
    writer = Writer()
    records = writer.whole(600)
    end = logged(export(writer, records[:1]))[-1]
    report = verify_export([*export(writer, records), end], PIN)
    assert report.verdict("inclusion").state == "incomplete"
    assert report.verdict("inclusion").problem_count == len(records)
