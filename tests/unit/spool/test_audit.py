"""Verdicts on a spool: each attack and each accident makes its own one untrue, and no other."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from gateway import documents, seal
from gateway.documents import Envelope
from gateway.seal import Sealed, Signer
from gateway.verdicts import Verdict
from spool.audit import InstanceAudit, shown_keys
from spool.entitlement import Entitlement
from spool.scan import StoredRecord
from spool.walk import Walk
from tests import specimens
from tests.exports import ISSUER, OTHER, PIN, Writer, root
from tests.unit.spool.on_disk import FILES, flip, offset_of, put_home, put_segment, zero

ROOT = root().envelope + b"\n"


def verdicts(home: Path, *, open_ended: bool = False) -> dict[str, Verdict]:
    """Two passes, as the command makes them: keys, then verdicts."""
    first = Walk(FILES, str(home), home.name, may_be_written=open_ended)
    list(first)
    found = first.examiner.findings([])
    audit = InstanceAudit(shown_keys(found.public_key, found.certificates), open_ended=open_ended)
    for view in Walk(FILES, str(home), home.name, may_be_written=open_ended):
        audit.add(view)
    return {verdict.name: verdict for verdict in audit.verdicts()}


def untrue(found: dict[str, Verdict]) -> dict[str, str]:
    return {name: one.state for name, one in found.items() if one.state != "true"}


def causes(found: dict[str, Verdict], name: str) -> str:
    return "; ".join(problem.cause for problem in found[name].problems)


def home_of(tmp_path: Path, writer: Writer) -> Path:
    return put_home(tmp_path, writer.instance)


def test_a_whole_chain_is_true_in_every_verdict(tmp_path: Path) -> None:
    writer = Writer()
    records = writer.whole(3)
    home = home_of(tmp_path, writer)
    put_segment(home, records[:4], end=True)
    put_segment(home, records[4:], end=True)
    found = verdicts(home)
    assert untrue(found) == {}
    assert {name: one.counted for name, one in found.items()} == {
        **dict.fromkeys(("frames", "order", "form", "signatures", "chain"), len(records)),
        "tail": 1,
    }


def test_an_open_end_is_open_only_where_nobody_writes(tmp_path: Path) -> None:
    writer = Writer()
    home = home_of(tmp_path, writer)
    put_segment(home, writer.whole()[:-1])
    assert untrue(verdicts(home, open_ended=True)) == {"tail": "not_applicable"}
    found = verdicts(home)
    assert untrue(found) == {"tail": "incomplete"}
    assert causes(found, "tail") == "it ends without a seal after seq 2"


def test_rot_below_a_later_group_is_false(tmp_path: Path) -> None:
    writer = Writer()
    records = writer.whole(2)
    home = home_of(tmp_path, writer)
    flip(put_segment(home, records), offset_of(records, 2) + 60)
    found = verdicts(home)
    assert untrue(found) == {"frames": "false", "order": "false"}
    where = f"segment 0 offset {offset_of(records, 2)} length "
    assert causes(found, "frames").startswith(where)
    assert "damaged (durable once, damaged since)" in causes(found, "frames")
    assert causes(found, "order") == "seq 2 to 2 are missing"


def test_a_torn_group_at_the_end_is_open_and_not_false(tmp_path: Path) -> None:
    writer = Writer()
    records = writer.whole(2)
    home = home_of(tmp_path, writer)
    zero(put_segment(home, records, batch=3), offset_of(records, 4) + 60, 8)
    found = verdicts(home)
    assert untrue(found) == {"frames": "incomplete", "order": "incomplete"}
    assert "torn_or_rot" in causes(found, "frames")


def test_a_removed_segment_is_a_hole_and_a_shipped_one_is_not(tmp_path: Path) -> None:
    writer = Writer()
    records = writer.whole(4)
    home = home_of(tmp_path, writer)
    first = put_segment(home, records[:3], end=True)
    second = put_segment(home, records[3:6], end=True)
    put_segment(home, records[6:], end=True)
    kept = second.read_bytes()
    second.unlink()
    found = verdicts(home)
    assert untrue(found) == {"order": "false"}
    assert causes(found, "order") == "seq 3 to 5 are missing"
    second.write_bytes(kept)
    first.unlink()
    assert untrue(verdicts(home)) == {"signatures": "incomplete"}, "the start showed the key"


def test_a_key_that_a_later_certificate_shows_is_used_for_what_came_before(
    tmp_path: Path,
) -> None:
    writer = Writer()
    records = [writer.start(), *writer.call()]
    shown = msgspec.json.decode(writer.certificate(), type=Envelope)
    records += [writer.write(specimens.HEARTBEAT, certificate=shown)]
    records += [writer.write(specimens.SEAL)]
    home = home_of(tmp_path, writer)
    put_segment(home, records[1:], end=True)
    assert untrue(verdicts(home)) == {}


def forged(sealed: Sealed, signer: Signer) -> Sealed:
    framed = seal.record_pae(sealed.payload)
    return msgspec.structs.replace(sealed, signature=signer.sign(framed))


def test_a_foreign_signature_is_false(tmp_path: Path) -> None:
    writer = Writer()
    records = writer.whole()
    records[-1] = forged(records[-1], OTHER)
    home = home_of(tmp_path, writer)
    put_segment(home, records)
    found = verdicts(home)
    assert untrue(found) == {"signatures": "false"}
    assert causes(found, "signatures") == "seq 3: the signature is not its key's"


def test_a_record_from_elsewhere_breaks_the_chain(tmp_path: Path) -> None:
    writer, twin = Writer(), Writer()
    records = [writer.start(), *writer.call()]
    twin.write(specimens.DECISION)
    others = [*twin.call(), twin.write(specimens.SEAL)]
    home = home_of(tmp_path, writer)
    put_segment(home, [*records, others[-1]])
    found = verdicts(home)
    assert untrue(found) == {"chain": "false"}
    assert causes(found, "chain") == "seq 3: prev is not the hash of seq 2"


def _unrotated(writer: Writer) -> list[Sealed]:
    records = [writer.start(), *writer.call()]
    writer.sealer.rotate(OTHER)
    return [*records, writer.write(specimens.SEAL)]


def _moved(writer: Writer) -> list[Sealed]:
    return [writer.start(), *writer.call(), writer.write(specimens.SEAL, tenant="other")]


def _after_seal(writer: Writer) -> list[Sealed]:
    return [writer.start(), writer.write(specimens.SEAL), *writer.call()]


def _retired(writer: Writer) -> list[Sealed]:
    certificate = msgspec.json.decode(writer.certificate(OTHER), type=Envelope)
    start = writer.start()
    rotate = writer.write(specimens.ROTATE, next_kid=OTHER.kid, next_certificate=certificate)
    return [start, rotate, writer.write(specimens.SEAL)]


@pytest.mark.parametrize(
    ("made", "cause"),
    [
        (_unrotated, "seq 3: another key, without a rotate"),
        (_moved, "seq 3: another tenant or region"),
        (_after_seal, "seq 2: it comes after the seal"),
        (_retired, "seq 2: by a key that seq 1 retired"),
    ],
)
def test_the_turns_of_a_chain_are_held(
    tmp_path: Path, made: Callable[[Writer], list[Sealed]], cause: str
) -> None:
    writer = Writer()
    home = home_of(tmp_path, writer)
    put_segment(home, made(writer))
    found = verdicts(home)
    assert found["chain"].state == "false"
    assert cause in causes(found, "chain")


def test_a_rotated_key_is_the_chains_own(tmp_path: Path) -> None:
    writer = Writer()
    certificate = msgspec.json.decode(writer.certificate(OTHER), type=Envelope)
    records = [writer.start()]
    records += [writer.write(specimens.ROTATE, next_kid=OTHER.kid, next_certificate=certificate)]
    writer.sealer.rotate(OTHER)
    records += [*writer.call(), writer.write(specimens.SEAL)]
    home = home_of(tmp_path, writer)
    put_segment(home, records)
    assert untrue(verdicts(home)) == {}


def test_another_form_and_an_unknown_kind_are_told_apart(tmp_path: Path) -> None:
    writer = Writer()
    start = writer.start()
    payload = start.payload.replace(b'{"v":1,', b'{"v": 1,')
    spaced = msgspec.structs.replace(
        start, payload=payload, signature=writer.signer.sign(seal.record_pae(payload))
    )
    home = home_of(tmp_path, writer)
    put_segment(home, [spaced])
    assert verdicts(home)["form"].state == "false"
    other = start.payload.replace(b'"kind":"start"', b'"kind":"later"')
    later = msgspec.structs.replace(
        start, payload=other, signature=writer.signer.sign(seal.record_pae(other))
    )
    put_segment(home, [later])
    found = verdicts(home)
    assert (found["form"].state, found["signatures"].state) == ("incomplete", "incomplete")
    assert "version 1 kind 'later' is not known" in causes(found, "form")


def test_a_shown_key_counts_only_under_its_own_hash() -> None:
    text = base64.b64encode(OTHER.public).decode()
    assert shown_keys(text, []) == {OTHER.kid: OTHER.public}
    small = base64.b64encode(bytes(32)).decode()
    assert shown_keys(small, []) == {}, "a point of small order verifies anything"
    broken = documents.Envelope(payload_type=documents.KEY_CERT, payload="{}", signatures=[])
    assert shown_keys(None, [broken]) == {}


# -- entitlement --------------------------------------------------------------------------------


def trust(home: Path, certificates: list[bytes], root_line: bytes = ROOT) -> dict[str, Verdict]:
    judge = Entitlement(PIN, [root_line, *certificates])
    for view in Walk(FILES, str(home), home.name, may_be_written=False):
        for item in view.items:
            if isinstance(item, StoredRecord):
                judge.add(item)
    return {verdict.name: verdict for verdict in judge.verdicts()}


def test_entitlement_needs_a_certificate_of_the_pinned_issuer(tmp_path: Path) -> None:
    writer = Writer()
    records = writer.whole()
    home = home_of(tmp_path, writer)
    put_segment(home, records)
    assert untrue(trust(home, [writer.certificate()])) == {}
    assert untrue(trust(home, [])) == {"entitlement": "incomplete"}
    found = trust(home, [writer.certificate(writer.signer, OTHER)])
    assert found["entitlement"].state == "false"
    assert "certificate: " in causes(found, "entitlement")
    found = trust(home, [writer.certificate(writer.signer, ISSUER, tenant="other")])
    assert found["entitlement"].state == "false"
    assert causes(found, "entitlement").startswith("seq 0: the key is certified for another")
    assert trust(home, [], root(1, "offline", OTHER).envelope + b"\n")["roots"].state == "false"


def test_what_is_not_entitled_is_named_by_its_seq(tmp_path: Path) -> None:
    writer = Writer()
    records = [writer.start(), *writer.call(), *writer.call(), *writer.call()]
    late = msgspec.structs.replace(specimens.DECISION.time, decided="2030-01-01T00:00:00.000000Z")
    records += [writer.write(specimens.DECISION, time=late)]
    home = home_of(tmp_path, writer)
    put_segment(home, records[2:4], end=True)
    put_segment(home, records[5:])
    found = trust(home, [writer.certificate()])
    assert causes(found, "entitlement") == "seq 7: the record's time is in no window of its key"
