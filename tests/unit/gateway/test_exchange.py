"""The laws of one call, each held against what the disk, the far end and the caller saw."""

from __future__ import annotations

import json
from collections.abc import Callable

import anyio
import msgspec
import pytest

from gateway.call import CallView, Head, Label, Peer, Principal
from gateway.errors import CODES
from gateway.snapshot import Snapshot
from tests.sim.disk import Faults
from tests.unit.gateway import identity_world as identities
from tests.unit.gateway import token_factory as make
from tests.unit.gateway.call_ends import PEER, Script
from tests.unit.gateway.world_builder import (
    ALL,
    CHAT,
    MCP,
    TOOL,
    Place,
    Served,
    chat,
    head_of,
    policy_text,
    run,
    sent,
    serve_one,
    snapshot,
    tool_call,
)

HOUR = 3_600 * 1_000_000
NO_GRANT = json.dumps({"grants": [{"id": "chat", "actions": ["chat"], "models": ["small"]}]})
OVERLAP = policy_text(record_commit={"*": "before_response"})
STRANGER = msgspec.structs.replace(PEER, uid=7, agent=None, attested_by=None)
FORGED = make.token(identities.claims(), "ec-forger", header={"kid": "ec-1"})


def expire(place: Place) -> None:
    place.clock.wall_offset_us = 5 * HOUR


def without_policy(place: Place) -> None:
    place.policy = None


def locked(place: Place) -> None:
    place.policy = snapshot(lock="stop")


def restriction(effect: str, **members: object) -> str:
    limit = {"id": "limit", "effect": effect, "actions": ["*"], **members}
    return policy_text(restrictions=[limit])


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of call that is refused by a ruling."""

    code: str
    reason: str = ""
    head: Head = CHAT
    body: bytes = chat()
    text: str = ALL
    peer: Peer = PEER
    prepare: Callable[[Place], None] | None = None

    def serve(self) -> Served:
        return serve_one(self.head, self.body, text=self.text, prepare=self.prepare, peer=self.peer)


def token_head(token: str) -> Head:
    return head_of("/openai/v1/chat/completions", x_gatepost_delegation=token)


AMBIGUOUS = msgspec.structs.replace(CHAT, duplicated=frozenset({"authorization"}))
ENCODED = head_of("/openai/v1/chat/completions", content_encoding="gzip")
NOWHERE = restriction("oblige", obligations=[{"regions": ["mars"]}])
UNMET = restriction("oblige", obligations=[{"pseudonymise_user": True}])
SECRETS = restriction("deny", when={"at_least": ["data.level", "restricted"]})
HOSTED = chat(tools=[{"type": "web_search"}])
UNKNOWN_TOOL = chat(tools=[{"type": "teleport"}])
STORED = json.dumps({"model": "gpt-4o", "input": "x", "previous_response_id": "r"}).encode()
RESPONSES = head_of("/openai/v1/responses")

REFUSED = {
    "identity": Refused(code="token_signature_invalid", head=token_head(FORGED)),
    "peer": Refused(code="peer_not_allowed", peer=STRANGER),
    "two identities": Refused(code="identity_ambiguous", head=AMBIGUOUS),
    "not JSON": Refused(code="unreadable_body", body=b"{"),
    "empty": Refused(code="unreadable_body", body=b""),
    "duplicate keys": Refused(code="duplicate_keys", body=b'{"model":"a","model":"b"}'),
    "large": Refused(code="body_too_large", body=chat("x" * 70_000)),
    "encoded": Refused(code="content_encoding_unsupported", head=ENCODED),
    "long model": Refused(code="value_too_long", body=chat(model="m" * 200)),
    "long model denied": Refused(code="value_too_long", text=NO_GRANT, body=chat(model="m" * 200)),
    "policy empty": Refused(code="policy_unavailable", prepare=without_policy),
    "policy expired": Refused(code="policy_expired", prepare=expire),
    "policy locked": Refused(code="policy_locked", prepare=locked),
    "no grant": Refused(code="denied", reason="no_grant", text=NO_GRANT),
    "restricted": Refused(code="denied", reason="restricted", text=restriction("deny")),
    "data class": Refused(code="denied", reason="restricted", text=SECRETS, body=chat("SECRET")),
    "approval": Refused(code="approval_required", text=restriction("require_approval")),
    "obligation": Refused(code="obligation_unsupported", text=UNMET),
    "nowhere to go": Refused(code="denied", reason="upstream_not_permitted", text=NOWHERE),
    "hosted tool": Refused(code="denied", reason="hosted_tool_denied", body=HOSTED),
    "unknown tool": Refused(code="denied", reason="unknown_tool_type", body=UNKNOWN_TOOL),
    "reference": Refused(code="denied", reason="reference_denied", head=RESPONSES, body=STORED),
}
"""Every kind of ruling that refuses; formats section 7."""


@pytest.fixture(params=sorted(REFUSED))
def refused(request: pytest.FixtureRequest) -> Refused:
    return REFUSED[str(request.param)]


# -- law 1: durable first --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "status"),
    [(ALL, 200), (NO_GRANT, 403), (OVERLAP, 200)],
    ids=["allow", "deny", "before_response"],
)
def test_no_answer_before_the_decision_is_durable(text: str, status: int) -> None:
    served = serve_one(CHAT, chat(), text=text)
    assert served.application.status == status
    assert served.application.durable_before == {served.decision.id}


def times(head: Head, body: bytes, text: str) -> tuple[float, float]:
    """When the far end and the caller heard of a call whose record takes five seconds to sync."""
    served = serve_one(head, body, text=text, faults=Faults(flush_seconds=5.0))
    assert served.application.answered_at is not None
    (call,) = served.place.far.calls
    opened = served.place.spool_opened_at
    return call.opened_at - opened, served.application.answered_at - opened


def test_no_call_is_forwarded_before_its_record_is_durable() -> None:
    forwarded, answered = times(CHAT, chat(), ALL)
    assert answered >= forwarded >= 5


def test_before_response_overlaps_the_sync_with_the_upstream_call() -> None:
    forwarded, answered = times(CHAT, chat(), OVERLAP)
    assert forwarded < 1
    assert answered >= 5


def test_before_response_is_not_for_calls_with_effects() -> None:
    forwarded, _ = times(MCP, sent(tool_call()), OVERLAP)
    assert forwarded >= 5


def test_a_failed_disk_gives_neither_permit_nor_ruling() -> None:
    for text in (ALL, NO_GRANT):
        served = serve_one(CHAT, chat(), text=text, faults=Faults(sync_error_at=3))
        assert (served.application.status, served.code) == (503, "disk_failed")
        assert served.place.far.calls == []


# -- law 2: no permit, no forwarding ---------------------------------------------------------


def test_nothing_is_forwarded_without_a_permit(refused: Refused) -> None:
    served = refused.serve()
    assert served.code == refused.code
    assert not any("open" in step for step in served.place.steps)


def test_an_upstream_outside_the_permit_is_never_used() -> None:
    text = restriction("oblige", obligations=[{"regions": ["us-east-1"]}])
    head = head_of("/pair/v1/chat/completions")
    served = serve_one(head, chat(), text=text)
    assert [one.name for one in served.decision.model.upstreams] == ["second"]
    assert [call.name for call in served.place.far.calls] == ["second"]
    assert served.completion.upstream == "second"


def test_the_record_names_the_permitted_upstreams_in_their_order() -> None:
    served = serve_one(head_of("/pair/v1/chat/completions"), chat())
    named = [(one.name, one.region, one.credential_id) for one in served.decision.model.upstreams]
    assert named == [("first", "eu-west-1", "company"), ("second", "us-east-1", None)]


# -- law 3: one record per call --------------------------------------------------------------


def test_one_decision_record_per_call(refused: Refused) -> None:
    served = refused.serve()
    decision, status = served.decision.decision, CODES[refused.code].status
    assert (decision.reason, decision.status) == (refused.reason or refused.code, status)
    assert decision.outcome in ("deny", "error_closed", "approval_required")
    assert served.application.headers["x-gatepost-decision-id"] == served.decision.id
    assert served.application.durable_before == {served.decision.id}
    assert served.place.completions == []
    assert served.place.tally.counters().decisions == {decision.outcome: 1}


def test_an_allowed_call_has_one_decision_and_one_completion() -> None:
    served = serve_one(CHAT, chat())
    assert (served.decision.decision.outcome, served.completion.outcome) == ("allow", "ok")
    assert served.completion.of == served.decision.id
    assert served.application.headers["x-gatepost-decision-id"] == served.decision.id
    assert served.place.tally.counters().completions == {"ok": 1}


def test_a_refusal_says_what_was_wrong_and_where() -> None:
    for name, said in (
        ("duplicate keys", "the same key twice in the top level"),
        ("long model", "model.requested"),
        ("large", "larger than 65536"),
        ("two identities", "a header that carries identity stands twice"),
    ):
        assert said in REFUSED[name].serve().application.received.decode()


def test_rule_ids_are_shown_only_where_the_bundle_allows_it() -> None:
    shown = policy_text(
        restrictions=[{"id": "limit", "effect": "deny", "actions": ["*"]}], show_rule_ids=True
    )
    assert b"limit" not in serve_one(CHAT, chat(), text=restriction("deny")).application.received
    assert b"Rules: limit." in serve_one(CHAT, chat(), text=shown).application.received


# -- law 4: one snapshot ---------------------------------------------------------------------


def test_the_policy_snapshot_is_read_once_and_named_in_the_record() -> None:
    newer = snapshot(NO_GRANT, 2)

    async def script(place: Place) -> None:
        def publish() -> None:
            place.policy = newer

        place.far.set("openai", Script(body=(b"{", publish, b"}")))
        await place.call(CHAT, chat())
        assert place.policy_reads == 1
        await place.call(CHAT, chat())
        assert place.policy_reads == 2

    first, second = run(script).decisions
    named = [(one.policy.version, one.policy.digest, one.policy.scope) for one in (first, second)]
    assert named == [(1, snapshot().digest, "acme/prod/eu"), (2, newer.digest, "acme/prod/eu")]
    assert (first.decision.outcome, second.decision.outcome) == ("allow", "deny")


def test_policy_is_read_when_it_is_asked_not_when_the_call_arrived() -> None:
    async def script(place: Place) -> None:
        def label(call: CallView) -> Label:
            locked(place)
            return Label(level="internal", categories=(), completeness="full", classifier="test@1")

        place.label = label
        assert (await place.call(CHAT, chat())).status == 503

    (decision,) = run(script).decisions
    assert (decision.decision.reason, decision.policy.state) == ("policy_locked", "locked")


# -- law 6: denials are values, errors fail closed -------------------------------------------


def test_a_denial_is_a_value(refused: Refused) -> None:
    served = refused.serve()
    assert served.place.faults == []
    assert served.place.turned_away == {}


def _raise(*_: object) -> Principal:
    raise RuntimeError("a fault of ours")


async def _raise_later(_: CallView) -> Label:
    raise RuntimeError("a fault of ours")


def _no_policy() -> Snapshot | None:
    raise RuntimeError("a fault of ours")


FAULTS: dict[str, dict[str, object]] = {
    "identify": {"identify": _raise},
    "classify": {"classify": _raise_later},
    "decide": {"policy": _no_policy},
    "clock": {"signed_time_us": _raise},
    "onlooker": {"decided": _raise},
}


@pytest.mark.parametrize("part", sorted(FAULTS))
def test_an_error_fails_closed(part: str) -> None:
    served = serve_one(CHAT, chat(), prepare=lambda place: place.change(**FAULTS[part]))
    assert (served.application.status, served.code) == (500, "internal_error")
    assert not any("open" in step for step in served.place.steps)
    assert served.place.turned_away == {"internal_error": {"agent": 1}}
    assert [event for event, _ in served.place.faults] == ["exchange_failed"]
    assert served.place.spool.quota.reserved_bytes == 0
    assert served.place.in_flight.calls == 0


# -- law 8: open only where signed -----------------------------------------------------------

OPEN = policy_text(
    open_on_expired={"seconds_max": 7_200, "routes": ["openai"], "levels": ["internal"]},
    record_commit={"*": "before_response"},
)


def test_a_call_passes_an_expired_policy_only_by_a_signed_choice() -> None:
    served = serve_one(CHAT, chat(), text=OPEN, prepare=expire)
    decision = served.decision
    assert (decision.decision.outcome, decision.decision.reason) == ("error_open", "fail_open")
    assert (decision.decision.fail_open, decision.policy.state) == (True, "expired")
    assert decision.decision.commit == "before_forward"
    assert served.application.status == 200


@pytest.mark.parametrize(
    ("head", "body", "hours"),
    [
        (CHAT, chat("SECRET"), 5),
        (head_of("/pair/v1/chat/completions"), chat(), 5),
        (CHAT, chat(), 7),
    ],
    ids=["restricted data", "another route", "after its time"],
)
def test_the_signed_choice_is_narrow(head: Head, body: bytes, hours: int) -> None:
    def later(place: Place) -> None:
        place.clock.wall_offset_us = hours * HOUR

    served = serve_one(head, body, text=OPEN, prepare=later)
    assert (served.code, served.place.far.calls) == ("policy_expired", [])


def test_a_lock_beats_the_signed_choice() -> None:
    def lock(place: Place) -> None:
        place.policy = snapshot(OPEN, lock="stop")

    assert serve_one(CHAT, chat(), text=OPEN, prepare=lock).code == "policy_locked"


def test_the_newest_signed_time_counts_where_the_clock_lags() -> None:
    def signed_later(place: Place) -> None:
        place.signed_us = place.clock.wall_us() + 5 * HOUR

    assert serve_one(CHAT, chat(), prepare=signed_later).code == "policy_expired"


# -- law 7: turn-aways where there is no room ------------------------------------------------


def no_place(place: Place) -> None:
    place.in_flight._calls_max = 0


def no_memory(place: Place) -> None:
    place.in_flight._body_bytes_max = 10


def no_key(place: Place) -> None:
    place.key_usable = False


def draining(place: Place) -> None:
    place.in_flight.draining = True


def spool_full(place: Place) -> None:
    place.spool.quota.dead_bytes = 2**40


TURNED_AWAY: dict[str, Callable[[Place], None]] = {
    "too_busy": no_place,
    "too_busy for bodies": no_memory,
    "no_key": no_key,
    "draining": draining,
    "spool_full": spool_full,
}


@pytest.mark.parametrize("why", sorted(TURNED_AWAY))
def test_a_turn_away_is_counted_and_not_recorded(why: str) -> None:
    served = serve_one(CHAT, chat(), prepare=TURNED_AWAY[why])
    code = why.partition(" ")[0]
    assert (served.application.status, served.code) == (503, code)
    assert "retry-after" in served.application.headers
    assert served.place.turned_away == {code: {"agent": 1}}
    assert (served.place.records(), served.place.far.calls) == ([], [])
    assert "x-gatepost-decision-id" not in served.application.headers


@pytest.mark.parametrize(
    ("head", "code", "status"),
    [
        (head_of("/nowhere"), "unknown_route", 404),
        (head_of("/openai/v1/organization"), "unknown_route", 404),
        (head_of("/openai/v1/chat/completions", "PATCH"), "method_not_allowed", 405),
    ],
)
def test_what_no_provider_has_is_turned_away(head: Head, code: str, status: int) -> None:
    served = serve_one(head, b"")
    assert (served.application.status, served.code) == (status, code)
    assert served.place.records() == []


def test_a_method_that_is_not_allowed_names_those_that_are() -> None:
    served = serve_one(head_of("/openai/v1/chat/completions", "PATCH"), b"")
    assert served.application.headers["allow"] == "GET, POST"


# -- the answer ------------------------------------------------------------------------------


def test_an_application_that_is_gone_gets_nothing_and_is_recorded() -> None:
    served = serve_one(CHAT, chat(), text=NO_GRANT, gone_after=0)
    assert served.application.aborted
    assert served.decision.decision.outcome == "deny"
    served = serve_one(head_of("/nowhere"), gone_after=0)
    assert served.application.aborted


def test_cancellation_passes_through_and_gives_everything_back() -> None:
    async def script(place: Place) -> None:
        place.far.set("openai", Script(thinks=50))
        with anyio.move_on_after(1) as scope:
            await place.call(CHAT, chat())
        assert scope.cancelled_caught
        assert (place.in_flight.calls, place.in_flight.held_bytes) == (0, 0)
        assert place.spool.quota.reserved_bytes == 0

    assert [one.outcome for one in run(script).completions] == ["shutdown"]


def test_a_tool_route_answers_in_the_shape_of_no_provider() -> None:
    served = serve_one(TOOL, b'{"amount":1}', text=NO_GRANT)
    error = json.loads(served.application.received)["error"]
    assert (error["type"], error["code"]) == ("gatepost", "denied")


def test_every_answer_is_given_once() -> None:
    for name in REFUSED:
        steps = REFUSED[name].serve().place.steps
        assert [step for step in steps if step[:2] == ("application", "answer")] != []
        assert sum(step[0] == "application" for step in steps) == 1
