"""``gatepost policy``: from a text to a bundle that others sign."""

from __future__ import annotations

from pathlib import Path

import pytest

from gatepost.policy_files import policy_in
from gatepost.signed_file import read_envelope
from gateway import policy as policies
from gateway import seal
from tests.unit.gatepost.running import gatepost

EXAMPLES = Path(__file__).parents[3] / "examples" / "policies"


@pytest.fixture
def starter(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    assert gatepost("policy", "init", path).code == 0
    return path


def changed(path: Path, before: str, after: str) -> Path:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))
    return path


@pytest.mark.parametrize("name", ["bank", "hospital", "software"])
def test_an_example_has_no_warning_and_its_tests_reach_every_rule(name: str) -> None:
    linted = gatepost("policy", "lint", "--strict", EXAMPLES / name)
    assert (linted.code, linted.err) == (0, "")
    tested = gatepost("policy", "test", "--json", EXAMPLES / name)
    assert tested.code == 0
    assert tested.json["failed"] == 0
    assert tested.json["unreached"] == []


def test_the_starter_has_no_warning_and_passes(starter: Path) -> None:
    assert gatepost("policy", "lint", "--strict", starter).code == 0
    tested = gatepost("policy", "test", starter)
    assert tested.code == 0
    assert "7 passed, 0 failed" in tested.out
    assert "no test reaches" not in tested.out


def test_the_starter_does_not_overwrite(starter: Path) -> None:
    again = gatepost("policy", "init", starter)
    assert again.code == 2
    assert "exists; choose another name" in again.err


def test_a_mistake_ends_every_command_with_its_place(starter: Path) -> None:
    changed(starter, "args.amount, 500", "arg.amount, 500")
    for command in ("lint", "test"):
        ended = gatepost("policy", command, starter)
        assert ended.code == 1
        assert f"{starter}:30:12: rule 'small-refunds': unknown path 'arg.amount'" in ended.err


def test_a_test_that_fails_is_named(starter: Path) -> None:
    changed(starter, "args.amount, 500", "args.amount, 50")
    ended = gatepost("policy", "test", starter)
    assert ended.code == 1
    assert "a small refund is granted: outcome is 'deny' (no_grant), expected 'allow'" in ended.out
    assert "no test reaches: small-refunds" in ended.out


def test_tests_apart_count(starter: Path, tmp_path: Path) -> None:
    apart = tmp_path / "apart.yaml"
    apart.write_text(
        "tests:\n  - name: apart\n    input: {model: {operation: chat}}\n"
        "    expect: {outcome: allow}\n"
    )
    ended = gatepost("policy", "test", "--json", starter, apart)
    assert ended.code == 1
    assert [line["name"] for line in ended.json["tests"] if line["problem"]] == ["apart"]


def test_a_policy_without_tests_does_not_pass(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text('{"grants": []}')
    assert gatepost("policy", "test", path).code == 1


def test_what_has_no_effect_is_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(
        """\
groups: {unused: [a]}
grants:
  - {id: wide, actions: [chat, message]}
  - {id: narrow, actions: [chat], models: [gpt-4o]}
  - {id: never, actions: [embedding], when: {all: [{at_most: [data.level, public]},
      {at_least: [data.level, internal]}]}}
  - {id: dead, actions: [tool_call]}
restrictions:
  - {id: no-tools, effect: deny, actions: [tool_call]}
  - {id: some-tools, effect: deny, actions: [tool_call], tools: [a/b]}
"""
    )
    ended = gatepost("policy", "lint", path)
    assert ended.code == 0
    never = (
        f"{path}:5:39: warning: grant 'never' is never true: "
        "its conditions on 'data.level' exclude each other"
    )
    assert ended.out.splitlines() == [
        f"{path}:1:10: warning: group 'unused' is used by no rule",
        f"{path}:4:5: warning: grant 'narrow' adds nothing to 'wide'",
        f"{path}:7:5: warning: rule 'dead' has no effect: 'no-tools' denies it all",
        f"{path}:10:5: warning: rule 'some-tools' has no effect: 'no-tools' denies it all",
        never,
        f"{path}:9:5: warning: no test reaches restriction 'no-tools'",
        f"{path}:10:5: warning: no test reaches restriction 'some-tools'",
        "6 rules, 7 warnings",
    ]
    assert gatepost("policy", "lint", "--strict", path).code == 1


def test_a_bundle_holds_the_policy_and_no_signature(starter: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle.json"
    ended = gatepost(
        *("policy", "build", starter, "--out", out, "--scope", "acme/prod"),
        *("--epoch", "1", "--version", "7", "--commit", "abc", "--expires-days", "3"),
    )
    assert ended.code == 0
    envelope = read_envelope(out)
    assert envelope.signatures == []
    bundle = policies.decode_bundle(seal.unbase64(envelope.payload, "unreadable"))
    assert (bundle.scope, bundle.epoch, bundle.version) == ("acme/prod", 1, 7)
    assert bundle.policy == policy_in(starter).policy == policy_in(out).policy


def test_a_policy_that_fails_its_tests_is_not_built(starter: Path, tmp_path: Path) -> None:
    changed(starter, "args.amount, 500", "args.amount, 50")
    out = tmp_path / "bundle.json"
    ended = gatepost(
        *("policy", "build", starter, "--out", out, "--scope", "acme/prod"),
        *("--epoch", "1", "--version", "7"),
    )
    assert ended.code == 1
    assert "a small refund is granted" in ended.err
    assert not out.exists()


def test_build_wants_to_know_whom_the_bundle_is_for(starter: Path, tmp_path: Path) -> None:
    ended = gatepost("policy", "build", starter, "--out", tmp_path / "b.json", "--epoch", "1")
    assert ended.code == 2
    assert "name --head, or --central and --scope, or all of" in ended.err


def test_a_missing_file_is_exit_2(tmp_path: Path) -> None:
    assert gatepost("policy", "lint", tmp_path / "none.yaml").code == 2
    assert gatepost("policy", "lint", tmp_path).code == 2


def test_a_diff_names_what_widens(starter: Path, tmp_path: Path) -> None:
    wider = tmp_path / "wider.yaml"
    wider.write_text(starter.read_text())
    changed(wider, "args.amount, 500", "args.amount, 900")
    ended = gatepost("policy", "diff", starter, wider)
    assert ended.code == 0
    assert ended.out.startswith("widening   grant 'small-refunds': when ")
    assert gatepost("policy", "diff", "--fail-on-widening", starter, wider).code == 1
    assert gatepost("policy", "diff", "--fail-on-widening", wider, starter).code == 0
    assert gatepost("policy", "diff", starter, starter).out == "the same policy\n"


def test_an_explanation_says_which_rule_decided_and_what_was_unknown(
    starter: Path, tmp_path: Path
) -> None:
    call = tmp_path / "call.yaml"
    call.write_text(
        "model: {operation: tool_call, tool_server: orders, tool: refund}\n"
        "data: {level: internal}\nargs: {amount: 12.50}\n"
    )
    ended = gatepost("policy", "explain", starter, call)
    assert ended.code == 0
    assert ended.out.splitlines() == [
        "deny (no_grant)",
        "  false    no-restricted-data (deny)",
        '    false    {"at_least":["data.level","restricted"]}',
        "  unknown  small-refunds (grant)",
        "    unknown  all",
        '    true       {"le":["args.amount",500]}',
        '    unknown    {"eq":["args.currency","EUR"]}',
        "* decided; 3 more rules are not about this call",
    ]


def test_a_rule_that_may_be_about_the_call_is_said_to_be_unsure(
    starter: Path, tmp_path: Path
) -> None:
    call = tmp_path / "call.yaml"
    call.write_text("model: {operation: chat}\n")
    found = gatepost("policy", "explain", "--json", starter, call).json
    lines = {line["id"]: line for line in found["rules"]}
    assert found["outcome"] == "deny"
    assert lines["no-restricted-data"]["decided"]
    assert (lines["chat"]["truth"], lines["chat"]["certain"]) == ("unknown", False)


def test_an_explanation_agrees_with_the_test_it_is_of(starter: Path) -> None:
    for test in policy_in(starter).policy.tests:
        found = gatepost("policy", "explain", "--json", starter, "--test", test.name).json
        assert found["outcome"] == test.expect.outcome
        decided = [line["id"] for line in found["rules"] if line["decided"]]
        assert decided == (test.expect.rules or [])


def test_a_call_with_a_mistake_is_told_with_its_place(starter: Path, tmp_path: Path) -> None:
    call = tmp_path / "call.yaml"
    call.write_text("model: {operation: chat, requestd: x}\n")
    ended = gatepost("policy", "explain", starter, call)
    assert ended.code == 1
    assert f"{call}:1:26: unknown member 'requestd' (did you mean 'requested'?)" in ended.err


def test_a_policy_is_shown_with_its_groups_written_out(starter: Path) -> None:
    ended = gatepost("policy", "show", starter)
    assert ended.code == 0
    assert ended.out.splitlines()[:8] == [
        "deny no-restricted-data",
        "    Card numbers, national ids and secrets never leave.",
        "    actions: *",
        '    when: {"at_least":["data.level","restricted"]}',
        "grant chat",
        "    Agents may talk to approved models, with data up to confidential.",
        "    actions: chat, response, message, count_tokens",
        "    models: gpt-4o-mini, claude-*",
    ]
