"""Records of the real call path put to the bundle that decided: none of them is anything else."""

from __future__ import annotations

import json

import pytest

from gateway.replay import Replay, Replayed
from tests.unit.gateway.test_exchange import OVERLAP, REFUSED
from tests.unit.gateway.test_ruling import grant_of
from tests.unit.gateway.test_server_stage import GRANTS, ROOTS, SAMPLING, streamed
from tests.unit.gateway.world_builder import (
    ALL,
    CHAT,
    MCP,
    TOOL,
    UPLOAD,
    Served,
    chat,
    head_of,
    sent,
    serve_one,
    snapshot,
    tool_call,
)

NOT_BY_RULES = {
    "identity", "peer", "two identities", "not JSON", "empty", "duplicate keys", "large", "encoded",
    "long model", "long model denied", "policy empty", "policy expired", "policy locked",
    "unknown tool",
}  # fmt: skip
FACTS = json.dumps(
    {
        "grants": [{"id": "g", "actions": ["*"], "when": {"le": ["args.amount", 5]}}],
        "restrictions": [
            {"id": "night", "effect": "deny", "actions": ["*"],
             "when": {"all": [{"time_between": ["00:00", "00:01"]}, {"exists": "args.to"}]}},
            {"id": "near", "effect": "oblige", "actions": ["*"],
             "when": {"has": ["model.regions", "eu-west-1"]},
             "obligations": [{"regions": ["eu-west-1"]}]},
            {"id": "twin", "effect": "deny", "actions": ["*"], "status": "shadow",
             "when": {"ne": ["args.to", "ada"]}},
        ],
    }
)  # fmt: skip


def replayed(served: Served) -> list[Replayed]:
    """Every decision of that world, put to the bundle that was in force."""
    policy = served.place.policy or snapshot(ALL)
    replay = Replay(policy.table.policy, policy.digest)
    assert served.place.decisions
    return [replay.judge(decision) for decision in served.place.decisions]


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_every_refusal_is_the_same_or_not_by_rules(name: str) -> None:
    (found,) = replayed(REFUSED[name].serve())
    assert found.verdict == ("not_by_rules" if name in NOT_BY_RULES else "same"), found


@pytest.mark.parametrize(
    ("served", "verdicts"),
    [
        (lambda: serve_one(CHAT, chat()), ["same"]),
        (lambda: serve_one(CHAT, chat(), text=OVERLAP), ["same"]),
        (lambda: serve_one(head_of("/pair/v1/chat/completions"), chat(), text=FACTS), ["same"]),
        (lambda: serve_one(TOOL, b'{"amount":5,"to":"ada"}', text=FACTS), ["same"]),
        (lambda: serve_one(TOOL, b'{"amount":5.0,"to":["ada"]}', text=FACTS), ["same"]),
        (lambda: serve_one(TOOL, b'{"amount":1e300}', text=FACTS), ["same"]),
        (lambda: serve_one(MCP, sent(tool_call(amount=3)), text=FACTS), ["same"]),
        (lambda: serve_one(UPLOAD, b"x" * 100, text=ALL), ["same"]),
        (
            lambda: serve_one(
                MCP, sent([tool_call("ok", 1), tool_call("no", 2)]), text=grant_of("ok")
            ),
            ["not_by_rules", "same"],
        ),
        (lambda: streamed(ROOTS, SAMPLING, text=GRANTS), ["same", "same", "same"]),
    ],
)
def test_every_kind_of_call_is_the_same(served: object, verdicts: list[str]) -> None:
    assert callable(served)
    assert [one.verdict for one in replayed(served())] == verdicts
