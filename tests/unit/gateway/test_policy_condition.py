from __future__ import annotations

import decimal
import re
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import jsonbody
from gateway.call import Json
from gateway.comparison import ConditionInvalid, Scope
from gateway.condition import compile_condition
from gateway.inputs import INDEX, PATHS, Inputs, gather
from gateway.truth import FALSE, TRUE, UNKNOWN, Truth, all_of, any_of, negation_of
from gateway.zone import Zone
from tests.unit.gateway import policy_factory as make

ZONE = Zone((make.NOW_US - 10, make.NOW_US + 10), (0, 3600), make.NOW_US + 20)


def scope() -> Scope:
    groups = {"finance": ["analyst", "controller"], "models": ["gpt-*"]}
    return Scope({"secret": "restricted"}, {"europe/paris": ZONE}, groups)


def truth(condition: object, inputs: Inputs) -> Truth:
    return compile_condition(condition, scope())(inputs)


def of_args(condition: object, args: Json) -> Truth:
    return truth(condition, make.inputs(make.tool_call(args=args)))


def test_inputs_stand_in_the_order_of_the_path_vocabulary() -> None:
    upstreams = (make.upstream(region="r1"),)
    call = make.chat(tool="t", tool_server="s", hosted_tools=("h",), references=("ref",))
    who = make.principal(agent_name="n", agent_version="v", agent_session="z", delegation=("d",))
    got = gather(who, make.label(categories=("phi",)), call, make.route(*upstreams), 5)
    assert dict(zip(PATHS, got.known, strict=True)) == {
        "person.id": "ada",
        "person.iss": "https://idp.example",
        "person.assurance": "delegated",
        "agent.id": "billing-bot",
        "agent.attested_by": "uds_uid",
        "agent.name": "n",
        "agent.version": "v",
        "agent.session": "z",
        "authz.roles": ("analyst", "support"),
        "authz.scopes": ("llm:invoke",),
        "authz.delegation": ("d",),
        "data.level": "internal",
        "data.categories": ("phi",),
        "data.completeness": "full",
        "model.provider": "openai",
        "model.requested": "gpt-4o",
        "model.operation": "chat",
        "model.route": "openai",
        "model.regions": ("r1",),
        "model.tool": "t",
        "model.tool_server": "s",
        "model.hosted_tools": ("h",),
        "model.references": ("ref",),
        "time": 5,
    }


AND = {
    (FALSE, FALSE): FALSE, (FALSE, TRUE): FALSE, (FALSE, UNKNOWN): FALSE,
    (TRUE, FALSE): FALSE, (TRUE, TRUE): TRUE, (TRUE, UNKNOWN): UNKNOWN,
    (UNKNOWN, FALSE): FALSE, (UNKNOWN, TRUE): UNKNOWN, (UNKNOWN, UNKNOWN): UNKNOWN,
}  # fmt: skip


def _always(truth: Truth) -> Callable[[None], Truth]:
    return lambda _: truth


def test_connectives_follow_kleenes_tables() -> None:
    flip = {TRUE: FALSE, FALSE: TRUE, UNKNOWN: UNKNOWN}
    for (left, right), both in AND.items():
        parts = [_always(left), _always(right)]
        assert all_of(parts)(None) == both
        assert negation_of(parts[0])(None) == flip[left]
        # De Morgan gives the table of `any` from that of `all`.
        negated = [negation_of(part) for part in parts]
        assert any_of(parts)(None) == flip[all_of(negated)(None)]


@pytest.mark.parametrize(
    ("condition", "args", "expected"),
    [
        ({"eq": ["args.x", "a"]}, {"x": "a"}, TRUE),
        ({"eq": ["args.x", "a"]}, {"x": "b"}, FALSE),
        ({"eq": ["args.x", "a"]}, {"x": 1}, UNKNOWN),
        ({"eq": ["args.x", "a"]}, {"x": None}, UNKNOWN),
        ({"eq": ["args.x", "a"]}, {}, UNKNOWN),
        ({"eq": ["args.x", "a"]}, None, UNKNOWN),
        ({"eq": ["args.x", "a"]}, {"x": {"a": 1}}, UNKNOWN),
        ({"ne": ["args.x", "a"]}, {"x": "b"}, TRUE),
        ({"ne": ["args.x", "a"]}, {}, UNKNOWN),
        ({"eq": ["args.x", 1]}, {"x": True}, UNKNOWN),
        ({"eq": ["args.x", True]}, {"x": 1}, UNKNOWN),
        ({"eq": ["args.x", True]}, {"x": True}, TRUE),
        ({"eq": ["args.x", 1]}, {"x": 1.0}, TRUE),
        ({"in": ["args.x", [1, "a"]]}, {"x": "a"}, TRUE),
        ({"in": ["args.x", [1, "a"]]}, {"x": 2}, FALSE),
        ({"not_in": ["args.x", ["a"]]}, {"x": "b"}, TRUE),
        ({"not_in": ["args.x", ["a"]]}, {"x": []}, UNKNOWN),
        ({"le": ["args.x", 500]}, {"x": 500}, TRUE),
        ({"le": ["args.x", 500]}, {"x": 501}, FALSE),
        ({"le": ["args.x", 500]}, {"x": "1"}, UNKNOWN),
        ({"lt": ["args.x", 500]}, {"x": 500}, FALSE),
        ({"gt": ["args.x", 500]}, {"x": True}, UNKNOWN),
        ({"ge": ["args.x", 500]}, {"x": float("inf")}, UNKNOWN),
        ({"ge": ["args.x", 500]}, {"x": float("nan")}, UNKNOWN),
        ({"ge": ["args.items.0.price", 5]}, {"items": [{"price": 6}]}, TRUE),
        ({"ge": ["args.items.1.price", 5]}, {"items": [{"price": 6}]}, UNKNOWN),
        ({"ge": ["args.items.00.price", 5]}, {"items": [{"price": 6}]}, UNKNOWN),
        ({"eq": ["args.a~1b~0", "x"]}, {"a.b~": "x"}, TRUE),
        ({"has": ["args.x", "a"]}, {"x": ["b", "a"]}, TRUE),
        ({"has": ["args.x", "a"]}, {"x": ["b"]}, FALSE),
        ({"has": ["args.x", "a"]}, {"x": ["b", 1]}, UNKNOWN),
        ({"has": ["args.x", "a"]}, {"x": "a"}, UNKNOWN),
        ({"has_any": ["args.x", ["a", "c"]]}, {"x": ["c"]}, TRUE),
        ({"has_all": ["args.x", ["a", "c"]]}, {"x": ["c"]}, FALSE),
        ({"matches": ["args.x", "a*c"]}, {"x": "abc"}, TRUE),
        ({"matches": ["args.x", "a*c"]}, {"x": "abcd"}, FALSE),
        ({"matches": ["args.x", "a*c"]}, {"x": 3}, UNKNOWN),
        ({"exists": "args.x"}, {"x": 0}, TRUE),
        ({"exists": "args.x"}, {"x": None}, FALSE),
        ({"exists": "args.x"}, {}, FALSE),
        ({"exists": "args.x"}, None, UNKNOWN),
    ],
)
def test_a_comparison_is_unknown_where_a_value_is_missing_or_of_another_type(
    condition: object, args: Json, expected: Truth
) -> None:
    assert of_args(condition, args) == expected


def test_numbers_are_compared_by_the_digits_that_were_sent() -> None:
    body = b'{"x": 500.00000000000000000001}'
    bound = {"le": ["args.x", 500]}
    assert of_args(bound, jsonbody.parse(body)) == FALSE
    tenth = {"eq": ["args.x", decimal.Decimal("0.1")]}
    assert of_args(tenth, {"x": 0.1}) == TRUE


def test_roles_without_a_verified_token_are_unknown_not_empty() -> None:
    no_contractor = {"not": {"has": ["authz.roles", "contractor"]}}
    assert truth(no_contractor, make.inputs()) == TRUE
    assert truth(no_contractor, make.inputs(roles=())) == TRUE
    assert truth(no_contractor, make.inputs(roles=(), assurance="workload")) == UNKNOWN


def test_a_category_not_found_by_an_incomplete_scan_is_unknown() -> None:
    has = {"has": ["data.categories", "pci.card"]}

    def at(**changes: object) -> Truth:
        who, label = make.principal(), make.label(**changes)
        return truth(has, gather(who, label, make.chat(), make.route(), make.NOW_US))

    assert at() == FALSE
    assert at(completeness="partial") == UNKNOWN
    assert at(completeness="partial", categories=("pci.card",)) == TRUE


def test_a_category_pattern_covers_a_family() -> None:
    who, label = make.principal(), make.label(categories=("pii.email",))
    inputs = gather(who, label, make.chat(), make.route(), make.NOW_US)
    assert truth({"has": ["data.categories", "pii.*"]}, inputs) == TRUE
    assert truth({"has": ["data.categories", "pci.*"]}, inputs) == FALSE


def test_levels_are_compared_by_rank_and_by_the_authors_names() -> None:
    assert truth({"at_most": ["data.level", "confidential"]}, make.inputs()) == TRUE
    assert truth({"at_least": ["data.level", "secret"]}, make.inputs()) == FALSE
    assert truth({"eq": ["data.level", "internal"]}, make.inputs()) == TRUE


def test_time_of_day_is_utc_or_by_the_bundles_own_table() -> None:
    # 2027-01-15T08:00:00Z
    assert truth({"time_between": ["07:59", "08:01"]}, make.inputs()) == TRUE
    assert truth({"time_between": ["08:01", "07:59"]}, make.inputs()) == FALSE
    assert truth({"time_between": ["23:00", "09:00"]}, make.inputs()) == TRUE
    in_zone = {"time_between": ["08:00", "08:01", "europe/paris"]}
    inputs = make.inputs()
    for time_us, expected in (
        (make.NOW_US - 11, UNKNOWN),
        (make.NOW_US, TRUE),
        (make.NOW_US + 10, FALSE),
        (make.NOW_US + 20, UNKNOWN),
    ):
        inputs.known[INDEX["time"]] = time_us
        assert truth(in_zone, inputs) == expected
    assert truth({"lt": ["time", "2027-01-15T08:00:00.000021Z"]}, inputs) == TRUE


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ({"eq": ["person.role", "x"]}, "unknown path 'person.role'"),
        ({"eq": ["authz.role", "x"]}, "did you mean 'authz.roles'"),
        ({"hass": ["authz.roles", "x"]}, "did you mean 'has'"),
        ({"eq": ["authz.roles", "x"]}, "use has, has_any or has_all"),
        ({"has": ["person.id", "x"]}, "takes a list path"),
        ({"has": ["authz.roles", 1]}, "holds texts"),
        ({"eq": ["person.id", 1]}, "can never equal"),
        ({"eq": ["person.assurance", "delegate"]}, "did you mean 'delegated'"),
        ({"at_most": ["data.level", "internl"]}, "did you mean 'internal'"),
        ({"at_most": ["args.x", "internal"]}, "only 'data.level' is"),
        ({"lt": ["person.id", 1]}, "is not a number"),
        ({"lt": ["args.x", "1"]}, "takes a number"),
        ({"lt": ["args.x", True]}, "takes a number"),
        ({"lt": ["time", "2027-01-15"]}, "not of the form"),
        ({"eq": ["time", "2027-01-15T08:00:00.000000Z"]}, "takes lt, le, gt, ge"),
        ({"eq": ["args.x", None]}, "a text, a number or a boolean"),
        ({"eq": ["args.", "x"]}, "empty step"),
        ({"eq": ["args.a~b", "x"]}, "neither ~0 nor ~1"),
        ({"eq": ["args." + "a" * 200, "x"]}, "longer than"),
        ({"eq": ["args.x"]}, "takes [path, value]"),
        ({"in": ["args.x", []]}, "list that is not empty"),
        ({"all": []}, "list that is not empty"),
        ({"matches": ["args.x", 1]}, "text with '*'"),
        ({"time_between": ["7:00", "08:00"]}, "not a time of day"),
        ({"time_between": ["07:00", "24:00"]}, "not a time of day"),
        ({"time_between": ["07:00", "07:00"]}, "equal times"),
        ({"time_between": ["07:00", "08:00", "europe/pari"]}, "did you mean 'europe/paris'"),
        ({"exists": "time"}, "always exists"),
        ({}, "one member"),
        ({"eq": ["args.x", 1], "ne": ["args.x", 1]}, "one member"),
        ("x", "one member"),
    ],
)
def test_a_condition_that_cannot_be_meant_is_refused_with_the_reason(
    condition: object, said: str
) -> None:
    with pytest.raises(ConditionInvalid) as caught:
        compile_condition(condition, scope())
    assert said in str(caught.value)


def test_depth_and_number_of_conditions_are_bounded() -> None:
    leaf: object = {"exists": "args.x"}
    deep = leaf
    for _ in range(8):
        deep = {"not": deep}
    with pytest.raises(ConditionInvalid, match="deeper"):
        compile_condition(deep, scope())
    with pytest.raises(ConditionInvalid, match="more than 64"):
        compile_condition({"all": [leaf] * 64}, scope())


def test_equal_looking_constants_of_different_types_are_not_confused() -> None:
    shared = scope()
    one = compile_condition({"eq": ["args.x", 1]}, shared)
    true = compile_condition({"eq": ["args.x", True]}, shared)

    def given_(value: Json) -> tuple[Truth, Truth]:
        inputs = make.inputs(make.tool_call(args={"x": value}))
        return one(inputs), true(inputs)

    assert given_(1) == (TRUE, UNKNOWN)
    assert given_(True) == (UNKNOWN, TRUE)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=4),
                    lambda inner: st.lists(inner, max_size=3)
                    | st.dictionaries(st.sampled_from(["eq", "all", "has", "args.x", "not"]),
                                      inner, max_size=2)))  # fmt: skip
def test_any_document_compiles_or_is_refused_and_never_crashes(document: Json) -> None:
    try:
        condition = compile_condition(document, scope())
    except ConditionInvalid:
        return
    assert condition(make.inputs()) in (FALSE, TRUE, UNKNOWN)


def test_the_condition_document_survives_its_own_encoding() -> None:
    grant = {"id": "g", "actions": ["chat"], "when": {"le": ["args.x", decimal.Decimal("1.50")]}}
    policy = make.policy_of(grants=[grant])
    assert msgspec.structs.asdict(policy.grants[0])["when"] == grant["when"]


@pytest.mark.parametrize(
    ("by_group", "written_out"),
    [
        ({"has_any": ["authz.roles", "@finance"]}, ["analyst", "controller"]),
        ({"has_all": ["authz.roles", "@finance"]}, ["analyst", "controller"]),
        ({"in": ["agent.name", "@finance"]}, ["analyst", "controller"]),
        ({"not_in": ["args.role", "@finance"]}, ["analyst", "controller"]),
    ],
)
def test_a_group_stands_for_the_list_of_its_entries(
    by_group: dict[str, list[object]], written_out: list[str]
) -> None:
    ((operator, (path, _)),) = by_group.items()
    plain = {operator: [path, written_out]}
    for roles in ((), ("analyst",), ("analyst", "controller"), ("guest",)):
        for name in (None, "analyst", "guest"):
            call = make.tool_call(args={"role": name})
            inputs = make.inputs(call, roles=roles, agent_name=name)
            assert truth(by_group, inputs) == truth(plain, inputs)


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ({"has_any": ["authz.roles", "@finanse"]}, "no group 'finanse' (did you mean 'finance'?)"),
        ({"in": ["model.requested", "@models"]}, "holds the pattern 'gpt-*'"),
        ({"has_any": ["authz.roles", "finance"]}, "takes a list"),
    ],
)
def test_what_is_no_group_of_whole_texts_is_refused(condition: object, said: str) -> None:
    with pytest.raises(ConditionInvalid, match=re.escape(said)):
        compile_condition(condition, scope())


def test_a_text_in_a_list_is_itself_though_it_begins_as_a_group_does() -> None:
    inputs = make.inputs(make.chat(model="@cf/meta/llama"))
    assert truth({"in": ["model.requested", ["@cf/meta/llama"]]}, inputs) == TRUE
    assert truth({"eq": ["model.requested", "@cf/meta/llama"]}, inputs) == TRUE
