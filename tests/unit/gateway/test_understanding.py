"""What is known of a request when a step fails: everything up to it, and nothing made up."""

from __future__ import annotations

import msgspec
import pytest

from gateway import limits
from gateway.call import CallView, Label
from gateway.errors import TurnAway
from gateway.seal import keyed_digest
from tests.unit.gateway import identity_world as identities
from tests.unit.gateway import token_factory as make
from tests.unit.gateway.call_ends import PEER, Application
from tests.unit.gateway.world_builder import (
    CHAT,
    DIGEST_KEY,
    MCP,
    UPLOAD,
    Place,
    chat,
    head_of,
    run,
    sent,
    serve_one,
    tool_call,
)

GOOD = make.token(identities.claims())
EXPIRED = make.token(identities.claims(exp=identities.NOW - 600, iat=identities.NOW - 700))


def with_token(token: str) -> dict[str, str]:
    return {"x_gatepost_delegation": token}


def test_a_verified_person_is_recorded_with_their_rights() -> None:
    head = head_of("/openai/v1/chat/completions", **with_token(GOOD))
    decision = serve_one(head, chat()).decision
    person = (decision.person.id, decision.person.iss, decision.person.token_id)
    assert person == ("u-42", identities.ISSUER, "t-1")
    assert (decision.person.assurance, decision.agent.id) == ("delegated", "billing")
    assert (decision.authz.roles, decision.authz.scopes) == (["analyst"], ["chat"])
    assert decision.authz.delegation == ["billing"]


def test_a_token_may_stand_where_a_key_stands() -> None:
    head = head_of("/openai/v1/chat/completions", authorization=f"Bearer {GOOD}")
    served = serve_one(head, chat())
    assert served.decision.person.id == "u-42"
    assert GOOD not in str(served.place.far.calls[0].request)


def test_of_a_rejected_token_only_the_agent_is_known() -> None:
    head = head_of("/openai/v1/chat/completions", **with_token(EXPIRED))
    served = serve_one(head, chat())
    decision = served.decision
    assert (served.application.status, served.code) == (401, "token_expired")
    assert (decision.person.id, decision.agent.id) == (None, "billing")
    assert decision.digest.request is None
    assert served.application.bytes_in == 0
    reasons = {one.path: one.reason for one in decision.absent}
    assert (reasons["person.id"], reasons["model.requested"]) == ("token_rejected", "not_read")


def test_a_refused_identity_is_not_classified_and_its_body_not_read() -> None:
    stranger = msgspec.structs.replace(PEER, uid=9, agent=None, attested_by=None)
    served = serve_one(CHAT, chat(), peer=stranger)
    assert ("gateway", "classify") not in served.place.steps
    assert served.decision.agent.id is None
    assert {one.path: one.reason for one in served.decision.absent}["agent.id"] == "not_bound"


@pytest.mark.parametrize(
    ("body", "code"),
    [(b"{", "unreadable_body"), (b'{"model":"a","model":"b"}', "duplicate_keys")],
)
def test_a_body_that_cannot_be_read_still_has_its_digest(body: bytes, code: str) -> None:
    decision = serve_one(CHAT, body).decision
    assert (decision.decision.reason, decision.model.operation) == (code, "unknown")
    assert decision.digest.request == keyed_digest(DIGEST_KEY, body)
    assert decision.digest.input is None
    assert (decision.data.level, decision.model.route) == (None, "openai")


@pytest.mark.parametrize(("size", "status"), [(64 * 1024, 400), (64 * 1024 + 1, 413)])
def test_a_body_has_a_bound_that_is_exact(size: int, status: int) -> None:
    assert serve_one(CHAT, b"x" * size).application.status == status


@pytest.mark.parametrize(
    ("encoding", "status"), [("identity", 200), (" Identity ", 200), ("gzip", 415), ("br", 415)]
)
def test_bodies_have_no_content_encoding(encoding: str, status: int) -> None:
    head = head_of("/openai/v1/chat/completions", content_encoding=encoding)
    served = serve_one(head, chat())
    assert served.application.status == status
    assert len(served.place.decisions) == 1


@pytest.mark.parametrize("code", ["too_slow", "malformed_request"])
def test_a_body_that_breaks_off_is_turned_away(code: str) -> None:
    served = serve_one(CHAT, b"{", body_fault=TurnAway(code))
    assert served.code == code
    assert (served.place.records(), served.place.turned_away) == ([], {code: {"agent": 1}})


def test_bodies_are_counted_while_they_arrive() -> None:
    async def script(place: Place) -> None:
        seen: list[int] = []
        read = place.in_flight.count_bytes

        def counting(more: int) -> None:
            read(more)
            seen.append(place.in_flight.held_bytes)

        place.in_flight.count_bytes = counting  # type: ignore[method-assign]  # a witness
        body = chat()
        await place.call(CHAT, body[:10], body[10:20], body[20:])
        assert seen == [10, 20, len(body), 0]

    run(script)


def test_a_body_without_room_is_turned_away_before_it_is_held() -> None:
    applications: list[Application] = []

    async def script(place: Place) -> None:
        place.in_flight._body_bytes_max = 100
        applications.append(await place.call(CHAT, *[b"x" * 60] * 9))

    place = run(script)
    assert applications[0].status == 503
    assert applications[0].bytes_in == 120
    assert place.turned_away == {"too_busy": {"agent": 1}}
    assert place.in_flight.held_bytes == 0


def test_an_upload_is_not_held() -> None:
    def prepare(place: Place) -> None:
        place.in_flight._body_bytes_max = 0

    assert serve_one(UPLOAD, b"x" * 60, prepare=prepare).application.status == 200


def test_every_call_of_a_batch_is_classified() -> None:
    served = serve_one(MCP, sent([tool_call("a", 1), tool_call("b", 2), tool_call("c", 3)]))
    assert served.place.steps.count(("gateway", "classify")) == 3


def test_the_time_of_classifying_is_that_of_all_calls() -> None:
    def prepare(place: Place) -> None:
        def label(_: CallView) -> Label:
            place.clock.slow_us += 1_000_000
            return Label(level="internal", categories=(), completeness="full", classifier="test@1")

        place.label = label

    served = serve_one(MCP, sent([tool_call("a", 1), tool_call("b", 2)]), prepare=prepare)
    assert served.place.completions[0].latency_us.classify == 2_000_000


def test_too_many_messages_are_refused_and_recorded_once() -> None:
    batch = [tool_call("a", index) for index in range(limits.RPC_BATCH_MAX + 1)]
    served = serve_one(MCP, sent(batch))
    assert served.decision.decision.reason == "unreadable_body"
    assert served.place.far.calls == []
