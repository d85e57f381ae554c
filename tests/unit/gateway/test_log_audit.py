"""What the log proves in an export: ranges, set-aside bytes, witnesses, closed logs, lost keys."""

from __future__ import annotations

import base64
import hashlib

import msgspec
import pytest

from gateway import checkpoint, documents, log_line, merkle, note, record, seal
from gateway.documents import LogSeen, LogStatement, Revocation
from gateway.evidence import Asked, Report, verify_export
from gateway.log_line import Arrived, Consistency, Evidence, Leaves, LogLine, Range
from gateway.logproof import Entry, LeafType
from gateway.note import NoteKey
from gateway.timestamp import time_text
from gateway.witness_policy import some_of
from tests import specimens
from tests.attacked import WITNESS, WITNESS_KEY, WITNESS_NAME, World
from tests.exports import (
    LOG_KEY,
    ORIGIN,
    OTHER,
    PIN,
    RECEIVED_US,
    REVOCATION_KEY,
    Writer,
    checkpoint_line,
    checkpoint_of,
    root,
)


def states(report: Report) -> dict[str, str]:
    return {one.name: one.state for one in report.verdicts}


def cause(report: Report, name: str) -> str:
    return report.verdict(name).problems[0].cause


# -- some records only ----------------------------------------------------------------------------


class Part:
    """Two stretches of a played world, each with its proof."""

    def __init__(self) -> None:
        self.world = World().play()
        self.entries = self.world.entries()
        frontier = merkle.Frontier()
        self.nodes = {
            (level, index): digest
            for entry in self.entries
            for level, index, digest in frontier.append(entry.leaf_hash())
        }
        self.stretches = [self.stretch(2, 6), self.stretch(8, 9)]
        self.more: list[bytes] = []

    def stretch(self, first: int, end: int) -> list[bytes]:
        """Leaves ``first`` … ``end - 1``, all of them records."""
        items = self.world.items[first:end]
        return [*(one.line for one in items), self.proof(first, end)]

    def proof(self, first: int, end: int, **changes: object) -> bytes:
        size = len(self.entries)
        hashes = merkle.range_proof(first, end - first, size, lambda *at: self.nodes[at])
        found = Range(
            size=size,
            first_index=first,
            arrived=[Arrived(1, one.received_us) for one in self.world.items[first:end]],
            proof=[base64.b64encode(one).decode() for one in hashes],
        )
        return log_line.write(LogLine(range=msgspec.structs.replace(found, **changes)))

    def consistency(self, old: int) -> Consistency:
        size = len(self.entries)
        hashes = merkle.consistency_proof(old, size, lambda *at: self.nodes[at])
        return Consistency(old, size, [base64.b64encode(one).decode() for one in hashes])

    def report(self, asked: Asked | None = None) -> Report:
        head = [one.line for one in self.world.items if one.head]
        body = [line for stretch in self.stretches for line in stretch]
        end = checkpoint_line(self.entries)
        lines = [root().envelope + b"\n", *head, *body, *self.more, end]
        return verify_export(lines, PIN, asked or Asked())


def test_some_records_are_proved_to_be_in_the_log() -> None:
    report = Part().report()
    assert report.verdict("inclusion").state == "true"
    assert report.verdict("inclusion").counted == 5
    assert not report.complete
    assert report.grades.bracketed == 5
    assert states(report)["tail"] == "incomplete"
    assert states(report)["instances"] == "not_applicable"
    assert any("not a complete export" in one for one in report.notices)
    assert "false" not in states(report).values()


@pytest.mark.parametrize(
    "changes",
    [
        {"first_index": 3},
        {"size": 18},
        {"size": 2**53 - 1},
        {"first_index": -1},
        {"proof": []},
        {"arrived": [Arrived(4, RECEIVED_US)]},
        {"arrived": [Arrived(3, RECEIVED_US)]},
        {"arrived": [Arrived(2**53 - 1, RECEIVED_US)]},
        {"arrived": []},
    ],
)
def test_a_changed_range_is_false(changes: dict[str, object]) -> None:
    part = Part()
    part.stretches[0][-1] = part.proof(2, 6, **changes)
    report = part.report()
    assert states(report)["inclusion"] == "false"
    assert report.verdict("inclusion").problems[0].line == 10


@pytest.mark.parametrize("arrived", [[Arrived(0, 1), Arrived(4, 1)], [Arrived(4, -1)]])
def test_a_range_that_says_nothing_sensible_has_no_form(arrived: list[Arrived]) -> None:
    part = Part()
    part.stretches[0][-1] = part.proof(2, 6, arrived=arrived)
    assert states(part.report())["form"] == "false"


def test_a_record_without_a_range_is_not_proved() -> None:
    part = Part()
    del part.stretches[1][-1]
    report = part.report()
    assert states(report)["inclusion"] == "incomplete"
    assert "nothing in the export says where" in cause(report, "inclusion")


def test_ranges_come_in_the_order_of_leaves() -> None:
    part = Part()
    part.stretches.reverse()
    report = part.report()
    assert states(report)["inclusion"] == "false"
    assert "comes after" in cause(report, "inclusion")


def test_ranges_and_leaves_do_not_stand_in_one_export() -> None:
    part = Part()
    text = base64.b64encode(part.entries[0].encode()).decode()
    part.more = [log_line.write(LogLine(leaves=Leaves(0, text)))]
    assert states(part.report())["form"] == "false"


def test_a_part_is_led_from_the_checkpoint_that_the_auditor_has() -> None:
    part = Part()
    asked = Asked(pin=part.world.pinned)
    assert "ask for the export with from=8" in cause(part.report(asked), "consistency")
    found = part.consistency(8)
    part.more = [log_line.write(LogLine(consistency=found))]
    report = part.report(asked)
    # A daemon's log_seen is in no part that could be held against the whole.
    assert report.verdict("consistency").counted == 1
    assert "a daemon's log_seen" in cause(report, "consistency")
    part.more = [log_line.write(LogLine(consistency=msgspec.structs.replace(found, old_size=7)))]
    assert "leads from 7" in cause(part.report(asked), "consistency")
    wrong = msgspec.structs.replace(found, hashes=[found.hashes[0], *found.hashes[:-1]])
    part.more = [log_line.write(LogLine(consistency=wrong))]
    assert states(part.report(asked))["consistency"] == "false"


# -- what a store set aside -----------------------------------------------------------------------


def with_evidence(
    data: bytes = b"junk", index: int | None = None, *, kept: bool = True
) -> tuple[Report, int]:
    """A world whose log ends in the evidence ``junk``, and an export that says ``data``."""
    world = World().play()
    entry = Entry(LeafType.EVIDENCE, RECEIVED_US, hashlib.sha256(b"junk").digest())
    entries = [*world.entries(), entry]
    at = len(entries) - 1
    found = Evidence("rejected", at if index is None else index, RECEIVED_US, "")
    found = msgspec.structs.replace(found, line=base64.b64encode(data).decode())
    text = base64.b64encode(b"".join(one.encode() for one in entries)).decode()
    lines = world.lines()[:-2]
    if kept:
        lines.append(log_line.write(LogLine(evidence=found)))
    lines += [log_line.write(LogLine(leaves=Leaves(0, text))), checkpoint_line(entries)]
    return verify_export(lines, PIN, Asked(pin=world.pinned)), at


def test_what_was_set_aside_is_held_against_its_leaf() -> None:
    report, at = with_evidence()
    assert (states(report)["inclusion"], report.verdict("inclusion").counted) == ("true", at + 1)
    report, _ = with_evidence(kept=False)
    assert states(report)["inclusion"] == "incomplete"
    assert f"the evidence of leaf {at} is not here" in cause(report, "inclusion")
    report, _ = with_evidence(b"other")
    assert states(report)["inclusion"] == "false"
    report, _ = with_evidence(index=at - 1)
    assert states(report)["inclusion"] == "false"


# -- witnesses ------------------------------------------------------------------------------------


def cosigned(*signatures: note.NoteSignature, quorum: int = 1, keys: int = 1) -> Report:
    world = World().play()
    world.cosigned = b""
    entries = world.entries()
    lines = [*world.lines()[:-1], checkpoint_line(entries, *signatures)]
    known = [WITNESS_KEY, NoteKey("other.example", OTHER.public, cosigns=True)]
    asked = Asked(pin=world.pinned, witnesses=some_of(known[:keys], quorum))
    return verify_export(lines, PIN, asked)


def signature(name: str = WITNESS_NAME, signer: seal.Signer = WITNESS) -> note.NoteSignature:
    text = checkpoint_of(World().play().entries()).text()
    return note.cosign(text, name, signer, 1_800_000_000)


def test_witnesses_count_if_they_were_named_and_are_enough() -> None:
    assert states(cosigned(signature()))["witnesses"] == "true"
    assert states(cosigned(signature("other.example", OTHER)))["witnesses"] == "incomplete"
    both = signature(), signature("other.example", OTHER)
    assert states(cosigned(*both, quorum=2, keys=2))["witnesses"] == "true"
    report = cosigned(signature(), quorum=2, keys=2)
    assert (states(report)["witnesses"], report.grades.cosigned) == ("incomplete", 0)
    report = cosigned(signature())
    assert report.anchor is not None
    assert [one.time for one in report.anchor.cosigned] == [time_text(1_800_000_000_000_000)]


def test_a_cosignature_that_is_not_the_witness_s_is_false() -> None:
    found = signature()
    other = msgspec.structs.replace(found, blob=bytes(8) + found.blob[8:])
    assert states(cosigned(other))["witnesses"] == "false"


def test_without_witnesses_nothing_was_asked() -> None:
    world = World().play()
    report = verify_export(world.lines(), PIN)
    assert states(report)["witnesses"] == "not_applicable"
    assert report.grades.cosigned == 0


# -- closed logs ----------------------------------------------------------------------------------


def reopened(seen: LogSeen | None, *signers: seal.Signer) -> Report:
    """The log was closed, and the next one opened; the second daemon saw ``seen`` of the first."""
    world = World()
    statement = LogStatement(
        closed_origin=ORIGIN,
        last_checkpoint=checkpoint.write(checkpoint_of([]), [LOG_KEY]).encode(),
        opened_origin=f"{ORIGIN[:-1]}2",
        reason="restored from a backup",
        issued=specimens.T0,
    )
    payload = documents.encode(statement)
    framed = seal.pae(documents.LOG_STATEMENT, payload)
    held = [(one.kid, one.sign(framed)) for one in signers or (LOG_KEY, REVOCATION_KEY)]
    envelope = seal.envelope(documents.LOG_STATEMENT, payload, held)

    def close(here: World) -> None:
        if seen is not None:
            here.beat(here.second, seen)
        here.certify(documents.encode(envelope) + b"\n")

    world.custom = close
    world.play()
    world.origin = statement.opened_origin
    return verify_export(world.lines(), PIN, Asked(pin=world.pinned))


def test_a_statement_leads_from_a_closed_log_to_the_next() -> None:
    report = reopened(None)
    assert states(report)["consistency"] == "true"
    assert states(report)["inclusion"] == "true"
    assert any("lost leaves and was closed: restored" in one for one in report.notices)


def test_leaves_that_a_closed_log_held_and_the_next_lacks_are_false_all_the_same() -> None:
    report = reopened(LogSeen(ORIGIN, 9, base64.b64encode(bytes(32)).decode()))
    assert states(report)["consistency"] == "false"
    assert "held leaves that were lost when it was closed" in cause(report, "consistency")


def test_one_role_alone_closes_no_log() -> None:
    report = reopened(None, LOG_KEY)
    assert states(report)["signatures"] == "false"
    assert states(report)["consistency"] == "false"


# -- revoked keys ---------------------------------------------------------------------------------


def revoked(signer: seal.Signer = REVOCATION_KEY, **changes: object) -> Report:
    world = World()

    def revoke(here: World) -> None:
        found = Revocation(
            kid=here.second.signer.kid,
            serial=None,
            reason="stolen",
            untrusted_from=time_text(here.now_us + 1),
            issued=time_text(here.now_us),
        )
        found = msgspec.structs.replace(found, **changes)
        envelope = signer.sign_document(documents.REVOCATION, found)
        here.certify(documents.encode(envelope) + b"\n")

    world.custom = revoke
    world.play()
    return verify_export(world.lines(), PIN, world.asked())


def test_what_no_witness_saw_before_is_not_proved_or_false() -> None:
    report = revoked()
    assert states(report)["revocations"] == "false"
    problems = report.verdict("revocations").problems
    # Its last three records came afterwards; of those before there is only a claim.
    assert sum("not trusted from" in one.cause for one in problems if "claim" not in one.cause) == 3
    assert sum("only a claim puts it before" in one.cause for one in problems) == 4


def test_a_revocation_of_another_certificate_concerns_nobody() -> None:
    assert states(revoked(serial="another"))["revocations"] == "true"
    serial = World().second.signer.kid[8:40]
    assert states(revoked(serial=serial))["revocations"] == "false"


def test_a_revocation_by_another_role_counts_for_nothing() -> None:
    report = revoked(OTHER)
    assert (states(report)["signatures"], states(report)["revocations"]) == ("false", "true")


def test_a_heartbeat_that_shows_no_root_is_false() -> None:
    world = World()
    seen = LogSeen(ORIGIN, 3, "no root")
    world.custom = lambda here: here.keep(
        here.second.write(specimens.HEARTBEAT, log_seen=seen, certificate=None)
    )
    world.play()
    report = verify_export(world.lines(), PIN, world.asked())
    assert states(report)["consistency"] == "false"


def test_no_unchecked_signature_rides_along_on_a_revocation() -> None:
    world = World().play()
    (at,) = [n for n, one in enumerate(world.items) if b"revocation" in one.line[:60]]
    sealed = seal.parse_envelope(world.items[at].line)
    rider = documents.Signature(keyid=OTHER.kid, sig=sealed.signatures[0].sig)
    more = msgspec.structs.replace(sealed, signatures=[*sealed.signatures, rider])
    world.items[at].line = documents.encode(more) + b"\n"
    report = verify_export(world.lines(), PIN, world.asked())
    assert states(report)["signatures"] == "false"
    assert states(report)["revocations"] == "not_applicable"


def test_what_a_daemon_claims_to_have_seen_bounds_no_time_unless_it_is_true() -> None:
    def play(here: World) -> None:
        untrue = LogSeen(ORIGIN, 12, base64.b64encode(bytes(32)).decode())
        third = Writer(3)
        here.certify(third.certificate())
        here.keep(third.start())
        here.beat(third, untrue)
        early = record.Decided(decided=specimens.T0, clock=specimens.CLOCK)
        here.call(third, time=early)

    world = World()
    world.custom = play
    world.play()
    report = verify_export(world.lines(), PIN, world.asked())
    assert (states(report)["consistency"], states(report)["time"]) == ("false", "true")
