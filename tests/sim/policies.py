"""The policies of a simulated world: versions that allow different classes of calls.

A call's name is ``sim-<class>-<number>``; its class decides what each version says of it, with
its twists and with who asked. ``expected`` works the ruling out from these alone: it shares no
code with ``gateway.decide``.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final

import msgspec

from gateway import issuing, policy
from gateway.issuing import Issued
from gateway.seal import Signer
from tests.sim.asking import FORMS, SPENDING
from tests.sim.clock import EPOCH_US
from tests.sim.duties import BOUNDED, NAMELESS, OBLIGATIONS, REDACTED, UNMET
from tests.sim.ledger import Call
from tests.sim.tokens import Identity
from tests.sim.twists import AMOUNT_MAX

SCOPE: Final = "acme/prod"
ROUTE_ANSWERS_FIRST: Final = "quick"
"""The route on which the record and the upstream call overlap (``before_response``)."""
VARYING: Final = "abcd"
"""Classes that a version allows or not."""
NEVER: Final = "x"
APPROVAL: Final = "p"
VERIFIED: Final = "v"
"""Models that answer to verified persons only."""
WRITERS: Final = "w"
"""Models that need the scope ``write``."""
NIGHT: Final = "n"
"""Models that are closed from 01:10 to 01:40 by the local time of the policy's zone."""
HOME: Final = "d"
"""Models that may be asked in one region only."""
TRIED: Final = "b"
"""Models that a rule of status ``shadow`` would deny."""
CLASSES: Final = (
    f"{VARYING * 4}{NEVER * 2}{APPROVAL * 2}{VERIFIED}{WRITERS}{NIGHT}"
    f"{REDACTED * 2}{BOUNDED}{NAMELESS}{UNMET}"
)
"""One letter is drawn for each call; most are of a class that varies."""
HOME_UPSTREAMS: Final = "us"

_ALWAYS: Final = f"{APPROVAL}{VERIFIED}{WRITERS}{NIGHT}{UNMET}{REDACTED}{BOUNDED}{NAMELESS}"
_HOUR_US: Final = 3_600_000_000
_ZONE: Final = {
    "transitions": [
        {"start": "2026-03-29T01:00:00.000000Z", "offset_seconds": 7_200},
        {"start": "2026-10-25T01:00:00.000000Z", "offset_seconds": 3_600},
    ],
    "until": "2027-03-28T01:00:00.000000Z",
}
_CLOSED_MINUTES: Final = range(70, 100)
_MODEL_ACTIONS: Final = ["chat", "response", "message", "generate_content", "converse", "embedding"]
_TEXT_ACTIONS: Final = [*_MODEL_ACTIONS, "tool_call", "http_call"]
_SESSION_ACTIONS: Final = ["tool_session", "tool_list", "tool_notification"]
_CURRENCIES: Final = ["EUR", "USD"]


class Version(msgspec.Struct, frozen=True):
    """What one published version allows."""

    number: int
    digest: str
    allowed: frozenset[str]
    published_us: int


def draw_allowed(chance: random.Random) -> frozenset[str]:
    """Which of the varying classes a new version allows; never none."""
    drawn = {one for one in VARYING if chance.random() < 0.7}
    return frozenset(drawn or {VARYING[0]})


def issue(number: int, allowed: frozenset[str], now_us: int, signer: Signer) -> Issued:
    """The signed bundle of a version."""
    classes = sorted(allowed | set(_ALWAYS))
    return issuing.build_bundle(
        policy.decode_policy(policy.json_text(_document(classes))),
        scope=SCOPE,
        epoch=1,
        version=number,
        issued_us=now_us,
        not_before_us=EPOCH_US - _HOUR_US,
        expires_us=now_us + 1_000 * _HOUR_US,
        source=None,
        signers=[signer],
    )


def _document(classes: list[str]) -> dict[str, object]:
    tools = [f"orders/sim-{one}-*" for one in classes]
    entries = [{"matches": ["args._path", f"/sim-{one}-*"]} for one in classes]
    return {
        "groups": {"open": [f"sim-{one}-*" for one in classes]},
        "grants": [
            {"id": "models", "actions": _MODEL_ACTIONS, "models": ["@open"]},
            {"id": "tools", "actions": ["tool_call"], "tools": tools},
            {
                "id": "entries",
                "actions": ["http_call"],
                "tools": ["ledger"],
                "when": {"any": entries},
            },
            {"id": "sessions", "actions": _SESSION_ACTIONS, "tools": ["orders/*"]},
            {"id": "asking", "actions": ["sampling", "roots_list"], "agents": ["robot"]},
            {"id": "files", "actions": ["file"], "routes": ["files"]},
            {"id": "lists", "actions": ["models"], "routes": ["openai"]},
        ],
        "restrictions": list(_restrictions()),
        "time_zones": {"office": _ZONE},
        "levels": {"secret": "restricted"},
        "hosted_tools": ["web_search"],
        "references": ["kept-*"],
        "recordable": ["args.amount", "args.currency"],
        "record_commit": {ROUTE_ANSWERS_FIRST: "before_response"},
        "show_rule_ids": True,
        "tests": list(_tests(classes)),
    }


def _restrictions() -> Iterator[dict[str, object]]:
    def on_models(name: str, letter: str, **members: object) -> dict[str, object]:
        models = [f"sim-{letter}-*"]
        return {"id": name, "actions": _MODEL_ACTIONS, "models": models, **members}

    ask = {"effect": "require_approval"}
    yield on_models("ask-models", APPROVAL, **ask)
    tools = [f"orders/sim-{APPROVAL}-*"]
    yield {"id": "ask-tools", "actions": ["tool_call"], "tools": tools, **ask}
    denied = {"effect": "deny", "actions": _TEXT_ACTIONS}
    secrets = {"has_any": ["data.categories", ["secret.aws", "secret.github"]]}
    yield {"id": "secrets", "when": secrets, **denied}
    restricted = {"at_least": ["data.level", "secret"]}
    cashier = {"has": ["authz.roles", "cashier"]}
    yield {"id": "cards", "when": {"all": [restricted, {"not": cashier}]}, **denied}
    spending = [
        {"gt": ["args.amount", AMOUNT_MAX]},
        {"not_in": ["args.currency", _CURRENCIES]},
        {"exists": "args.override"},
        *_never_true(),
    ]
    spends = {"effect": "deny", "actions": ["tool_call", "http_call"]}
    yield {"id": "spending", "when": {"any": spending}, **spends}
    person = {"ne": ["person.assurance", "delegated"]}
    yield on_models("persons", VERIFIED, effect="deny", when=person)
    writer = {"not": {"has_all": ["authz.scopes", ["write"]]}}
    yield on_models("writers", WRITERS, effect="deny", when=writer)
    closed = {"time_between": ["01:10", "01:40", "office"]}
    yield on_models("nights", NIGHT, effect="deny", when=closed)
    home = [{"regions": [HOME_UPSTREAMS]}]
    yield on_models("home", HOME, effect="oblige", obligations=home)
    for letter in (REDACTED, BOUNDED, NAMELESS):
        yield on_models(f"models-{letter}", letter, **_obliged(letter))
    for letter in (REDACTED, UNMET):
        tools = [f"orders/sim-{letter}-*"]
        obliged = _obliged(letter)
        yield {"id": f"tools-{letter}", "actions": ["tool_call"], "tools": tools, **obliged}
    yield on_models("tried", TRIED, effect="deny", status="shadow")


def _obliged(letter: str) -> dict[str, object]:
    return {"effect": "oblige", "obligations": [OBLIGATIONS[letter]]}


def _never_true() -> Iterator[dict[str, object]]:
    """Conditions on arguments that no call meets: one that were met would deny what must pass."""
    yield {"matches": ["args.note", "*confidential*"]}
    yield {"has": ["args.tags", "gift"]}
    yield {"has_any": ["args.tags", ["gift", "loan"]]}
    yield {"not": {"has_all": ["args.tags", ["day", "trip"]]}}
    yield {"ge": ["args.rate", 1.75]}
    yield {"lt": ["args.rate", 1.5]}
    yield {"le": ["args.amount", 0]}
    yield {"eq": ["args.paid", True]}
    yield {"ne": ["args.tags.0", "day"]}
    yield {"in": ["args.rate", [2, 2.5]]}
    yield {"gt": ["time", "2036-01-01T00:00:00.000000Z"]}
    yield {"all": [{"at_most": ["data.level", "public"]}, {"exists": "agent.id"}]}


def _tests(classes: list[str]) -> Iterator[dict[str, object]]:
    """The bundle's own tests, which every daemon runs before it takes it."""
    data = {"level": "internal", "categories": [], "completeness": "full"}
    for letter in (NEVER, classes[0]):
        allowed = letter in classes
        outcome, reason = ("allow", "granted") if allowed else ("deny", "no_grant")
        expect = {"outcome": outcome, "reason": reason}
        model = {"operation": "chat", "requested": f"sim-{letter}-000000"}
        if letter not in _ALWAYS:
            sample = {"model": model, "data": data, "time": "2026-11-23T12:00:00.000000Z"}
            yield {"name": f"class {letter}", "input": sample, "expect": expect}


def call_name(letter: str, number: int) -> str:
    """The model or tool that call ``number`` asks for."""
    return f"sim-{letter}-{number:06d}"


# -- what should come of a call ------------------------------------------------------------------


class Ruled(msgspec.Struct, frozen=True):
    """Outcome and reason of a decision; ``tried``: the outcome that the shadow rule would give."""

    outcome: str
    reason: str
    tried: str | None = None


_DENIED: Final = Ruled("deny", "restricted")


def expected(version: Version, call: Call, name: str, identity: Identity, now_us: int) -> Ruled:
    """The ruling on one message of ``call`` under an unlocked, usable ``version``.

    ``name``: the model or tool of the message; ``identity``: who asked; ``now_us``: the time that
    the daemon went by.
    """
    if call.twist.offered in _REFUSED_OFFERS:
        return Ruled("deny", _REFUSED_OFFERS[call.twist.offered])
    ruled = _by_rules(version, call, name, identity, now_us)
    if FORMS[call.kind].operation in _MODEL_ACTIONS and name.split("-")[1] == TRIED:
        return msgspec.structs.replace(ruled, tried="deny")
    return ruled


_REFUSED_OFFERS: Final = {
    "code_interpreter": "hosted_tool_denied",
    "teleport": "unknown_tool_type",
    "foreign": "reference_denied",
}


def _by_rules(version: Version, call: Call, name: str, identity: Identity, now_us: int) -> Ruled:
    form, twist, letter = FORMS[call.kind], call.twist, name.split("-")[1]
    if form.operation in _TEXT_ACTIONS and _data_is_denied(call, name, identity):
        return _DENIED
    overspent = twist.amount > AMOUNT_MAX or twist.currency not in _CURRENCIES
    if call.kind in SPENDING and overspent:
        return _DENIED
    if form.operation in _MODEL_ACTIONS:
        denied = _model_is_denied(letter, identity, now_us)
        if denied is not None:
            return denied
    if form.operation in _TEXT_ACTIONS and letter not in version.allowed and letter not in _ALWAYS:
        return Ruled("deny", "no_grant")
    # What goes together with other messages is changed by no obligation.
    unmet = letter == UNMET or (letter == REDACTED and call.kind == "batch")
    if unmet and form.operation == "tool_call":
        return Ruled("deny", "obligation_unsupported")
    asks_first = form.operation in _MODEL_ACTIONS or form.operation == "tool_call"
    if letter == APPROVAL and asks_first:
        return Ruled("approval_required", "approval_required")
    return Ruled("allow", "granted")


def _data_is_denied(call: Call, name: str, identity: Identity) -> bool:
    if call.twist.offered == "picture":
        return True  # nobody saw whether it holds a secret
    planted = call.twist.planted
    if name != call.name:
        return False  # a further message of a batch holds nothing
    return planted.is_secret or (planted.is_restricted and "cashier" not in identity.roles)


def _model_is_denied(letter: str, identity: Identity, now_us: int) -> Ruled | None:
    if letter == VERIFIED and identity.person is None:
        return Ruled("deny", "assurance_too_low")
    if letter == WRITERS and "write" not in identity.scopes:
        return Ruled("deny", "scope_insufficient")
    minute = (now_us // 60_000_000 + 60) % 1_440
    return _DENIED if letter == NIGHT and minute in _CLOSED_MINUTES else None
