"""Calls that are really decided and recorded, for tests of what a replay makes of the record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from random import Random

import msgspec

from gateway import policy, record, seal
from gateway.call import CallView, Label, Principal, Route
from gateway.decide import Denial, Permit, decide
from gateway.errors import CODES
from gateway.obligation import Amendment
from gateway.policy import Policy
from gateway.recording import Subject
from gateway.snapshot import Snapshot
from gateway.table import compile_policy
from gateway.vocabulary import LEVELS
from tests.unit.gateway import policy_factory as make
from tests.unit.gateway.test_recording import WALL_US, scribe
from tests.unit.gateway.world_builder import DIGEST_KEY

Members = dict[str, object]


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that ``decide`` is given beside the policy. ``age_us``: of the newest head.
    ``amendable``: whether its body can be changed as obligations want it."""

    principal: Principal
    label: Label | None
    view: CallView
    route: Route
    age_us: int = 0
    amendable: bool = True


def call(
    view: CallView | None = None, label: Label | None = None, route: Route | None = None,
    age_us: int = 0, amendable: bool = True, **principal: object,
) -> Call:  # fmt: skip
    return Call(
        principal=make.principal(**principal),
        label=label or make.label(),
        view=view or make.tool_call(),
        route=route or make.route(),
        age_us=age_us,
        amendable=amendable,
    )


def digest_of(document: Policy) -> str:
    return seal.sha256_text(policy.json_text(document))


@lru_cache(maxsize=64)
def _snapshot(text: bytes) -> Snapshot:
    document = policy.decode_policy(text)
    return make.snapshot(compile_policy(document), digest=seal.sha256_text(text))


def verdict_of(document: Policy, made: Call) -> Permit | Denial:
    verdict = _decided(document, made, None)
    if isinstance(verdict, Denial) and verdict.owed and made.amendable:
        return _decided(document, made, Amendment(verdict.owed, b"changed"))
    return verdict


def _decided(document: Policy, made: Call, amendment: Amendment | None) -> Permit | Denial:
    return decide(
        _snapshot(policy.json_text(document)),
        made.principal,
        made.label,
        made.view,
        made.route,
        make.NOW_US + made.age_us,
        digest_key=DIGEST_KEY,
        amendment=amendment,
    )


def recorded(document: Policy, made: Call) -> record.Decision:
    """The record of ``made`` under ``document``, through its bytes."""
    verdict = verdict_of(document, made)
    subject = Subject(
        id="019a0c6e-9d00-7abc-8def-000000000001",
        wall_us=WALL_US,
        route=made.route,
        principal=made.principal,
        call=made.view,
        label=made.label,
        request=None,
        trace=None,
        parent=None,
    )
    draft, _ = scribe().decision(
        subject,
        verdict.ruling,
        upstreams=verdict.upstreams if isinstance(verdict, Permit) else (),
        status=CODES[verdict.code].status if isinstance(verdict, Denial) else None,
    )
    found = record.decode(record.encode(draft))
    assert isinstance(found, record.Decision)
    return found


# -- any policy, any call ---------------------------------------------------------------------

_WORDS = ("a", "b", "ab", "c")
_GLOBS = ("a", "b", "a*", "*b", "*", "c")
_SCALARS: tuple[object, ...] = (*_WORDS, -1, 0, 1, 2, True, False, 1.5, 2.0, 1e300)
_TEXT_PATHS = (
    "person.id",
    "agent.id",
    "agent.name",
    "model.requested",
    "model.tool",
    "model.route",
)
_LIST_PATHS = (
    "authz.roles", "authz.scopes", "model.regions", "model.hosted_tools", "data.categories",
)  # fmt: skip
_ARGUMENTS = ("args.x", "args.y", "args.z.0", "args.z")
_TARGETS: tuple[Members, ...] = (
    {}, {}, {}, {"tools": ["a"]}, {"tools": ["erp/*"]}, {"models": ["a*"]}, {"agents": ["a"]},
    {"routes": ["o*"]},
)  # fmt: skip
_OBLIGATIONS: tuple[Members, ...] = (
    {"regions": ["eu-west-1"]}, {"regions": ["mars"]}, {"upstreams": ["main", "other"]},
    {"redact": {"categories": ["pii.email"]}}, {"max_output_tokens": 9},
)  # fmt: skip
_ROUTES = (
    make.route(),
    make.route(make.upstream("main", "us-east-1"), make.upstream("other", "a")),
    make.route(make.upstream("third", "b"), name="other"),
    make.route(*(make.upstream(f"up{number}", "b") for number in range(6))),
)
_AGES = (*[0] * 12, 600, 600, 4_000, 4_000, 7_000, 40 * 86_400)
"""Seconds since the head was issued: fresh, stale, expired within the exception, and beyond."""


def _some(chance: Random, words: Sequence[str], most: int) -> tuple[str, ...]:
    return tuple(chance.choice(words) for _ in range(chance.randint(0, most)))


def condition(chance: Random, depth: int = 0) -> Members:
    """Any condition, of any operator and over any kind of path."""
    pick = chance.choice
    if depth < 3 and chance.random() < 0.45:
        operator = pick(["not", "all", "any"])
        if operator == "not":
            return {"not": condition(chance, depth + 1)}
        return {operator: [condition(chance, depth + 1) for _ in range(chance.randint(1, 3))]}
    words = [pick(_WORDS) for _ in range(chance.randint(1, 2))]
    leaves: list[Callable[[], Members]] = [
        lambda: {pick(["eq", "ne"]): [pick(_TEXT_PATHS), pick(_WORDS)]},
        lambda: {pick(["in", "not_in"]): [pick(_TEXT_PATHS), words]},
        lambda: {"matches": [pick((*_TEXT_PATHS, *_ARGUMENTS)), pick(_GLOBS)]},
        lambda: {"has": [pick((*_LIST_PATHS, *_ARGUMENTS)), pick(_GLOBS)]},
        lambda: {pick(["has_any", "has_all"]): [pick(_LIST_PATHS), words]},
        lambda: {pick(["eq", "ne"]): [pick(_ARGUMENTS), pick(_SCALARS)]},
        lambda: {pick(["lt", "le", "gt", "ge"]): [pick(_ARGUMENTS), chance.randint(-1, 2)]},
        lambda: {pick(["at_most", "at_least"]): ["data.level", pick(LEVELS)]},
        lambda: {"exists": pick((*_ARGUMENTS, "person.id", "agent.name", "authz.roles"))},
        lambda: {"eq": ["person.assurance", pick(["delegated", "workload"])]},
        lambda: {"time_between": pick([["07:00", "09:00"], ["09:00", "07:00"]])},
        lambda: {"lt": ["time", "2027-01-15T00:00:00.000000Z"]},
    ]
    return pick(leaves)()


def _rule(chance: Random) -> Members:
    return {
        "actions": ["*"],
        "when": chance.choice([None, condition(chance), condition(chance)]),
        "status": chance.choice(["active", "active", "active", "shadow"]),
        **chance.choice(_TARGETS),
    }


def _restriction(chance: Random) -> Members:
    effect = chance.choice(["deny", "require_approval", "oblige"])
    obligations = [chance.choice(_OBLIGATIONS)] if effect == "oblige" else []
    return {**_rule(chance), "effect": effect, "obligations": obligations}


def policy_by(chance: Random) -> Policy:
    """Any policy that compiles."""
    choice = {"seconds_max": 5_000, "routes": ["openai"], "levels": ["internal"]}
    return make.policy_of(
        grants=[{"id": f"g{n}", **_rule(chance)} for n in range(chance.randint(1, 4))],
        restrictions=[{"id": f"r{n}", **_restriction(chance)} for n in range(chance.randint(0, 4))],
        recordable=[path for path in _ARGUMENTS if chance.random() < 0.5],
        defaults={"on_stale": chance.choice(["serve", "serve", "deny"])},
        open_on_expired=chance.choice([None, choice]),
        hosted_tools=list(_some(chance, _GLOBS, 2)),
        references=["a*"],
    )


def _principal(chance: Random) -> Principal:
    pick = chance.choice
    return make.principal(
        person_id=pick([None, *_WORDS]),
        agent_id=pick([None, *_WORDS]),
        agent_name=pick([None, *_WORDS, "a" * 200 + "b"]),
        roles=pick([_some(chance, _WORDS, 3), ("ab" * 70, "a"), ("c",) * 20 + ("a",)]),
        scopes=_some(chance, _WORDS, 2),
        assurance=pick(["delegated", "workload", "none"]),
    )


def _label(chance: Random) -> Label | None:
    if chance.random() < 0.2:
        return None
    return make.label(
        level=chance.choice(LEVELS),
        categories=_some(chance, _WORDS, 2),
        completeness=chance.choice(["full", "full", "partial", "opaque"]),
    )


def _view(chance: Random) -> CallView:
    pick = chance.choice
    if chance.random() < 0.4:
        return make.chat(
            model=pick([None, *_WORDS]),
            hosted_tools=pick([(), (), (), ("a",), ("a", "b"), ("ab" * 40,), ("a",) * 10]),
            unknown_tools=pick([(), (), (), (), ("new",)]),
            references=pick([(), (), (), ("a",), ("b",), ("a" * 80,)]),
        )
    args: Members = {}
    if chance.random() < 0.7:
        args["x"] = pick([None, *_SCALARS])
    if chance.random() < 0.7:
        args["y"] = pick([*_WORDS, "a" * 70, 2**60])
    if chance.random() < 0.7:
        args["z"] = pick([[], ["a"], [1, True], [None, 2], "a"])
    return make.tool_call(
        tool=pick([None, *_WORDS]),
        tool_server=pick([None, "erp"]),
        args=pick([None, args, args, args]),
    )


def call_by(chance: Random) -> Call:
    """Any call, at any age of the policy copy."""
    return Call(
        principal=_principal(chance),
        label=_label(chance),
        view=_view(chance),
        route=chance.choice(_ROUTES),
        age_us=chance.choice(_AGES) * make.SECOND,
        amendable=chance.random() < 0.6,
    )
