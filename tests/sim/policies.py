"""The policies of a simulated world: versions that allow different classes of calls.

A call's name, ``sim-<class>-<number>``, is the model or tool that it asks for, so its class
decides what each version says of it, and the record names the call. ``expected`` works the ruling
out from the class alone: it shares no code with ``gateway.decide``.
"""

from __future__ import annotations

import random
from typing import Final

import msgspec

from gateway import issuing, policy
from gateway.issuing import Issued
from gateway.seal import Signer
from tests.sim.clock import EPOCH_US

SCOPE: Final = "acme/prod"
ROUTE_ANSWERS_FIRST: Final = "quick"
"""The route on which the record and the upstream call overlap (``before_response``)."""
VARYING: Final = "abcd"
"""Classes that a version allows or not."""
NEVER: Final = "x"
APPROVAL: Final = "p"
CLASSES: Final = f"{VARYING}{VARYING}{NEVER}{APPROVAL}"
"""One letter is drawn for each call; most are of a class that varies."""

_HOUR_US: Final = 3_600_000_000


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
    classes = sorted(allowed | {APPROVAL})
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
    models = [f"sim-{one}-*" for one in classes]
    tools = [f"orders/sim-{one}-*" for one in classes]
    ask_first = {"effect": "require_approval", "actions": ["*"]}
    return {
        "grants": [
            {"id": "models", "actions": ["chat"], "models": models},
            {"id": "tools", "actions": ["tool_call"], "tools": tools},
        ],
        "restrictions": [
            {"id": "ask-models", "models": [f"sim-{APPROVAL}-*"], **ask_first},
            {"id": "ask-tools", "tools": [f"orders/sim-{APPROVAL}-*"], **ask_first},
        ],
        "record_commit": {ROUTE_ANSWERS_FIRST: "before_response"},
    }


def call_name(letter: str, number: int) -> str:
    """The model or tool that call ``number`` asks for."""
    return f"sim-{letter}-{number:06d}"


def expected(version: Version, name: str) -> str:
    """The outcome of a ruling on ``name`` under an unlocked, fresh ``version``."""
    letter = name.split("-")[1]
    if letter == APPROVAL:
        return "approval_required"
    return "allow" if letter in version.allowed else "deny"
