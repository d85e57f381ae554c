"""Upstreams that fail and applications that hang up: a clear end for each, in the completion."""

from __future__ import annotations

import http.client
from collections.abc import Callable

import httpx2
import openai
import pytest

from gatepost.far_end.faults import EVENTS_BEFORE_FAULT
from gatepost.far_end.provider import HUNG_UP
from tests.integration import raw
from tests.integration.rules import MODEL
from tests.integration.system import Daemon
from tests.integration.waiting import eventually

pytestmark = pytest.mark.integration


def _hung_up(daemon: Daemon) -> int:
    return daemon.site.central.ends.provider.counts().get(HUNG_UP, 0)


@pytest.mark.parametrize("address", [lambda daemon: daemon.port, lambda daemon: daemon.socket])
def test_a_cut_stream_never_ends_cleanly(
    daemon: Daemon, address: Callable[[Daemon], int | str]
) -> None:
    with raw.RawConnection(address(daemon)) as connection:
        connection.send(raw.chat_request("fault-cut-stream", stream=True))
        response = connection.begin_reply()
        decision_id = response.headers["x-gatepost-decision-id"]
        assert response.status == 200
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)) as cut:
            response.read()
    if isinstance(cut.value, http.client.IncompleteRead):
        assert cut.value.partial.count(b"\n\n") == EVENTS_BEFORE_FAULT
    completion = daemon.records.completion(decision_id)
    assert (completion["outcome"], completion["status"]) == ("upstream_error", 200)
    assert [attempt["code"] for attempt in completion["attempts"]] == ["upstream_invalid"]


def test_a_cut_body_never_ends_cleanly(daemon: Daemon) -> None:
    with raw.RawConnection(daemon.port) as connection:
        connection.send(raw.chat_request("fault-cut-body"))
        response = connection.begin_reply()
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            response.read()
    completion = daemon.records.completion(response.headers["x-gatepost-decision-id"])
    assert completion["outcome"] == "upstream_error"


@pytest.mark.parametrize(("model", "status"), [("fault-500", 500), ("fault-429", 429)])
def test_the_providers_own_errors_pass(daemon: Daemon, model: str, status: int) -> None:
    reply = raw.ask(daemon.port, raw.chat_request(model))
    assert reply.status == status
    assert b"The stand-in fails on purpose." in reply.body
    assert reply.headers.get("retry-after") == ("1" if status == 429 else None)
    completion = daemon.records.completion(reply.decision_id)
    assert (completion["outcome"], completion["status"]) == ("upstream_error", status)


def test_a_call_that_may_have_been_read_is_not_sent_again(daemon: Daemon) -> None:
    provider = daemon.site.central.ends.provider
    before = provider.total()
    reply = raw.ask(daemon.port, raw.chat_request("fault-refuse"))
    assert reply.status == 502
    assert provider.total() == before + 1
    assert len(daemon.records.completion(reply.decision_id)["attempts"]) == 1


@pytest.mark.parametrize("address", [lambda daemon: daemon.port, lambda daemon: daemon.socket])
@pytest.mark.parametrize("stream", [True, False])
def test_an_application_that_hangs_up_takes_its_upstream_call_with_it(
    daemon: Daemon, address: Callable[[Daemon], int | str], stream: bool
) -> None:
    before, decided = _hung_up(daemon), daemon.decided()
    connection = raw.RawConnection(address(daemon))
    model = "fault-stall-stream" if stream else "fault-slow"
    reached = daemon.site.central.ends.provider.total()
    connection.send(raw.chat_request(model, stream=stream))
    if stream:
        assert connection.begin_reply().status == 200
    eventually(lambda: daemon.site.central.ends.provider.total() > reached, "the upstream call")
    connection.hang_up()
    eventually(lambda: _hung_up(daemon) == before + 1, "the end of the upstream call")
    assert daemon.decided() == decided + 1
    decision = daemon.newest()
    assert daemon.records.completion(decision.id)["outcome"] == "client_abort"


def test_a_stream_that_falls_silent_is_cut(daemon: Daemon) -> None:
    with raw.RawConnection(daemon.port) as connection:
        connection.send(raw.chat_request("fault-stall-stream", route="/hasty", stream=True))
        response = connection.begin_reply()
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            response.read()
    completion = daemon.records.completion(response.headers["x-gatepost-decision-id"])
    assert completion["outcome"] == "timeout"
    eventually(lambda: daemon.status().calls_in_flight == 0, "the end of the call")


def test_the_sdk_sees_a_cut_stream_as_an_error(daemon: Daemon) -> None:
    with (
        openai.OpenAI(base_url=daemon.openai_url, api_key="none", max_retries=0) as client,
        pytest.raises((openai.APIConnectionError, httpx2.TransportError)),
    ):
        list(
            client.chat.completions.create(
                model="fault-cut-stream", messages=[{"role": "user", "content": "Hi"}], stream=True
            )
        )


def test_after_every_fault_calls_go_on(daemon: Daemon) -> None:
    assert raw.ask(daemon.port, raw.chat_request(MODEL)).status == 200
    assert daemon.status().calls_in_flight == 0
