"""Which witnesses are enough is for the auditor's policy to say, and from which moment on."""

from __future__ import annotations

import itertools

import pytest

from gateway import checkpoint, note, seal, witness_policy
from gateway.evidence import Asked, Report, verify_export
from gateway.note import NoteKey
from gateway.verdicts import Tallies
from gateway.witness_audit import WitnessAudit
from gateway.witness_policy import Policy, some_of
from tests.attacked import World
from tests.exports import PIN, checkpoint_line, checkpoint_of

TIME = 1_800_000_000
SIGNERS = {name: seal.Signer(name.encode() * 32) for name in "abxy"}
KEYS = {
    name: NoteKey(f"{name}.example", signer.public, cosigns=True)
    for name, signer in SIGNERS.items()
}
TWO_HOUSES = (
    "".join(f"witness {name} {key.verifier_key()}\n" for name, key in KEYS.items())
    + "group ours any a b\ngroup theirs any x y\ngroup both all ours theirs\nquorum both\n"
)
"""One witness of each of two houses."""


def policy(text: str = TWO_HOUSES) -> Policy:
    return witness_policy.parse(text.encode())


def cosignatures(names: str) -> list[note.NoteSignature]:
    text = checkpoint_of(World().play().entries()).text()
    return [
        note.cosign(text, KEYS[name].name, SIGNERS[name], TIME + at)
        for at, name in enumerate(names)
    ]


def judged(names: str, asked: Policy) -> Report:
    """The report on an export whose checkpoint the witnesses ``names`` cosigned, in this order."""
    world = World().play()
    world.cosigned = b""
    end = checkpoint_line(world.entries(), *cosignatures(names))
    return verify_export([*world.lines()[:-1], end], PIN, Asked(witnesses=asked))


def test_two_of_one_group_are_no_quorum_of_two_groups() -> None:
    report = judged("ab", policy())
    verdict = report.verdict("witnesses")
    assert verdict.state == "incomplete"
    assert verdict.problems[0].cause == (
        "2 of 4 witnesses cosigned the checkpoint, and they are no quorum"
    )
    assert (report.exit_code, report.grades.cosigned) == (3, 0)
    # The same two are enough where any two of them are asked for.
    report = judged("ab", some_of(list(KEYS.values()), 2))
    assert report.verdict("witnesses").state == "true"
    assert report.grades.cosigned == report.records


def test_one_of_each_group_is_a_quorum() -> None:
    for names in itertools.product("ab", "xy"):
        report = judged("".join(names), policy())
        assert report.verdict("witnesses").state == "true"
        assert report.grades.cosigned == report.records
        assert report.anchor is not None
        assert [one.name[0] for one in report.anchor.cosigned] == list(names)


@pytest.mark.parametrize(("names", "after"), [("ax", 1), ("abx", 2), ("xyab", 2), ("axby", 1)])
def test_a_quorum_had_seen_it_when_its_last_needed_witness_had(names: str, after: int) -> None:
    entries = World().play().entries()
    text = checkpoint.write(checkpoint_of(entries), []).text
    audit = WitnessAudit(policy(), Tallies())
    signed = note.Note(text, cosignatures(names))
    audit.checkpoint(checkpoint.Opened(checkpoint_of(entries), signed), 1)
    assert [one.time_us for one in audit.witnessed()] == [(TIME + after) * 1_000_000]


def test_a_cosignature_that_is_not_the_witness_s_counts_for_nobody() -> None:
    entries = World().play().entries()
    good, other = cosignatures("ax")
    forged = note.NoteSignature(other.name, other.key_id, good.blob)
    audit = WitnessAudit(policy(), tallies := Tallies())
    signed = note.Note(checkpoint_of(entries).text(), [good, forged])
    audit.checkpoint(checkpoint.Opened(checkpoint_of(entries), signed), 1)
    assert (audit.witnessed(), audit.cosigned) == ([], [])
    assert tallies.of("witnesses").false == 1


def test_keys_of_one_name_count_as_one_witness() -> None:
    old, new = (NoteKey("a.example", SIGNERS[name].public, cosigns=True) for name in "ab")
    both = some_of([old, new, KEYS["x"]], 2)
    assert not both.met([old.verifier_key(), new.verifier_key()])
    assert both.met([new.verifier_key(), KEYS["x"].verifier_key()])


def test_a_policy_that_asks_for_nobody_proves_nothing() -> None:
    none = policy(TWO_HOUSES.replace("quorum both", "quorum none"))
    report = judged("ax", none)
    assert report.verdict("witnesses").state == "not_applicable"
    assert report.grades.cosigned == 0
