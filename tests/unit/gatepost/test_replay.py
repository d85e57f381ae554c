"""``gatepost replay``: same, changed, unusable and undetermined are four exit codes."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway import documents, envelope_line, log_line, policy, seal
from gateway.log_line import LogLine
from gateway.record import Decision
from gateway.timestamp import time_text
from tests import specimens
from tests.exports import BUNDLE_KEY, NOW_US, OTHER, PIN, Writer, line, root
from tests.unit.gatepost.running import Ended, gatepost
from tests.unit.gateway.replaying import call, recorded
from tests.unit.gateway.test_replay_cases import NO_GIFTS, PAID, rules, with_ruling, without

BUNDLE = policy.Bundle(
    spec=policy.SPEC,
    scope="acme",
    epoch=1,
    version=1,
    issued=time_text(NOW_US),
    not_before=time_text(NOW_US),
    expires=time_text(NOW_US + 1),
    engine=policy.ENGINE,
    source=None,
    policy=rules(),
)
PAYLOAD = policy.encode(BUNDLE)
DIGEST = seal.sha256_text(PAYLOAD)


def decided(**members: object) -> Decision:
    """A call that this bundle allowed."""
    decision = recorded(rules(), call(PAID))
    own = msgspec.structs.replace(decision.policy, digest=DIGEST, scope="acme")
    return msgspec.structs.replace(decision, policy=own, **members)


def export_of(tmp_path: Path, *decisions: Decision, extra: tuple[bytes, ...] = ()) -> Path:
    """An export: root, certificate, start, these decisions, and a line of the log."""
    writer = Writer()
    records = [line(writer.start()), *(line(writer.write(one)) for one in decisions)]
    last = log_line.write(LogLine(checkpoint="as the verifier reads it"))
    path = tmp_path / "export.ndjson"
    path.write_bytes(
        b"".join([root().envelope + b"\n", writer.certificate(), *records, *extra, last])
    )
    return path


def signed(tmp_path: Path, signer: seal.Signer = BUNDLE_KEY) -> Path:
    path = tmp_path / "bundle.json"
    path.write_bytes(documents.encode(signer.envelope(documents.BUNDLE, PAYLOAD)))
    return path


def plain(tmp_path: Path, **members: object) -> Path:
    path = tmp_path / "policy.json"
    path.write_bytes(policy.encode(rules(**members)))
    return path


def lines(ended: Ended) -> list[dict[str, Any]]:
    return [msgspec.json.decode(one) for one in ended.out.splitlines()]


FLIPPED = with_ruling(decided(), outcome="deny", status=403)
OPEN = without(decided(), "args.amount")


def test_decisions_of_this_bundle_are_the_same_and_that_is_0(tmp_path: Path) -> None:
    export = export_of(tmp_path, decided(), decided())
    ended = gatepost("replay", export, "--bundle", signed(tmp_path), "--root", PIN)
    assert (ended.code, ended.err.strip()) == (0, "")
    assert "2 decisions put to bundle acme version 1, signatures checked" in ended.out
    assert "2 were decided by it" in ended.out
    assert "decisions/s" in ended.out


def test_one_flipped_outcome_is_1_and_is_listed(tmp_path: Path) -> None:
    export = export_of(tmp_path, decided(), FLIPPED, OPEN)
    ended = gatepost("replay", export, "--bundle", signed(tmp_path))
    assert ended.code == 1
    assert "deny (granted) by small" in ended.out
    assert "allow (granted) by small" in ended.out
    assert "differs: outcome" in ended.out
    assert "not recorded whole: args.amount" in ended.out
    assert "signatures not checked" in ended.out


def test_what_is_undetermined_is_3(tmp_path: Path) -> None:
    ended = gatepost("replay", export_of(tmp_path, decided(), OPEN), "--bundle", signed(tmp_path))
    assert ended.code == 3
    assert "allow or deny" in ended.out


def test_a_policy_without_the_deciding_rule_is_1(tmp_path: Path) -> None:
    export = export_of(tmp_path, decided())
    ended = gatepost("replay", export, "--bundle", plain(tmp_path, grants=[]))
    assert ended.code == 1
    assert "a plain policy: no record was decided by it" in ended.out
    assert "1 with another outcome" in ended.out
    assert gatepost("replay", export, "--bundle", plain(tmp_path)).code == 0


def test_json_is_a_line_per_decision_and_a_summary(tmp_path: Path) -> None:
    export = export_of(tmp_path, decided(), FLIPPED, OPEN)
    asked = ("replay", export, "--bundle", signed(tmp_path), "--json")
    *told, summary = lines(gatepost(*asked))
    assert [one["verdict"] for one in told] == ["same", "changed", "undetermined"]
    assert told[1]["differs"] == ["outcome", "status"]
    assert summary["summary"]["verdicts"] == {
        "same": 1, "changed": 1, "undetermined": 1, "not_by_rules": 0,
    }  # fmt: skip
    assert (summary["summary"]["own"], summary["summary"]["exit_code"]) == (3, 1)
    *told, _ = lines(gatepost(*asked, "--only", "changed"))
    assert [one["verdict"] for one in told] == ["changed"]


def test_a_long_list_is_cut_and_says_so(tmp_path: Path) -> None:
    export = export_of(tmp_path, *[FLIPPED] * 5)
    ended = gatepost("replay", export, "--bundle", signed(tmp_path), "--limit", 2)
    assert "and 3 more" in ended.out
    assert ended.out.count("differs: outcome") == 2


def test_a_compressed_export_is_the_same(tmp_path: Path) -> None:
    export = export_of(tmp_path, FLIPPED)
    export.write_bytes(gzip.compress(export.read_bytes()))
    assert gatepost("replay", export, "--bundle", signed(tmp_path)).code == 1


@pytest.mark.parametrize(
    ("old", "new", "cause"),
    [
        (b'"v":1', b'"v":9', "a version that this one does not know"),
        (b'"kind":"decision"', b'"kind":"division"', "a kind that this version does not know"),
        (b'"fail_open":false', b'"fail_open":"no!"', "not a line of an export"),
    ],
)
def test_a_record_that_cannot_be_read_is_left_out_and_not_guessed(
    tmp_path: Path, old: bytes, new: bytes, cause: str
) -> None:
    sealed = Writer(2).write(decided())
    payload = sealed.payload.replace(old, new, 1)
    foreign = envelope_line.write_record(payload, Writer(2).signer.kid, sealed.signature)
    export = export_of(tmp_path, decided(), extra=(foreign,))
    ended = gatepost("replay", export, "--bundle", signed(tmp_path))
    assert ended.code == 3
    assert "left out: 1 lines" in ended.out
    assert cause in ended.out
    assert "1 decisions put to" in ended.out


def test_an_export_without_a_decision_proves_nothing(tmp_path: Path) -> None:
    assert gatepost("replay", export_of(tmp_path), "--bundle", signed(tmp_path)).code == 3


def test_records_of_other_kinds_are_passed_over(tmp_path: Path) -> None:
    writer = Writer(3)
    others = [line(writer.start()), line(writer.write(specimens.COMPLETION, of="x"))]
    export = export_of(tmp_path, decided(), extra=tuple(others))
    assert gatepost("replay", export, "--bundle", signed(tmp_path)).code == 0


def test_a_bundle_that_its_root_does_not_vouch_for_is_not_used(tmp_path: Path) -> None:
    export = export_of(tmp_path, decided())
    ended = gatepost("replay", export, "--bundle", signed(tmp_path, OTHER), "--root", PIN)
    assert ended.code == 2
    assert "not signed" in ended.err
    strange = "sha256:" + "0" * 64
    assert gatepost("replay", export, "--bundle", signed(tmp_path), "--root", strange).code == 2
    assert gatepost("replay", export, "--bundle", plain(tmp_path), "--root", PIN).code == 2


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "policy"),
        (b'{"grants":[{"id":"x","actions":["*"],"when":{"is":["args.a",1]}}]}', "operator"),
        (b'{"payloadType":"application/vnd.gatepost.root.v1+json"}', "envelope"),
        (root().envelope, "not a bundle"),
    ],
)
def test_a_bundle_that_cannot_be_used_is_2(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "given"
    path.write_bytes(data)
    ended = gatepost("replay", export_of(tmp_path, decided()), "--bundle", path)
    assert ended.code == 2
    assert said in ended.err


def test_a_policy_that_fails_its_own_tests_is_not_used(tmp_path: Path) -> None:
    test = {
        "name": "chat",
        "input": {"model": {"operation": "chat"}},
        "expect": {"outcome": "allow"},
    }
    given = plain(tmp_path, restrictions=[NO_GIFTS], tests=[test])
    ended = gatepost("replay", export_of(tmp_path, decided()), "--bundle", given)
    assert ended.code == 2
    assert "'chat'" in ended.err


def test_what_is_not_there_is_2(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing"
    assert gatepost("replay", nothing, "--bundle", signed(tmp_path)).code == 2
    assert gatepost("replay", export_of(tmp_path), "--bundle", nothing).code == 2
