"""Forwarding: which upstreams are tried, how a call can end, and what its completion says."""

from __future__ import annotations

import json

import anyio
import msgspec
import pytest

from gateway.call import Head
from gateway.errors import TurnAway
from gateway.seal import keyed_digest
from tests.sim.disk import Faults
from tests.sim.loop import elapse
from tests.unit.gateway.call_ends import Application, Script
from tests.unit.gateway.world_builder import (
    CHAT,
    DIGEST_KEY,
    TOOL,
    UPLOAD,
    Place,
    chat,
    head_of,
    policy_text,
    run,
    sent,
    serve_one,
    tool_call,
)

PAIR = head_of("/pair/v1/chat/completions")
AGAIN = head_of("/again/v1/chat/completions")
TOOLS = head_of("/tools")
OVERLAP = policy_text(record_commit={"*": "before_response"})
REFUSES = Script(refuses="upstream_unreachable")
BREAKS = Script(breaks="upstream_unreachable")
FAILED_SYNC = Faults(sync_error_at=3)
"""The first sync of a record; two belong to the first segment."""


def opened(place: Place) -> list[str]:
    return [who for who, *what in place.steps if what == ["open"]]


# -- law 11: what may be tried again ---------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "body", "first", "tried"),
    [
        (PAIR, chat(), REFUSES, ["first", "second"]),
        (PAIR, chat(), Script(breaks="upstream_unreachable", untouched=True), ["first", "second"]),
        (PAIR, chat(), BREAKS, ["first"]),
        (AGAIN, chat(), BREAKS, ["first", "second"]),
        (AGAIN, chat(), Script(body=(b"{", "upstream_invalid")), ["first"]),
        (TOOLS, sent(tool_call()), BREAKS, ["first"]),
        (TOOLS, sent(tool_call()), REFUSES, ["first", "second"]),
        (UPLOAD, b"file", BREAKS, ["first"]),
        (UPLOAD, b"file", Script(breaks="upstream_unreachable", untouched=True), ["first"]),
        (UPLOAD, b"file", REFUSES, ["first", "second"]),
        (PAIR, chat(), Script(status=503), ["first"]),
    ],
    ids=[
        "not reached",
        "no byte was sent",
        "it may have read it",
        "the route is idempotent",
        "an answer had begun",
        "tool calls are not idempotent",
        "a tool call that was not sent",
        "an upload is gone once read",
        "even if none of it was sent",
        "an upload that was not begun",
        "an answer is an answer",
    ],
)
def test_a_retry_is_made_only_when_it_is_safe(
    head: Head, body: bytes, first: Script, tried: list[str]
) -> None:
    served = serve_one(head, body, scripts={"first": first})
    assert opened(served.place) == tried
    assert [one.upstream for one in served.completion.attempts] == tried
    assert len(served.place.decisions) == 1


def test_every_attempt_is_in_the_completion() -> None:
    scripts = {"first": Script(breaks="upstream_timeout"), "second": Script(status=429)}
    served = serve_one(AGAIN, chat(), scripts=scripts)
    attempts = [
        (one.upstream, one.region, one.status, one.code) for one in served.completion.attempts
    ]
    assert attempts == [
        ("first", "eu-west-1", None, "upstream_timeout"),
        ("second", "eu-west-1", 429, None),
    ]
    assert (served.completion.upstream, served.completion.status) == ("second", 429)


def test_when_no_upstream_is_reached_the_last_failure_is_the_answer() -> None:
    scripts = {"first": REFUSES, "second": Script(refuses="upstream_timeout")}
    served = serve_one(PAIR, chat(), scripts=scripts)
    assert (served.application.status, served.code) == (504, "upstream_timeout")
    assert (served.completion.outcome, served.completion.upstream) == ("timeout", None)
    assert served.application.headers["x-gatepost-decision-id"] == served.decision.id


# -- every end is reachable, and clear -------------------------------------------------------


@pytest.mark.parametrize("code", ["upstream_unreachable", "upstream_redirect", "upstream_invalid"])
def test_an_upstream_that_fails_before_its_answer_is_answered_for(code: str) -> None:
    served = serve_one(CHAT, chat(), scripts={"openai": Script(breaks=code)})
    assert (served.application.status, served.code) == (502, code)
    assert (served.completion.outcome, served.completion.status) == ("upstream_error", 502)
    assert served.completion.digest.response is None
    assert served.completion.attempts[0].code == code


@pytest.mark.parametrize("status", [400, 429, 500])
def test_an_error_of_the_upstream_is_passed_on_and_named(status: int) -> None:
    served = serve_one(CHAT, chat(), scripts={"openai": Script(status=status)})
    assert (served.application.status, served.application.received) == (status, b"{}")
    assert (served.completion.outcome, served.completion.status) == ("upstream_error", status)


def test_an_upstream_that_is_cut_ends_the_answer_as_an_error() -> None:
    script = Script(body=(b"half", "upstream_invalid"))
    served = serve_one(CHAT, chat(), scripts={"openai": script})
    assert served.application.received == b"half"
    assert (served.application.aborted, served.application.ended) == (True, False)
    assert served.completion.outcome == "upstream_error"
    assert served.completion.attempts[0].code == "upstream_invalid"


def test_a_call_has_a_time_after_which_it_ends() -> None:
    served = serve_one(CHAT, chat(), scripts={"openai": Script(thinks=61)})
    assert (served.application.status, served.code) == (504, "upstream_timeout")
    assert served.completion.outcome == "timeout"
    served = serve_one(CHAT, chat(), scripts={"openai": Script(body=(b"half", 61.0))})
    assert (served.application.received, served.application.aborted) == (b"half", True)
    assert served.completion.outcome == "timeout"


def test_who_stops_reading_is_not_waited_for_without_end() -> None:
    served = serve_one(CHAT, chat(), stalls=True)
    assert served.application.aborted
    assert served.completion.outcome == "timeout"


@pytest.mark.parametrize("after", [0.5, 5.0], ids=["before the answer", "inside the answer"])
def test_an_application_that_hangs_up_cancels_the_upstream_call(after: float) -> None:
    async def script(place: Place) -> None:
        place.far.set("openai", Script(thinks=1, body=(b"half", 30.0, b"rest")))
        application = place.application(CHAT, chat())
        async with anyio.create_task_group() as group:
            group.start_soon(place.serve, application)
            await elapse(after)
            application.hang_up()
        assert anyio.current_time() < after + 2
        assert application.aborted

    place = run(script)
    (completion,) = place.completions
    assert ("openai", "cancelled") in place.steps
    assert completion.outcome == "client_abort"
    assert [one.upstream for one in completion.attempts] == ["openai"]


def test_an_application_found_gone_while_sending_is_recorded_as_such() -> None:
    script = Script(body=(b"one", b"two", b"three"))
    served = serve_one(CHAT, chat(), scripts={"openai": script}, gone_after=2)
    assert ("openai", "cancelled") in served.place.steps
    assert (served.completion.outcome, served.application.aborted) == ("client_abort", True)
    assert served.completion.bytes.out == len(b"onetwo")
    assert served.completion.digest.response == keyed_digest(DIGEST_KEY, b"onetwo")


CUTS = [("response_blocked", "policy_locked"), ("shutdown", "draining")]


def cut_after(
    seconds: float, outcome: str, script: Script, **options: object
) -> tuple[Place, Application]:
    async def world(place: Place) -> None:
        place.far.set("openai", script)
        application = place.application(CHAT, chat(), **options)
        async with anyio.create_task_group() as group:
            group.start_soon(place.serve, application)
            await elapse(seconds)
            assert place.in_flight.cut_all(outcome) == 1
        applications.append(application)

    applications: list[Application] = []
    return run(world), applications[0]


@pytest.mark.parametrize(("outcome", "code"), CUTS)
def test_a_cut_ends_streams_as_errors(outcome: str, code: str) -> None:
    place, cut = cut_after(5, outcome, Script(body=(b"half", 30.0)))
    assert (cut.received, cut.aborted) == (b"half", True)
    assert place.completions[0].outcome == outcome
    assert ("openai", "cancelled") in place.steps


@pytest.mark.parametrize(("outcome", "code"), CUTS)
def test_a_cut_call_whose_answer_has_not_begun_is_told_why(outcome: str, code: str) -> None:
    place, cut = cut_after(5, outcome, Script(thinks=30))
    assert cut.status == 503
    assert json.loads(cut.received)["error"]["code"] == code
    (completion,) = place.completions
    assert (completion.outcome, completion.status) == (outcome, 503)
    assert ("openai", "cancelled") in place.steps


def test_a_cut_does_not_wait_for_who_does_not_read() -> None:
    place, cut = cut_after(5, "shutdown", Script(thinks=30), stalls=True)
    assert (cut.status, cut.aborted) == (None, True)
    assert place.completions[0].outcome == "shutdown"


def test_a_lock_that_comes_between_decision_and_forwarding_is_not_missed() -> None:
    async def script(place: Place) -> None:
        application = place.application(CHAT, chat())
        async with anyio.create_task_group() as group:
            group.start_soon(place.serve, application)
            await elapse(1)
            assert [one.decision.outcome for one in place.decided] == ["allow"]
            assert place.in_flight.cut_all("response_blocked") == 0
        assert application.status == 503

    place = run(script, faults=Faults(flush_seconds=5.0))
    assert opened(place) == []
    assert [one.outcome for one in place.completions] == ["response_blocked"]


def test_a_later_call_is_not_cut_by_an_earlier_lock() -> None:
    async def script(place: Place) -> None:
        place.in_flight.cut_all("response_blocked")
        assert (await place.call(CHAT, chat())).status == 200

    run(script)


# -- before_response: the answer waits for the record ----------------------------------------


def test_an_answer_is_withheld_when_its_record_is_lost() -> None:
    served = serve_one(CHAT, chat(), text=OVERLAP, faults=FAILED_SYNC)
    assert (served.application.status, served.code) == (503, "disk_failed")
    assert served.application.headers["retry-after"]
    assert ("application", "head", "200") not in served.place.steps
    assert served.place.turned_away == {"disk_failed": {"agent": 1}}
    assert [event for event, _ in served.place.faults] == ["completion_lost"]


def test_a_lost_record_cancels_the_upstream_call_at_once() -> None:
    async def script(place: Place) -> None:
        place.far.set("openai", Script(thinks=30))
        application = await place.call(CHAT, chat())
        assert anyio.current_time() < 5
        assert application.status == 503

    assert ("openai", "cancelled") in run(script, text=OVERLAP, faults=FAILED_SYNC).steps


def test_a_lost_record_is_the_answer_also_where_the_upstream_failed() -> None:
    faults = Faults(sync_error_at=3, flush_seconds=3.0)
    served = serve_one(CHAT, chat(), text=OVERLAP, faults=faults, scripts={"openai": BREAKS})
    assert (served.application.status, served.code) == (503, "disk_failed")


def test_the_failure_of_an_upstream_waits_for_the_record_too() -> None:
    served = serve_one(CHAT, chat(), text=OVERLAP, scripts={"openai": BREAKS})
    assert (served.application.status, served.code) == (502, "upstream_unreachable")
    assert served.application.durable_before == {served.decision.id}


def test_a_completion_that_cannot_be_written_is_reported_and_not_counted() -> None:
    served = serve_one(CHAT, chat(), prepare=_fail_after_answer)
    assert served.application.status == 200
    assert [event for event, _ in served.place.faults] == ["completion_lost"]
    assert served.place.tally.counters().completions == {}


def _fail_after_answer(place: Place) -> None:
    def fail() -> None:
        place.spool._failure = "pulled"

    place.far.set("openai", Script(body=(b"{}", fail)))


# -- faults of ours --------------------------------------------------------------------------


def test_a_fault_of_ours_is_no_clean_end() -> None:
    def no_credential(_: str | None) -> tuple[tuple[str, str], ...]:
        raise KeyError("company")

    served = serve_one(CHAT, chat(), prepare=lambda place: place.change(credentials=no_credential))
    assert (served.application.status, served.code) == (500, "internal_error")
    assert (served.completion.outcome, served.completion.status) == ("response_blocked", 500)
    assert [event for event, _ in served.place.faults] == ["forward_failed"]
    assert served.place.far.calls == []


# -- uploads ---------------------------------------------------------------------------------


def test_an_upload_is_streamed_after_the_decision_and_its_digest_recorded() -> None:
    served = serve_one(UPLOAD, b"part one, ", b"part two")
    (call,) = served.place.far.calls
    assert (call.received, call.request_ended) == (b"part one, part two", True)
    assert call.request.content_length is None
    assert (served.decision.data.completeness, served.decision.digest.request) == ("opaque", None)
    assert served.completion.digest.request == keyed_digest(DIGEST_KEY, b"part one, part two")
    assert served.completion.bytes.in_ == len(b"part one, part two")


def test_an_upload_larger_than_other_bodies_passes() -> None:
    served = serve_one(UPLOAD, *[b"x" * 60_000] * 5)
    assert served.completion.bytes.in_ == 300_000


def test_an_upload_without_a_body_has_none() -> None:
    head = msgspec.structs.replace(UPLOAD, method="GET", chunked=False)
    (call,) = serve_one(head).place.far.calls
    assert (call.request.content_length, call.received) == (0, b"")


def test_a_stated_length_of_an_upload_is_passed_on() -> None:
    head = msgspec.structs.replace(UPLOAD, content_length=4, chunked=False)
    (call,) = serve_one(head, b"file").place.far.calls
    assert call.request.content_length == 4


@pytest.mark.parametrize(("code", "status"), [("too_slow", 408), ("malformed_request", 400)])
def test_an_upload_that_breaks_off_is_the_applications_abort(code: str, status: int) -> None:
    served = serve_one(UPLOAD, b"half", body_fault=TurnAway(code))
    assert (served.application.status, served.code) == (status, code)
    assert (served.completion.outcome, served.completion.status) == ("client_abort", status)
    assert ("first", "cancelled") in served.place.steps
    assert served.place.turned_away == {code: {"agent": 1}}


def test_a_refused_upload_is_not_read() -> None:
    text = json.dumps({"grants": []})
    served = serve_one(UPLOAD, b"file", text=text)
    assert (served.application.status, served.application.bytes_in) == (403, 0)


# -- what is sent ----------------------------------------------------------------------------


def test_the_applications_credentials_never_go_upstream() -> None:
    head = head_of(
        "/openai/v1/chat/completions?api_key=sk-mine&a%70i_key=sk-mine&k%65y=sk-mine&page=2",
        authorization="Bearer sk-mine",
        x_api_key="sk-mine",
        cookie="session=sk-mine",
        x_gatepost_parent="sk-mine",
        proxy_authorization="sk-mine",
        openai_beta="assistants=v2",
    )
    (call,) = serve_one(head, chat()).place.far.calls
    sent_headers = dict(call.request.headers)
    assert "sk-mine" not in str(call.request)
    assert call.request.target == "/base/v1/chat/completions?page=2"
    assert sent_headers["authorization"] == "Bearer company-key"
    assert sent_headers["openai-beta"] == "assistants=v2"
    assert sent_headers["accept-encoding"] == "identity"


def test_the_companys_credentials_never_come_back() -> None:
    echoed = (
        ("content-type", "application/json"),
        ("authorization", "Bearer company-key"),
        ("set-cookie", "company-key"),
        ("x-api-key", "company-key"),
        ("www-authenticate", "company-key"),
        ("x-gatepost-decision-id", "company-key"),
        ("x-request-id", "r-1"),
    )
    served = serve_one(CHAT, chat(), scripts={"openai": Script(headers=echoed)})
    assert "company-key" not in str(served.application.headers)
    assert served.application.headers["x-request-id"] == "r-1"


def test_what_was_classified_is_what_is_forwarded() -> None:
    body = b'  {"model": "gpt-4o",\n "messages": [ {"role":"user","content":"h\\u0069"} ] }\n'
    served = serve_one(CHAT, body[:20], body[20:])
    (call,) = served.place.far.calls
    assert (call.received, call.request.content_length) == (body, len(body))
    assert served.decision.digest.request == keyed_digest(DIGEST_KEY, body)
    assert served.decision.digest.input == keyed_digest(DIGEST_KEY, b"hi")
    assert served.decision.digest.forwarded is None


def test_the_input_of_a_tool_call_is_the_exact_bytes_of_its_arguments() -> None:
    params = b'{"name":"t","arguments":{ "a":1 }}'
    body = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":' + params + b"}"
    served = serve_one(head_of("/erp"), body)
    assert served.decision.digest.input == keyed_digest(DIGEST_KEY, b'{ "a":1 }')
    served = serve_one(TOOL, b'{"amount": 1}')
    assert served.decision.digest.input == keyed_digest(DIGEST_KEY, b'{"amount": 1}')
