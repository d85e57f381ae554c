"""What a tool server asks of the agent: decided one by one, before the agent sees it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from gateway.limits import BODY_BYTES_MAX
from gateway.rate import KeyedBuckets
from gateway.seal import keyed_digest
from tests.sim.disk import Faults
from tests.unit.gateway.call_ends import JSON, SSE, Piece, Script
from tests.unit.gateway.world_builder import (
    ALL,
    DIGEST_KEY,
    MCP,
    Place,
    Served,
    head_of,
    run,
    sent,
    serve_one,
    snapshot,
    tool_call,
)

GRANTS = json.dumps({"grants": [{"id": "tools", "actions": ["tool_call", "roots_list"]}]})
"""The agent may call tools and be asked for its roots, but not be asked to sample."""


def message(method: str, rpc_id: int | None = 9, **params: object) -> dict[str, object]:
    made: dict[str, object] = {"jsonrpc": "2.0", "method": method, "params": params}
    return made if rpc_id is None else {**made, "id": rpc_id}


def event(document: object) -> bytes:
    return b"event: message\ndata: " + sent(document) + b"\n\n"


ROOTS = event(message("roots/list"))
SAMPLING = event(message("sampling/createMessage", messages=[{"role": "user", "content": "hi"}]))
PROGRESS = event(message("notifications/progress", None, progress=1))
RESULT = event({"jsonrpc": "2.0", "id": 1, "result": {"content": []}})


def streamed(*pieces: Piece, text: str = GRANTS, **options: object) -> Served:
    script = Script(headers=(SSE,), body=pieces)
    return serve_one(MCP, sent(tool_call()), text=text, scripts={"erp": script}, **options)  # type: ignore[arg-type]  # as serve_one names them


def answered(
    *pieces: Piece, text: str = GRANTS, kind: str = "application/json", status: int = 200
) -> Served:
    script = Script(status=status, headers=(("content-type", kind),), body=pieces)
    return serve_one(MCP, sent(tool_call()), text=text, scripts={"erp": script})


# -- in event streams ------------------------------------------------------------------------


def test_a_request_of_the_server_is_a_decision_of_its_own() -> None:
    served = streamed(PROGRESS, ROOTS, RESULT)
    assert served.application.received == PROGRESS + ROOTS + RESULT
    call, asked = served.place.decisions
    assert (call.decision.stage, asked.decision.stage) == ("request", "server")
    assert (asked.model.operation, asked.model.tool_server) == ("roots_list", "erp")
    assert asked.decision.outcome == "allow"
    assert asked.agent == call.agent
    assert {one.of for one in served.place.completions} == {call.id, asked.id}
    assert {one.outcome for one in served.place.completions} == {"ok"}
    assert served.place.tally.counters().decisions == {"allow": 2}


def test_a_denied_request_of_the_server_cuts_the_stream_as_an_error() -> None:
    served = streamed(PROGRESS, SAMPLING, RESULT)
    assert served.application.received == PROGRESS
    assert (served.application.aborted, served.application.ended) == (True, False)
    call, asked = served.place.decisions
    assert (asked.decision.outcome, asked.decision.reason) == ("deny", "no_grant")
    assert (asked.model.operation, asked.decision.status) == ("sampling", 403)
    (completion,) = served.place.completions
    assert (completion.of, completion.outcome) == (call.id, "response_blocked")
    assert ("erp", "cancelled") in served.place.steps
    assert completion.digest.response == keyed_digest(DIGEST_KEY, PROGRESS)
    assert completion.bytes.out == len(PROGRESS)


def test_what_came_before_a_denied_request_passes_whatever_the_chunks() -> None:
    served = streamed(PROGRESS + PROGRESS + SAMPLING + RESULT)
    assert (served.application.received, served.application.aborted) == (PROGRESS * 2, True)


def test_an_event_does_not_wait_for_the_decision_on_the_next() -> None:
    served = streamed(PROGRESS + ROOTS, faults=Faults(flush_seconds=5.0))
    call, asked = served.place.decisions
    assert served.application.durable_at[0] == (PROGRESS, {call.id})
    assert served.application.durable_at[1] == (ROOTS, {call.id, asked.id})


def test_an_event_that_is_held_is_counted() -> None:
    held: list[int] = []

    def prepare(place: Place) -> None:
        def count() -> None:
            held.append(place.in_flight.held_bytes - len(sent(tool_call())))

        body: tuple[Piece, ...] = (PROGRESS + RESULT[:20], count, RESULT[20:], count)
        place.far.set("erp", Script(headers=(SSE,), body=body))

    serve_one(MCP, sent(tool_call()), prepare=prepare)
    assert held == [20, 0]


def test_no_event_passes_before_its_decision_is_durable() -> None:
    served = streamed(ROOTS, RESULT)
    call, asked = served.place.decisions
    assert served.application.durable_at[0] == (ROOTS, {call.id, asked.id})


@pytest.mark.parametrize("cut_at", range(1, len(PROGRESS + ROOTS + RESULT), 7))
def test_events_are_the_same_however_the_stream_is_cut_into_chunks(cut_at: int) -> None:
    whole = PROGRESS + ROOTS + RESULT
    served = streamed(whole[:cut_at], whole[cut_at:])
    assert served.application.received == whole
    assert [one.decision.stage for one in served.place.decisions] == ["request", "server"]


def test_an_event_that_never_ended_is_not_passed_on() -> None:
    served = streamed(RESULT, SAMPLING[:-1])
    assert (served.application.received, served.application.ended) == (RESULT, True)
    assert len(served.place.decisions) == 1


def test_a_stated_length_is_not_promised_where_an_event_may_be_dropped() -> None:
    whole = RESULT + SAMPLING[:-1]
    script = Script(headers=(SSE, ("content-length", str(len(whole)))), body=(whole,))
    served = serve_one(MCP, sent(tool_call()), scripts={"erp": script})
    assert (served.application.content_length, served.application.ended) == (None, True)


def test_an_event_with_two_readings_ends_the_stream() -> None:
    bad = b'data: {"jsonrpc":"2.0","id":1,"id":2,"method":"roots/list"}\n\n'
    served = streamed(PROGRESS, bad)
    assert (served.application.received, served.application.aborted) == (PROGRESS, True)
    assert [one.outcome for one in served.place.completions] == ["upstream_error"]


def test_a_decision_inside_a_stream_holds_the_policy_of_its_moment() -> None:
    def publish(place: Place) -> Callable[[], None]:
        def now() -> None:
            place.policy = snapshot(ALL, 2)

        return now

    def prepare(place: Place) -> None:
        body: tuple[Piece, ...] = (ROOTS, 20.0, publish(place), ROOTS, RESULT)
        place.far.set("erp", Script(headers=(SSE,), body=body))

    place = serve_one(MCP, sent(tool_call()), text=GRANTS, prepare=prepare).place
    _, first, second = place.decisions
    assert (first.policy.version, second.policy.version) == (1, 2)
    assert first.policy.age_ms is not None
    assert second.policy.age_ms is not None
    assert second.policy.age_ms - first.policy.age_ms >= 20_000
    assert second.time.decided > first.time.decided


def test_a_policy_that_expires_under_a_stream_denies_what_comes_then() -> None:
    def prepare(place: Place) -> None:
        def expire() -> None:
            place.clock.wall_offset_us = 5 * 3_600 * 1_000_000

        place.far.set("erp", Script(headers=(SSE,), body=(PROGRESS, expire, ROOTS)))

    served = serve_one(MCP, sent(tool_call()), text=GRANTS, prepare=prepare)
    assert served.place.decisions[1].decision.reason == "policy_expired"
    assert (served.application.received, served.application.aborted) == (PROGRESS, True)


def test_data_of_the_server_is_classified() -> None:
    asked = message("roots/list", note="SECRET")
    decision = streamed(event(asked), RESULT).place.decisions[1]
    assert decision.data.level == "restricted"
    assert decision.digest.input == keyed_digest(DIGEST_KEY, sent(asked["params"]))


def test_no_room_for_its_record_ends_the_stream() -> None:
    def prepare(place: Place) -> None:
        def fill() -> None:
            place.spool.quota.dead_bytes = 2**40

        place.far.set("erp", Script(headers=(SSE,), body=(PROGRESS, fill, ROOTS)))

    served = serve_one(MCP, sent(tool_call()), prepare=prepare)
    assert (served.application.received, served.application.aborted) == (PROGRESS, True)
    assert served.place.turned_away == {"spool_full": {"agent": 1}}
    assert [one.outcome for one in served.place.completions] == ["response_blocked"]


def test_a_failed_disk_lets_no_event_pass() -> None:
    served = streamed(PROGRESS, 1.0, ROOTS, faults=Faults(sync_error_at=4))
    assert (served.application.received, served.application.aborted) == (PROGRESS, True)
    assert served.place.turned_away == {"disk_failed": {"agent": 1}}


def test_denials_of_a_stream_count_against_its_agent() -> None:
    async def script(place: Place) -> None:
        place.change(denials=KeyedBuckets(1.0, 1, 8))
        place.far.set("erp", Script(headers=(SSE,), body=(PROGRESS, SAMPLING)))
        for _ in range(2):
            assert (await place.call(MCP, sent(tool_call()))).received == PROGRESS

    place = run(script, text=GRANTS)
    assert [one.decision.outcome for one in place.decisions] == ["allow", "deny", "allow"]
    assert place.turned_away == {"too_many_denials": {"agent": 1}}


# -- in plain answers ------------------------------------------------------------------------

RESULT_BODY = sent({"jsonrpc": "2.0", "id": 1, "result": {"content": []}})
SAMPLING_BODY = sent(message("sampling/createMessage"))


def test_a_plain_answer_passes_whole() -> None:
    served = answered(RESULT_BODY[:10], RESULT_BODY[10:])
    assert (served.application.received, served.application.ended) == (RESULT_BODY, True)
    assert len(served.place.decisions) == 1


@pytest.mark.parametrize(
    "kind",
    ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON", "x/y; json"],
)
def test_a_request_in_place_of_an_answer_is_decided_like_any_other(kind: str) -> None:
    served = answered(SAMPLING_BODY, kind=kind)
    assert (served.application.received, served.application.aborted) == (b"", True)
    assert served.place.decisions[1].decision.stage == "server"
    assert served.place.decisions[1].decision.outcome == "deny"
    assert [one.outcome for one in served.place.completions] == ["response_blocked"]


@pytest.mark.parametrize(
    "kind", ["text/event-stream", "Text/Event-Stream;x", "a/b; text/event-stream"]
)
def test_a_stream_is_known_by_any_spelling_that_a_client_takes(kind: str) -> None:
    served = answered(SAMPLING, kind=kind)
    assert (served.application.received, served.application.aborted) == (b"", True)


def test_a_batch_of_the_server_is_one_group() -> None:
    both = sent([message("roots/list", 1), message("sampling/createMessage", 2)])
    served = answered(both)
    assert served.application.received == b""
    reasons = [one.decision.reason for one in served.place.decisions[1:]]
    assert reasons == ["denied", "no_grant"]
    assert answered(both, text=ALL).application.received == both


def test_an_error_answer_is_read_too() -> None:
    served = answered(SAMPLING_BODY, status=400)
    assert (served.application.received, served.application.aborted) == (b"", True)


def test_an_empty_answer_has_nothing_to_decide() -> None:
    served = answered(status=202)
    assert (served.application.status, served.application.ended) == (202, True)


def test_an_answer_that_is_not_what_it_says_ends_as_an_error() -> None:
    served = answered(b"not json")
    assert (served.application.received, served.application.aborted) == (b"", True)
    assert [one.outcome for one in served.place.completions] == ["upstream_error"]


def test_a_plain_answer_is_bounded_and_counted() -> None:
    held: list[int] = []

    def prepare(place: Place) -> None:
        part = b"x" * (BODY_BYTES_MAX // 2)

        def count() -> None:
            held.append(place.in_flight.held_bytes)

        place.far.set("erp", Script(headers=(JSON,), body=(part, count, part, count, b"x")))

    served = serve_one(MCP, sent(tool_call()), prepare=prepare)
    body = len(sent(tool_call()))
    assert held == [body + BODY_BYTES_MAX // 2, body + BODY_BYTES_MAX]
    assert served.application.aborted
    assert served.place.in_flight.held_bytes == 0


def test_other_protocols_are_not_held_up() -> None:
    script = Script(headers=(JSON,), body=(SAMPLING_BODY,))
    served = serve_one(head_of("/pay/x"), b"{}", scripts={"pay": script})
    assert served.application.received == SAMPLING_BODY
