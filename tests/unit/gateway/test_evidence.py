"""The offline verifier: what one export proves, and that no attack on it goes unnoticed."""

from __future__ import annotations

import base64
import json
from functools import lru_cache

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import documents, seal
from gateway.evidence import VERDICTS, Report, verify_export
from gateway.timestamp import time_text
from tests import specimens
from tests.exports import (
    DAY_US,
    ISSUER,
    NEXT_ROOT_KEY,
    NOW_US,
    OTHER,
    PIN,
    ROOT_KEY,
    Writer,
    export,
    line,
    logged,
    root,
    sound,
)


def judged(lines: list[bytes]) -> Report:
    """The report on a complete export of a store that logged ``lines``."""
    return verify_export(logged(lines), PIN)


def untrue(report: Report) -> dict[str, str]:
    """Verdicts that are neither true nor about the log."""
    return {v.name: v.state for v in report.verdicts if v.state not in ("true", "not_applicable")}


@lru_cache(maxsize=1)
def sound_lines() -> tuple[bytes, ...]:
    return tuple(sound())


def test_a_whole_export_is_proved() -> None:
    report = verify_export(sound(), PIN)
    assert untrue(report) == {}
    assert report.exit_code == 0
    assert (report.lines, report.records, report.instances) == (8, 4, 1)
    assert [v.name for v in report.verdicts] == list(VERDICTS)


def test_what_no_export_can_prove_without_a_log_is_said() -> None:
    writer = Writer()
    report = verify_export(export(writer, writer.whole()), PIN)
    assert untrue(report) == {"inclusion": "incomplete"}
    for name in ("consistency", "witnesses", "time", "instances"):
        assert report.verdict(name).state == "not_applicable"
    assert any("no checkpoint" in notice for notice in report.notices)
    assert (report.exit_code, report.complete, report.anchor) == (3, False, None)


def test_development_custody_is_said() -> None:
    made = root(custody="development")
    lines = [made.envelope + b"\n", *sound()[1:]]
    report = verify_export(lines, made.digest)
    assert report.exit_code == 0
    assert any("one operator" in notice for notice in report.notices)


@pytest.mark.parametrize("first", range(4))
def test_a_flipped_byte_is_found(first: int) -> None:
    data = b"".join(sound())
    # Each byte of the file would take seconds: every 223rd from four places, and any below.
    for place in range(first * 56, len(data), 223):
        assert_found(data, place, 0x01)


def test_every_byte_between_the_base64_of_a_record_is_found() -> None:
    data = sound()[3]
    payload = range(data.index(b"eyJ"), data.index(b'","signatures"'))
    for place in [place for place in range(len(data)) if place not in payload][::2]:
        changed = bytearray(data)
        changed[place] ^= 0x02
        lines = [*sound_lines()[:3], bytes(changed), *sound_lines()[4:]]
        assert verify_export(lines, PIN).exit_code == 1, f"byte {place}"


@given(st.data())
def test_any_other_value_of_any_byte_is_found(data: st.DataObject) -> None:
    text = b"".join(sound())
    place = data.draw(st.integers(0, len(text) - 1))
    assert_found(text, place, data.draw(st.integers(1, 255)))


def assert_found(data: bytes, place: int, flip: int) -> None:
    changed = bytearray(data)
    changed[place] ^= flip
    report = verify_export(bytes(changed).splitlines(keepends=True), PIN)
    assert report.exit_code == 1, f"byte {place} ^ {flip:#x}: {untrue(report)}"
    named = [p.line for v in report.verdicts if v.state == "false" for p in v.problems]
    around = data.count(b"\n", 0, place) + 1
    assert {around, around + 1, None} & set(named)


@pytest.mark.parametrize("missing", range(8))
def test_no_line_can_be_missing_unnoticed(missing: int) -> None:
    lines = sound()
    del lines[missing]
    assert verify_export(lines, PIN).exit_code in (1, 3)


def test_an_empty_export_proves_nothing() -> None:
    report = verify_export([], PIN)
    assert report.exit_code == 1
    assert untrue(report) == {"roots": "false", "form": "incomplete", "inclusion": "incomplete"}


def test_a_root_that_does_not_chain_from_the_pin_counts_for_nothing() -> None:
    lines = sound()
    report = verify_export(lines, seal.sha256_text(b"another root"))
    states = untrue(report)
    assert states["roots"] == "false"
    assert states["signatures"] == "false"
    assert states["entitlement"] == "incomplete"


def test_the_next_root_is_followed_when_both_signed_it() -> None:
    second = root(2, "offline", ROOT_KEY, NEXT_ROOT_KEY)
    lines = sound()
    lines.insert(1, second.envelope + b"\n")
    assert verify_export(lines, PIN).exit_code == 0


@pytest.mark.parametrize("signers", [[NEXT_ROOT_KEY], [ROOT_KEY], [OTHER]])
def test_a_next_root_that_one_side_did_not_sign_is_refused(signers: list[seal.Signer]) -> None:
    lines = sound()
    lines.insert(1, root(2, "offline", *signers).envelope + b"\n")
    assert untrue(verify_export(lines, PIN)) == {"roots": "false"}


@pytest.mark.parametrize("rider", [OTHER, ROOT_KEY])
def test_no_unchecked_signature_rides_along_on_a_root(rider: seal.Signer) -> None:
    sealed = seal.parse_envelope(root().envelope)
    extra = documents.Signature(keyid=rider.kid, sig=sealed.signatures[0].sig)
    more = msgspec.structs.replace(sealed, signatures=[*sealed.signatures, extra])
    lines = [documents.encode(more) + b"\n", *sound()[1:]]
    assert untrue(judged(lines))["roots"] == "false"


def test_a_certificate_by_nobody_known_entitles_to_nothing() -> None:
    writer = Writer()
    records = writer.whole()
    lines = export(writer, records)
    lines[1] = writer.certificate(None, OTHER)
    assert untrue(judged(lines)) == {
        "signatures": "false",
        "entitlement": "incomplete",
    }


@pytest.mark.parametrize("changes", [{"tenant": "globex"}, {"region": "us-east-1"}])
def test_a_certificate_for_another_place_entitles_to_nothing(changes: dict[str, str]) -> None:
    writer = Writer()
    lines = export(writer, writer.whole())
    lines[1] = writer.certificate(None, ISSUER, **changes)
    assert untrue(judged(lines)) == {"entitlement": "false"}


def test_a_record_outside_its_keys_window_is_not_proved() -> None:
    writer = Writer()
    lines = export(writer, writer.whole())
    early = {"not_before": time_text(NOW_US - DAY_US), "not_after": time_text(NOW_US - 1)}
    lines[1] = writer.certificate(None, ISSUER, **early)
    report = judged(lines)
    assert untrue(report) == {"entitlement": "incomplete"}
    assert report.exit_code == 3


def test_touching_windows_of_one_key_cover_what_lies_in_either() -> None:
    writer = Writer()
    lines = export(writer, writer.whole())
    middle = time_text(NOW_US + 500_000)
    lines[1:2] = [writer.certificate(not_after=middle), writer.certificate(not_before=middle)]
    assert judged(lines).exit_code == 0


def test_an_uncertified_chain_is_sound_and_not_proof() -> None:
    writer = Writer()
    lines = export(writer, writer.whole())
    del lines[1]
    assert untrue(judged(lines)) == {"entitlement": "incomplete"}


def test_a_record_signed_by_another_key_is_found() -> None:
    writer = Writer()
    records = writer.whole()
    lines = export(writer, records)
    forged = OTHER.sign(seal.record_pae(records[1].payload))
    lines[3] = (
        documents.encode(
            seal.envelope(documents.RECORD, records[1].payload, [(writer.signer.kid, forged)])
        )
        + b"\n"
    )
    report = judged(lines)
    assert untrue(report)["signatures"] == "false"
    assert report.verdict("signatures").problems[0].line == 4


def test_a_malleated_signature_is_found() -> None:
    # RFC 8032 section 5.1.7: S must be below the group order; S+L verifies elsewhere.
    order = 2**252 + 27742317777372353535851937790883648493
    writer = Writer()
    records = writer.whole()
    signature = records[1].signature
    scalar = int.from_bytes(signature[32:], "little") + order
    malleated = signature[:32] + scalar.to_bytes(32, "little")
    lines = export(writer, records)
    lines[3] = line(msgspec.structs.replace(records[1], signature=malleated))
    assert untrue(judged(lines))["signatures"] == "false"


def test_a_small_order_key_is_refused() -> None:
    writer = Writer()
    lines = export(writer, writer.whole())
    identity = (1).to_bytes(32, "little")
    lines[1] = writer.certificate(
        pub=base64.b64encode(identity).decode(), kid=seal.key_id(identity)
    )
    assert untrue(judged(lines))["signatures"] == "false"


def test_a_missing_record_leaves_the_chain_incomplete() -> None:
    writer = Writer()
    records = writer.whole(3)
    del records[2:4]
    report = judged(export(writer, records))
    assert report.exit_code == 3
    assert untrue(report)["chain"] == "incomplete"
    assert "lacks seq 2–3" in report.verdict("chain").problems[0].cause


def test_a_fork_is_found_wherever_it_stands() -> None:
    writer = Writer()
    records = writer.whole(2)
    twin = Writer()
    twin.start()
    other = twin.write(specimens.DECISION, trace=None)
    for place in range(2, len(records) + 1):
        lines = export(writer, records)
        lines.insert(place + 2, line(other))
        report = judged(lines)
        assert untrue(report)["forks"] == "false"


def test_a_record_that_stands_twice_is_found() -> None:
    writer = Writer()
    records = writer.whole()
    report = judged(export(writer, [*records, records[1]]))
    assert untrue(report)["chain"] == "false"
    assert report.verdict("chain").problems[0].line == 7


def test_a_chain_whose_records_come_out_of_order_is_still_whole() -> None:
    writer = Writer()
    records = writer.whole(3)
    shuffled = [records[5], records[2], *records[:2], *records[3:5], *records[6:]]
    assert judged(export(writer, shuffled)).exit_code == 0


def test_a_link_to_another_record_is_found() -> None:
    writer = Writer()
    records = writer.whole(2)
    twin = Writer()
    twin.start()
    twin.write(specimens.DECISION, trace=None)
    # Its own chain would be sound; spliced into ours it names another record before it.
    records[2] = twin.write(specimens.COMPLETION, of=records[1].id)
    assert untrue(judged(export(writer, records))) == {"chain": "false"}


def test_nothing_may_follow_a_seal() -> None:
    writer = Writer()
    records = [*writer.whole(), *writer.call()]
    assert untrue(judged(export(writer, records))) == {
        "chain": "false",
        "tail": "incomplete",
    }


def test_not_even_another_seal_may_follow_a_seal() -> None:
    writer = Writer()
    records = [*writer.whole(), *writer.call(), writer.write(specimens.SEAL)]
    assert untrue(judged(export(writer, records)))["chain"] == "false"


def rotated(*, after: bool = False, declared: bool = True) -> Report:
    writer = Writer()
    following = seal.Signer(b"n" * 32)
    certificate = seal.parse_envelope(writer.certificate(following))
    records = [writer.start()]
    if declared:
        records.append(
            writer.write(specimens.ROTATE, next_kid=following.kid, next_certificate=certificate)
        )
    if not after:
        writer.sealer.rotate(following)
    records += [*writer.call(), writer.write(specimens.SEAL)]
    lines = export(writer, records)
    lines.insert(2, writer.certificate(following))
    return judged(lines)


def test_a_rotated_key_hands_over_to_the_next() -> None:
    assert rotated().exit_code == 0


def test_a_record_by_a_key_after_its_rotate_is_found() -> None:
    assert untrue(rotated(after=True)) == {"chain": "false"}


def test_a_second_rotate_does_not_excuse_what_came_after_the_first() -> None:
    writer = Writer()
    keys = [seal.Signer(b"n" * 32), seal.Signer(b"N" * 32)]
    records = [writer.start()]
    for key in keys:
        certificate = seal.parse_envelope(writer.certificate(key))
        records += writer.call()
        records.append(
            writer.write(specimens.ROTATE, next_kid=key.kid, next_certificate=certificate)
        )
    writer.sealer.rotate(keys[1])
    records.append(writer.write(specimens.SEAL))
    lines = export(writer, records)
    lines[2:2] = [writer.certificate(key) for key in keys]
    assert untrue(judged(lines))["chain"] == "false"


def test_a_change_of_key_without_a_rotate_is_found() -> None:
    assert untrue(rotated(declared=False)) == {"chain": "false"}


def test_an_open_chain_is_reported_as_open() -> None:
    writer = Writer()
    report = judged(export(writer, writer.whole()[:-1]))
    assert untrue(report) == {"tail": "incomplete"}
    assert report.exit_code == 3


def test_a_recovered_chain_ends_where_its_successor_found_it() -> None:
    dead, successor = Writer(1), Writer(2)
    left = [dead.start(), *dead.call()]
    found = successor.write(
        specimens.RECOVERED, instance=dead.instance, last_seq=2, last_hash=left[2].hash
    )
    # The successor's recovered record is its seq 0 here: only the dead chain is looked at.
    lines = export(dead, left)
    lines.insert(2, successor.certificate())
    report = judged([*lines, line(found)])
    causes = [p.cause for p in report.verdict("tail").problems]
    assert not any(dead.instance in cause for cause in causes)
    lost = judged([*lines[:-1], line(found)])
    assert "its successor found more" in lost.verdict("tail").problems[0].cause


def test_an_allowed_call_without_completion_is_unknown_and_decides_nothing() -> None:
    writer = Writer()
    records = [writer.start(), writer.write(specimens.DECISION), writer.write(specimens.SEAL)]
    report = judged(export(writer, records))
    assert untrue(report) == {"outcomes": "incomplete"}
    assert report.exit_code == 0


def test_duplicate_keys_in_a_signed_payload_are_found() -> None:
    writer = Writer()
    records = writer.whole()
    payload = records[1].payload.replace(b'"v":1,', b'"v":1,"v":1,', 1)
    assert json.loads(payload)
    signature = writer.signer.sign(seal.record_pae(payload))
    lines = export(writer, records)
    lines[3] = line(msgspec.structs.replace(records[1], payload=payload, signature=signature))
    assert untrue(judged(lines))["form"] == "false"


def test_an_unknown_kind_counts_by_signature_and_chain() -> None:
    writer = Writer()
    records = writer.whole()
    payload = records[3].payload.replace(b'"v":1,"kind":"seal"', b'"v":2,"kind":"tomorrow"', 1)
    framed = seal.record_pae(payload)
    signature = writer.signer.sign(framed)
    records[3] = msgspec.structs.replace(records[3], payload=payload, signature=signature)
    report = judged(export(writer, records))
    assert untrue(report) == {"tail": "incomplete"}
    assert any("1 records are of kinds" in notice for notice in report.notices)


def test_the_envelope_may_not_name_another_key() -> None:
    writer, other = Writer(1), Writer(2)
    records = writer.whole()
    lines = export(writer, records)
    lines.insert(2, other.certificate())
    signature = other.signer.sign(seal.record_pae(records[1].payload))
    lines[4] = line(msgspec.structs.replace(records[1], kid=other.signer.kid, signature=signature))
    assert untrue(judged(lines))["signatures"] == "false"


@given(st.binary(max_size=400))
def test_no_line_breaks_the_verifier(junk: bytes) -> None:
    lines = sound()
    lines.insert(3, junk + b"\n")
    assert verify_export(lines, PIN).verdict("form").state == "false"
