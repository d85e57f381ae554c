"""Rulings: one per message of a batch, one denial for all of it, and limits before records."""

from __future__ import annotations

import json

import pytest

from gateway import decide
from gateway.rate import KeyedBuckets
from spool import read
from tests.sim.files import SimFiles
from tests.sim.loop import elapse
from tests.unit.gateway import identity_world as identities
from tests.unit.gateway import token_factory as make
from tests.unit.gateway.call_ends import Script
from tests.unit.gateway.world_builder import (
    ALL,
    CHAT,
    MCP,
    Place,
    chat,
    head_of,
    policy_text,
    run,
    sent,
    serve_one,
    snapshot,
    tool_call,
)

NO_GRANT = json.dumps({"grants": []})
FORGED = head_of(
    "/openai/v1/chat/completions",
    x_gatepost_delegation=make.token(identities.claims(), "ec-forger", header={"kid": "ec-1"}),
)
OVERLAP = policy_text(record_commit={"*": "before_response"})


# -- JSON-RPC batches ------------------------------------------------------------------------


def grant_of(*tools: str) -> str:
    return json.dumps({"grants": [{"id": "some", "actions": ["tool_call"], "tools": list(tools)}]})


def test_a_batch_commits_as_one_group() -> None:
    async def script(place: Place) -> None:
        await place.call(MCP, sent([tool_call("a", 1), tool_call("b", 2), tool_call("c", 3)]))
        stored = list(read.records(SimFiles(place.disk), place.spool.directory))
        assert [(one.seq, one.batch_first) for one in stored[:3]] == [(0, 0), (1, 0), (2, 0)]

    place = run(script)
    assert [one.model.tool for one in place.decisions] == ["a", "b", "c"]
    assert [one.of for one in place.completions] == [one.id for one in place.decisions]
    assert len(place.far.calls) == 1


def test_one_denial_refuses_the_whole_batch() -> None:
    batch = [tool_call("ok", 1), tool_call("drop", 2), tool_call("ok", 3)]
    served = serve_one(MCP, sent(batch), text=grant_of("ok"))
    place = served.place
    assert [one.model.tool for one in place.decisions] == ["ok", "drop", "ok"]
    assert [one.decision.outcome for one in place.decisions] == ["deny"] * 3
    assert [one.decision.reason for one in place.decisions] == ["denied", "no_grant", "denied"]
    assert (place.far.calls, place.completions) == ([], [])
    answers = json.loads(served.application.received)
    assert [answer["id"] for answer in answers] == [1, 2, 3]
    assert {answer["error"]["data"]["decision_id"] for answer in answers} == {place.decisions[1].id}


def test_a_batch_of_one_is_answered_as_a_batch() -> None:
    served = serve_one(MCP, sent([tool_call("drop", 7)]), text=grant_of("ok"))
    assert [answer["id"] for answer in json.loads(served.application.received)] == [7]


def test_a_failed_upstream_is_the_answer_to_every_message_of_a_batch() -> None:
    scripts = {"erp": Script(breaks="upstream_unreachable")}
    served = serve_one(MCP, sent([tool_call("a", 1), tool_call("b", 2)]), scripts=scripts)
    answers = json.loads(served.application.received)
    assert [answer["id"] for answer in answers] == [1, 2]
    assert [one.outcome for one in served.place.completions] == ["upstream_error"] * 2


def test_a_value_too_long_refuses_its_whole_batch() -> None:
    served = serve_one(MCP, sent([tool_call("a", 1), tool_call("t" * 200, 2)]))
    reasons = [one.decision.reason for one in served.place.decisions]
    assert reasons == ["denied", "value_too_long"]
    cut = served.place.decisions[1]
    assert (cut.cut[0].path, cut.cut[0].length, len(cut.model.tool or "")) == (
        "model.tool",
        200,
        128,
    )
    assert b"model.tool" in served.application.received


def test_a_batch_whose_messages_may_go_to_different_upstreams_goes_nowhere() -> None:
    pinned = {"id": "pin", "effect": "oblige", "actions": ["tool_call"], "tools": ["tools/b"]}
    rules = {
        "grants": [{"id": "all", "actions": ["tool_call"]}],
        "restrictions": [pinned | {"obligations": [{"upstreams": ["second"]}]}],
    }
    batch = sent([tool_call("a", 1), tool_call("b", 2)])
    served = serve_one(head_of("/tools"), batch, text=json.dumps(rules))
    assert [one.decision.outcome for one in served.place.decisions] == ["deny", "deny"]
    assert served.place.far.calls == []
    alone = serve_one(head_of("/tools"), sent([tool_call("b", 2)]), text=json.dumps(rules))
    (completion,) = alone.place.completions
    assert completion.upstream == "second"


def test_a_denied_batch_costs_its_agent_a_denial_for_each_record() -> None:
    batch = sent([tool_call("drop", number) for number in range(3)])

    def prepare(place: Place) -> None:
        place.change(denials=KeyedBuckets(1, 2, 8))

    served = serve_one(MCP, batch, text=grant_of("ok"), prepare=prepare)
    assert served.place.turned_away == {"too_many_denials": {"agent": 1}}
    assert served.place.decisions == []


def test_equal_messages_of_a_batch_are_decisions_of_their_own() -> None:
    served = serve_one(MCP, sent([tool_call("a", 1), tool_call("a", 1)]))
    ids = [one.id for one in served.place.decisions]
    assert len(set(ids)) == 2
    assert [one.of for one in served.place.completions] == ids


def test_messages_of_a_batch_have_labels_of_their_own() -> None:
    batch = [tool_call("a", 1, note="SECRET"), tool_call("b", 2, note="plain")]
    levels = [one.data.level for one in serve_one(MCP, sent(batch)).place.decisions]
    assert levels == ["restricted", "internal"]


@pytest.mark.parametrize("text", [ALL, NO_GRANT, OVERLAP], ids=["allow", "deny", "overlap"])
def test_a_ruling_holds_the_policy_of_its_moment(text: str) -> None:
    place = serve_one(CHAT, chat(), text=text).place
    policy = place.decisions[0].policy
    made = snapshot(text)
    assert (policy.scope, policy.version, policy.digest) == (made.scope, 1, made.digest)
    assert (policy.state, policy.engine) == ("fresh", "table/1")
    assert policy.age_ms in range(10)


def test_a_ruling_without_a_policy_says_so() -> None:
    def without(place: Place) -> None:
        place.policy = None

    decision = serve_one(CHAT, chat(), prepare=without).decision
    assert (decision.policy.state, decision.policy.version) == ("empty", None)
    reasons = {one.path: one.reason for one in decision.absent}
    assert reasons["policy.version"] == reasons["policy.engine"] == "no_policy"


def test_a_permit_has_one_maker() -> None:
    with pytest.raises(TypeError, match="nothing else"):
        decide.Permit(object(), decide.refuse(None, "denied", 0).ruling, (), None)


# -- limits ----------------------------------------------------------------------------------


def test_a_denial_loop_is_turned_away_before_it_fills_the_spool() -> None:
    async def script(place: Place) -> None:
        place.change(denials=KeyedBuckets(1.0, 3, 8))
        codes = [(await place.call(CHAT, chat())).status for _ in range(5)]
        assert codes == [403, 403, 403, 429, 429]
        await elapse(1)
        assert (await place.call(CHAT, chat())).status == 403

    place = run(script, text=NO_GRANT)
    assert len(place.decisions) == 4
    assert place.turned_away == {"too_many_denials": {"agent": 2}}
    assert place.spool.quota.reserved_bytes == 0


def test_failed_identities_are_limited_per_caller() -> None:
    async def script(place: Place) -> None:
        place.change(identity_failures=KeyedBuckets(1.0, 2, 8))
        calls = [await place.call(FORGED) for _ in range(3)]
        assert [call.status for call in calls] == [401, 401, 429]
        assert (await place.call(CHAT, chat())).status == 200

    place = run(script)
    assert place.turned_away == {"identity_rate_limited": {"agent": 1}}
