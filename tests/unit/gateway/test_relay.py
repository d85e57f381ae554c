"""The answer on its way back: as it comes, ended as it ended, and what is known of it."""

from __future__ import annotations

import json
from collections.abc import Callable

import msgspec
import pytest

from gateway.limits import JSON_INTEGER_MAX
from gateway.record import Usage
from gateway.relay import OVERHEAD_HEADER
from gateway.seal import keyed_digest
from tests.sim.disk import Faults
from tests.unit.gateway.call_ends import JSON, SSE, Piece, Script
from tests.unit.gateway.world_builder import (
    ALL,
    CHAT,
    DIGEST_KEY,
    Place,
    Served,
    chat,
    policy_text,
    serve_one,
)

NO_USAGE = Usage(None, None, None, None, None)
FIRST = b'data: {"model":"gpt-4o-2026","choices":[{"delta":{"content":"h"}}]}\n\n'
COUNTED = b'data: {"model":"gpt-4o-2026","usage":{"prompt_tokens":7,"completion_tokens":5}}\n\n'
LAST = b'data: {"choices":[{"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"


def streamed(*pieces: Piece, **options: object) -> Served:
    script = Script(headers=(SSE, ("x-request-id", "req-1")), body=pieces)
    return serve_one(CHAT, chat(stream=True), scripts={"openai": script}, **options)  # type: ignore[arg-type]  # as serve_one names them


# -- streams ---------------------------------------------------------------------------------


def test_a_stream_passes_chunk_by_chunk() -> None:
    seen: list[int] = []

    def watch(served: Callable[[], int]) -> Callable[[], None]:
        return lambda: seen.append(served())

    def prepare(place: Place) -> None:
        given = watch(lambda: sum(step[:2] == ("application", "send") for step in place.steps))
        script = Script(headers=(SSE,), body=(given, FIRST, given, LAST, given, DONE))
        place.far.set("openai", script)

    served = serve_one(CHAT, chat(stream=True), prepare=prepare)
    assert seen == [0, 1, 2]
    assert served.application.received == FIRST + LAST + DONE
    assert (served.application.ended, served.completion.outcome) == (True, "ok")


def test_the_head_of_a_stream_does_not_wait_for_its_body() -> None:
    served = streamed(20.0, FIRST, DONE)
    first_byte = served.completion.latency_us.first_byte
    assert first_byte is not None
    assert first_byte < 1_000_000 < 20_000_000 <= served.completion.latency_us.total


def test_what_was_served_is_recorded() -> None:
    completion = streamed(FIRST, COUNTED, LAST, DONE).completion
    assert (completion.served, completion.upstream_request_id) == ("gpt-4o-2026", "req-1")
    assert completion.usage == Usage(7, 5, None, None, None)
    assert completion.finish_reasons == ["stop"]


def test_a_stream_without_its_last_event_was_cut_however_cleanly_it_closed() -> None:
    served = streamed(FIRST, LAST)
    assert (served.application.aborted, served.application.ended) == (True, False)
    assert served.completion.outcome == "upstream_error"
    assert served.completion.attempts[0].code == "upstream_invalid"


@pytest.mark.parametrize(
    ("ending", "outcome"),
    [(("upstream_invalid",), "upstream_error"), ((99.0,), "timeout")],
)
def test_what_was_seen_of_a_cut_stream_is_recorded(ending: tuple[Piece, ...], outcome: str) -> None:
    completion = streamed(FIRST, COUNTED, *ending).completion
    assert completion.outcome == outcome
    assert (completion.served, completion.usage.input) == ("gpt-4o-2026", 7)


def test_what_was_seen_until_the_application_left_is_recorded() -> None:
    completion = streamed(COUNTED, FIRST, FIRST, gone_after=1).completion
    assert (completion.outcome, completion.usage.output) == ("client_abort", 5)
    assert completion.bytes.out == len(COUNTED)


# -- what the record says --------------------------------------------------------------------


@pytest.mark.parametrize(
    "tokens", [JSON_INTEGER_MAX + 1, 2**63, 10**30, -1, 1.5, "7", None, [7], True]
)
def test_a_count_that_no_record_can_hold_is_null(tokens: object) -> None:
    usage = {"prompt_tokens": tokens, "completion_tokens": 3}
    body = json.dumps({"model": "m", "usage": usage}).encode()
    served = serve_one(CHAT, chat(), scripts={"openai": Script(body=(body,))})
    assert served.application.received == body
    assert served.completion.usage.input is None


def test_the_largest_count_stands() -> None:
    body = json.dumps({"usage": {"prompt_tokens": JSON_INTEGER_MAX}}).encode()
    served = serve_one(CHAT, chat(), scripts={"openai": Script(body=(body,))})
    assert served.completion.usage.input == JSON_INTEGER_MAX


def test_the_digest_is_of_the_exact_bytes_that_were_passed_on() -> None:
    served = streamed(FIRST, LAST, DONE)
    assert served.completion.digest.response == keyed_digest(DIGEST_KEY, FIRST + LAST + DONE)
    assert served.completion.bytes.out == len(FIRST + LAST + DONE)
    served = streamed(FIRST, "upstream_invalid")
    assert served.completion.digest.response == keyed_digest(DIGEST_KEY, FIRST)


def test_long_words_of_an_upstream_are_cut_and_named() -> None:
    body = json.dumps({"model": "m" * 500, "choices": [{"finish_reason": "r" * 99}] * 20}).encode()
    script = Script(body=(body,), headers=(JSON, ("x-request-id", "q" * 500)))
    completion = serve_one(CHAT, chat(), scripts={"openai": script}).completion
    assert completion.served == "m" * 128
    assert (len(completion.finish_reasons), completion.upstream_request_id) == (1, "q" * 96)
    cut = [(one.path, one.length, one.digest) for one in completion.cut]
    assert cut == [
        ("served", 500, keyed_digest(DIGEST_KEY, b"m" * 500)),
        ("finish_reasons[0]", 99, keyed_digest(DIGEST_KEY, b"r" * 99)),
        ("upstream_request_id", 500, keyed_digest(DIGEST_KEY, b"q" * 500)),
    ]


@pytest.mark.parametrize("text", [ALL, policy_text(record_commit={"*": "before_response"})])
def test_durations_are_those_of_the_steps(text: str) -> None:
    served = serve_one(
        CHAT,
        chat(),
        text=text,
        faults=Faults(flush_seconds=5.0),
        scripts={"openai": Script(thinks=7, body=(2.0, b"{}"))},
    )
    latency = served.completion.latency_us
    assert latency.first_byte is not None
    assert latency.upstream is not None
    overlapped = text != ALL
    assert latency.commit // 1_000_000 == (0 if overlapped else 5)
    assert latency.first_byte // 1_000_000 == (7 if overlapped else 12)
    assert latency.upstream // 1_000_000 == 9
    assert latency.total // 1_000_000 == (9 if overlapped else 14)


def test_a_commit_that_outlasts_the_upstream_counts_only_the_wait() -> None:
    served = serve_one(
        CHAT,
        chat(),
        text=policy_text(record_commit={"*": "before_response"}),
        faults=Faults(flush_seconds=5.0),
        scripts={"openai": Script(thinks=3)},
    )
    assert served.completion.latency_us.commit // 100_000 in (19, 20)


# -- heads -----------------------------------------------------------------------------------


def test_a_stated_length_is_passed_on_and_no_other_framing() -> None:
    headers = (JSON, ("content-length", "2"), ("transfer-encoding", "x"), ("connection", "y"))
    served = serve_one(CHAT, chat(), scripts={"openai": Script(headers=headers)})
    assert served.application.content_length == 2
    assert set(served.application.headers) == {"content-type", "x-gatepost-decision-id"}
    assert serve_one(CHAT, chat()).application.content_length is None


def test_the_time_spent_here_is_told_only_where_it_is_asked_for() -> None:
    assert OVERHEAD_HEADER not in serve_one(CHAT, chat()).application.headers

    def ask(place: Place) -> None:
        place.change(overhead_header=True)

    served = serve_one(
        CHAT,
        chat(),
        prepare=ask,
        faults=Faults(flush_seconds=5.0),
        scripts={"openai": Script(thinks=20)},
    )
    assert int(served.application.headers[OVERHEAD_HEADER]) // 1_000_000 == 5


def test_an_answer_without_a_body_ends_cleanly() -> None:
    head = msgspec.structs.replace(CHAT, method="GET")
    script = Script(status=204, headers=(), body=())
    served = serve_one(head, scripts={"openai": script})
    assert (served.application.status, served.application.ended) == (204, True)
    assert served.completion.digest.response == keyed_digest(DIGEST_KEY, b"")
