"""A policy in files: joined, read, and every mistake told with file, line and a suggestion."""

from __future__ import annotations

import pytest

from gateway.policy_source import read_policy, read_tests
from gateway.yaml_text import SourceInvalid

GRANTS = b"""\
groups:
  chat-models: [gpt-4o]
grants:
  - id: chat
    actions: [chat]
    models: ["@chat-models"]
"""
RESTRICTIONS = b"""\
groups:
  others: [x]
restrictions:
  - id: stop
    effect: deny
    actions: ["*"]
    when: {at_least: [data.level, restricted]}
"""


def test_files_join_into_one_policy() -> None:
    source = read_policy([("a.yaml", GRANTS), ("b.yaml", RESTRICTIONS)])
    assert [rule.id for rule in source.table.rules] == ["stop", "chat"]
    assert set(source.policy.groups) == {"chat-models", "others"}
    assert str(source.rule_place("stop")) == "b.yaml:4:5"


def test_places_of_joined_lists_stay_with_their_files() -> None:
    second = b"grants:\n  - id: other\n    actions: [chta]\n"
    with pytest.raises(SourceInvalid) as caught:
        read_policy([("a.yaml", GRANTS), ("b.yaml", second)])
    assert str(caught.value) == (
        "b.yaml:3:15: rule 'other': actions: 'chta' is no operation (did you mean 'chat'?)"
    )


@pytest.mark.parametrize(
    ("second", "said"),
    [
        (b"groups: {chat-models: [y]}", "b.yaml:1:10: 'groups.chat-models' stands twice"),
        (
            b"grants: [{id: chat, actions: [chat]}]",
            "b.yaml:1:11: rule id 'chat' stands twice; first in a.yaml:4:5",
        ),
        (b"grants: 3", "b.yaml:1:1: 'grants' stands twice"),
        (b"[1]", "b.yaml:1:1: a policy is an object"),
        (b"restrcitions: []", "b.yaml:1:1: unknown member 'restrcitions' (did you mean 'restric"),
    ],
)
def test_what_cannot_be_joined_is_refused(second: bytes, said: str) -> None:
    with pytest.raises(SourceInvalid) as caught:
        read_policy([("a.yaml", GRANTS), ("b.yaml", second)])
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (
            "{id: a, actions: [chat], when: {eq: [person.asurance, none]}}",
            ":2:37: rule 'a': unknown path 'person.asurance' (did you mean 'person.assurance'?)",
        ),
        (
            "{id: a, actions: [chat], when: {any: [{exists: person.id}, {equals: [a, b]}]}}",
            "unknown operator 'equals'",
        ),
        ("{id: a, actions: [chat], models: ['@chats']}", ":2:39: rule 'a': models: no group"),
        ("{id: a, actoins: [chat]}", ":2:13: unknown member 'actoins' (did you mean 'actions'?)"),
        ("{id: a, actions: chat}", ":2:13: grants.0.actions: Expected `array`, got `str`"),
        ("{id: A, actions: [chat]}", ":2:6: rule id 'A': lower-case letters"),
    ],
)
def test_a_mistake_in_a_rule_is_told_with_its_place(rule: str, said: str) -> None:
    with pytest.raises(SourceInvalid) as caught:
        read_policy([("p.yaml", f"grants:\n  - {rule}\n".encode())])
    assert said in str(caught.value)


def test_all_mistakes_in_rules_are_told_at_once() -> None:
    text = b"""\
grants:
  - id: a
    actions: [chat]
    when: {all: [{eq: [person.idd, x]}, {eq: [person.iss, 3]}]}
  - id: b
    actions: [no_such]
"""
    with pytest.raises(SourceInvalid) as caught:
        read_policy([("p.yaml", text)])
    assert [fault.place.line for fault in caught.value.faults] == [4, 4, 6]


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("recordable: [args.x, person.iid]", "p.yaml:2:22: recordable: unknown path"),
        ("groups: {none: []}", "p.yaml:2:10: group 'none'"),
        ("record_commit: {Chat: before_forward}", "p.yaml:2:17: record_commit: 'Chat'"),
        ("uncertified_seconds_max: -1", "p.yaml:2:1: uncertified_seconds_max is negative"),
        ("levels: {public: internal}", "p.yaml:2:10: levels: 'public'"),
        ("levels: {mine: secret}", "p.yaml:2:1: levels"),
        (
            "time_zones: {Oslo: {transitions: [], until: x}}",
            "p.yaml:2:14: time_zones.Oslo",
        ),
        (
            "open_on_expired: {seconds_max: 0, routes: [a], levels: [public]}",
            "p.yaml:2:19: open_on_expired.seconds_max",
        ),
    ],
)
def test_a_mistake_in_a_setting_is_told_with_its_place(setting: str, said: str) -> None:
    with pytest.raises(SourceInvalid) as caught:
        read_policy([("p.yaml", f"grants: []\n{setting}\n".encode())])
    assert str(caught.value).startswith(said)


def test_tests_may_lie_apart() -> None:
    text = (
        b"tests:\n  - name: a\n    input: {model: {operation: chat}}\n    expect: {outcome: deny}\n"
    )
    assert [test.name for test in read_tests("t.yaml", text)] == ["a"]


def test_a_mistake_in_a_test_is_told_with_its_place() -> None:
    text = (
        b"tests:\n  - name: a\n    input: {modle: {operation: chat}}\n    expect: {outcome: deny}\n"
    )
    with pytest.raises(SourceInvalid, match=r"t\.yaml:3:13: unknown member 'modle' \(did you mean"):
        read_tests("t.yaml", text)
