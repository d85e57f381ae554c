from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import limits, policy
from gateway.errors import DocumentInvalid
from gateway.glob import any_matcher, matcher
from gateway.selftest import run_self_tests
from gateway.table import Table, compile_policy, matching
from gateway.target import Named
from gateway.vocabulary import OPERATIONS
from tests.unit.gateway import policy_factory as make

GRANT = {"id": "g", "actions": ["*"]}
NAMES = ["a", "b", "ab", "erp"]
PATTERNS = [*NAMES, "a*", "*b", "*", "erp/a", "erp/*", "*/b", "x/y"]


def refusal(**members: object) -> str:
    with pytest.raises(DocumentInvalid) as caught:
        compile_policy(make.policy_of(**members))
    return str(caught.value)


def named(operation: str = "chat", **changes: str | None) -> Named:
    names: dict[str, str | None] = {
        "model": "gpt-4o", "server": None, "tool": None, "route": "openai", "agent": "bot",
    }  # fmt: skip
    return Named(operation, **(names | changes))


def matched(rule: dict[str, object], name: Named) -> str:
    """Whether the rule is about the call: ``yes``, ``no`` or ``maybe``."""
    found = make.table_of(grants=[{"id": "g", "actions": ["*"], **rule}]).candidates(name)
    if not found.rules:
        return "no"
    return "yes" if found.conditions[0] is found.rules[0].when else "maybe"


def tool(operation: str = "tool_call", server: str | None = "erp", name: str | None = "a") -> Named:
    return named(operation, model=None, server=server, tool=name)


@pytest.mark.parametrize(
    ("rule", "name", "expected"),
    [
        ({}, named(), "yes"),
        ({"actions": ["tool_*"]}, named(), "no"),
        ({"actions": ["chat"]}, named("unknown"), "maybe"),
        ({"models": ["gpt-4o"]}, named(), "yes"),
        ({"models": ["gpt-4o"]}, named(model="gpt-4"), "no"),
        ({"models": ["gpt-4o"]}, named(model=None), "maybe"),
        ({"models": ["*"]}, named("tool_call", tool="a", server="erp"), "no"),
        ({"tools": ["a"]}, tool(), "yes"),
        ({"tools": ["a"]}, tool(name="erp/a"), "no"),
        ({"tools": ["erp/a"]}, tool(), "yes"),
        ({"tools": ["erp/a"]}, tool(server="crm", name="a"), "no"),
        ({"tools": ["erp/a"]}, tool(server="crm", name="erp/a"), "no"),
        ({"tools": ["erp*/a"]}, tool(server="erp2", name="b/a"), "no"),
        ({"tools": ["erp/a"]}, tool(server=None), "maybe"),
        ({"tools": ["a"]}, tool(server=None), "yes"),
        ({"tools": ["a"]}, tool(name=None), "maybe"),
        ({"tools": ["erp/*"]}, tool("tool_list", name=None), "yes"),
        ({"tools": ["a"]}, tool("tool_list", name=None), "no"),
        ({"tools": ["*"]}, named(), "no"),
        ({"routes": ["open*"]}, named(), "yes"),
        ({"routes": ["other"]}, named(), "no"),
        ({"agents": ["bot"]}, named(), "yes"),
        ({"agents": ["bot"]}, named(agent=None), "maybe"),
        ({"agents": ["other"]}, named(agent="bot"), "no"),
    ],
)
def test_a_rule_is_about_a_call_certainly_perhaps_or_not(
    rule: dict[str, object], name: Named, expected: str
) -> None:
    assert matched(rule, name) == expected


targets: st.SearchStrategy[dict[str, object]] = st.one_of(
    st.fixed_dictionaries({}),
    st.fixed_dictionaries({"models": st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=3)}),
    st.fixed_dictionaries({"tools": st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=3)}),
    st.fixed_dictionaries({"agents": st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=2)}),
)
names = st.none() | st.sampled_from([*NAMES, "", "erp/a"])


@given(
    st.lists(targets, max_size=12),
    st.builds(Named, st.sampled_from(sorted(OPERATIONS)), names, names, names, st.just("r"), names),
)
def test_the_index_finds_exactly_what_a_full_scan_finds(
    rules: list[dict[str, object]], name: Named
) -> None:
    table = make.table_of(
        grants=[{"id": f"g{i}", "actions": ["*"], **rule} for i, rule in enumerate(rules)]
    )
    assert table.candidates(name) == matching(table.rules, name)
    assert table.candidates(name) is table.candidates(name)


def test_the_memory_of_candidates_is_bounded() -> None:
    table: Table = make.table_of(grants=[GRANT])
    for count in range(limits.POLICY_CANDIDATES_KEPT_MAX * 2 + 5):
        table.candidates(named(model=str(count)))
    assert len(table._remembered) <= limits.POLICY_CANDIDATES_KEPT_MAX


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"mode": "shadow"}, "unsupported"),
        ({"grants": [GRANT, GRANT]}, "rule id 'g' stands twice"),
        ({"grants": [GRANT | {"id": "G"}]}, "rule id 'G'"),
        ({"grants": [GRANT | {"id": "g" * 49}]}, "at most 48"),
        ({"grants": [GRANT | {"actions": []}]}, "actions is empty"),
        ({"grants": [GRANT | {"actions": ["chatt"]}]}, "did you mean 'chat'"),
        ({"grants": [GRANT | {"actions": ["llm.*"]}]}, "'llm.*' is no operation"),
        ({"grants": [GRANT | {"models": ["a"], "tools": ["b"]}]}, "write two rules"),
        ({"grants": [GRANT | {"actions": ["tool_call"], "models": ["a"]}]}, "never matches"),
        ({"grants": [GRANT | {"actions": ["chat"], "tools": ["a"]}]}, "never matches"),
        ({"grants": [GRANT | {"models": ["@modells"]}], "groups": {"models": ["a"]}},
         "did you mean 'models'"),
        ({"grants": [GRANT | {"when": {"eq": ["person.idd", "x"]}}]},
         "rule 'g': unknown path 'person.idd' (did you mean 'person.id'?)"),
        ({"groups": {"a": ["@b"]}}, "without other groups"),
        ({"levels": {"public": "restricted"}}, "cannot mean another"),
        ({"recordable": ["args.a", "argz.b"]}, "recordable: unknown path 'argz.b'"),
        ({"recordable": ["args..b"]}, "empty step"),
        ({"record_commit": {"Bad Route": "before_forward"}}, "record_commit"),
        ({"uncertified_seconds_max": -1}, "negative"),
        ({"restrictions": [{"id": "r", "effect": "oblige", "actions": ["*"]}]}, "obligations"),
        ({"restrictions": [{"id": "r", "effect": "deny", "actions": ["*"],
                            "obligations": [{"regions": ["eu"]}]}]}, "the other effects"),
        ({"restrictions": [{"id": "r", "effect": "oblige", "actions": ["*"],
                            "obligations": [{"regions": []}]}]}, "forbids all"),
        ({"restrictions": [{"id": "r", "effect": "oblige", "actions": ["*"],
                            "obligations": [{}]}]}, "exactly one member"),
        ({"restrictions": [{"id": "r", "effect": "oblige", "actions": ["*"],
                            "obligations": [{"max_output_tokens": 0}]}]}, "at least 1"),
        ({"restrictions": [{"id": "r", "effect": "oblige", "actions": ["*"],
                            "obligations": [{"pseudonymise_user": False}]}]}, "left out"),
        ({"restrictions": [{"id": "r", "effect": "oblige", "actions": ["*"],
                            "obligations": [{"redact": {"categories": []}}]}]}, "no category"),
        ({"restrictions": [{"id": "r", "effect": "oblige", "actions": ["*"],
                            "obligations": [{"redact": {"categories": ["PII"]}}]}]},
         "is no category"),
        ({"open_on_expired": {"seconds_max": 86_401, "routes": ["a"], "levels": ["public"]}},
         "86400"),
        ({"open_on_expired": {"seconds_max": 60, "routes": ["*"], "levels": ["public"]}},
         "no pattern for all"),
        ({"open_on_expired": {"seconds_max": 60, "routes": ["a"], "levels": ["restricted"]}},
         "never 'restricted'"),
        ({"time_zones": {"z": {"transitions": [], "until": "2027-01-01T00:00:00.000000Z"}}},
         "must ascend"),
        ({"time_zones": {"z": {"transitions": [
            {"start": "2027-01-01T00:00:00.000000Z", "offset_seconds": 0}],
            "until": "2026-01-01T00:00:00.000000Z"}}}, "must ascend"),
        ({"time_zones": {"z": {"transitions": [], "until": "2027"}}}, "time_zones.z"),
    ],
)  # fmt: skip
def test_a_policy_that_cannot_be_meant_is_refused_before_it_is_used(
    members: dict[str, object], said: str
) -> None:
    assert said in refusal(**members)


def test_too_many_rules_are_refused() -> None:
    grants = [{"id": f"g{i}", "actions": ["chat"]} for i in range(limits.POLICY_RULES_MAX + 1)]
    assert "at most 5000" in refusal(grants=grants)


def test_a_bundle_whose_facts_could_outgrow_a_record_is_refused() -> None:
    def grants(count: int, **target: object) -> list[dict[str, object]]:
        return [
            {
                "id": f"g{i}",
                "actions": ["tool_call"],
                "when": {"exists": f"args.member_{i}"},
                **{name: [f"{value}{i}"] for name, value in target.items()},
            }
            for i in range(count)
        ]

    assert "facts of one call" in refusal(grants=grants(60))
    # Rules of different tools never meet in one call.
    assert make.table_of(grants=grants(60, tools="t")).facts_bytes_max() < 200


def test_unknown_members_and_words_are_refused_when_read() -> None:
    for text in (
        b'{"grants": [{"id": "g", "actions": ["chat"], "model": ["x"]}]}',
        b'{"grants": [], "restrictions": [{"id": "r", "effect": "audit", "actions": ["*"]}]}',
        (
            b'{"grants": [], "restrictions": [{"id": "r", "effect": "oblige", "actions": ["*"], '
            b'"obligations": [{"shout": true}]}]}'
        ),
        b'{"grants": [], "defaults": {"outcome": "allow"}}',
        b"[" * 100_000,
    ):
        with pytest.raises(DocumentInvalid) as caught:
            policy.decode_policy(text)
        assert caught.value.reason == "unreadable"


def test_self_tests_stop_a_bundle_that_does_not_do_what_it_says() -> None:
    sample = {"model": {"operation": "chat"}, "time": "2027-01-15T08:00:00.000000Z"}

    def table(**expect: object) -> Table:
        test = {"name": "t", "input": sample, "expect": expect}
        return make.table_of(grants=[GRANT], tests=[test])

    run_self_tests(table(outcome="allow", rules=["g"], reason="granted"))
    for wrong in (
        {"outcome": "deny"},
        {"outcome": "allow", "rules": []},
        {"outcome": "allow", "reason": "no_grant"},
    ):
        with pytest.raises(DocumentInvalid) as caught:
            run_self_tests(table(**wrong))
        assert caught.value.reason == "selftest"
        assert "'t'" in caught.value.detail


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        ("", ["", ], ["a"]),
        ("a", ["a"], ["", "aa", "A"]),
        ("*", ["", "a"], []),
        ("a*", ["a", "ab"], ["ba", ""]),
        ("*a", ["a", "ba"], ["ab"]),
        ("a*a", ["aa", "aba"], ["a"]),
        ("a*b*c", ["abc", "axbxc"], ["ac", "acb"]),
        ("*ab*ab*", ["abab", "xabyabz"], ["ab", "aab"]),
    ],
)  # fmt: skip
def test_a_star_stands_for_any_text(pattern: str, good: list[str], bad: list[str]) -> None:
    for matches in (matcher(pattern), any_matcher([pattern])):
        assert all(map(matches, good))
        assert not any(map(matches, bad))


def test_a_hostile_name_takes_no_long_time_to_match() -> None:
    assert not matcher("*".join("a" * 100) + "b")("a" * 100_000)
