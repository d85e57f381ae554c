"""What slows down a caller who asks for too much, and what the others notice of it: nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from gateway import limits
from tests.integration import raw
from tests.integration.conftest import MakeSite
from tests.integration.rules import DENIED_MODEL, MODEL
from tests.integration.system import Daemon

pytestmark = pytest.mark.integration


@pytest.fixture(scope="session")
def slow_head(daemon: Daemon) -> Iterator[raw.RawConnection]:
    """A request head that stops in its middle, begun as early as possible."""
    with raw.RawConnection(daemon.port) as connection:
        connection.send(b"GET /openai/v1/models HTTP/1.1\r\nHost: localhost\r\n")
        yield connection


@pytest.fixture(autouse=True)
def _begun(slow_head: raw.RawConnection) -> None:
    """Every test here lets the slow head grow old meanwhile."""


def _ask_until(connection: raw.RawConnection, data: bytes, code: str, most: int) -> int:
    """How many answers came before one with ``code``."""
    for number in range(most):
        connection.send(data)
        if connection.reply().code == code:
            return number
    raise AssertionError(f"no {code} within {most} requests")


def test_guessing_tokens_is_slowed_down(make_site: MakeSite) -> None:
    """``identity_rate_limited``, for the guessing caller alone."""
    daemon = make_site().start()
    issuer = daemon.site.central.ends.issuer
    guess = raw.chat_request(MODEL, headers={"X-Gatepost-Delegation": issuer.forged()})
    with raw.RawConnection(daemon.port) as connection:
        most = limits.IDENTITY_FAILURES_PER_SECOND_MAX * 20
        answered = _ask_until(connection, guess, "identity_rate_limited", most)
        assert answered >= limits.IDENTITY_FAILURES_PER_SECOND_MAX
        connection.send(raw.chat_request(MODEL))
        assert connection.reply().status == 200
    assert daemon.decided() == answered + 1
    assert raw.ask(daemon.socket, guess).code == "token_signature_invalid"


def test_a_denial_loop_does_not_fill_the_spool(make_site: MakeSite) -> None:
    """``too_many_denials``: what is above the bound is counted and leaves no record."""
    daemon = make_site().start()
    denied = raw.chat_request(DENIED_MODEL)
    with raw.RawConnection(daemon.port) as connection:
        most = limits.DENIALS_BURST_MAX * 10
        answered = _ask_until(connection, denied, "too_many_denials", most)
        assert answered >= limits.DENIALS_BURST_MAX
        connection.send(raw.chat_request(MODEL))
        assert connection.reply().status == 200
    assert daemon.decided() == answered + 1
    assert daemon.turned_away() == {"too_many_denials": 1}


def test_the_call_above_the_most_in_flight_is_turned_away(daemon: Daemon) -> None:
    """``too_busy``; and when the others have hung up there is room again."""
    slow = raw.chat_request("fault-slow")
    with ExitStack() as opened:
        for _ in range(limits.CALLS_IN_FLIGHT_MAX):
            connection = opened.enter_context(raw.RawConnection(daemon.socket))
            connection.send(slow)
        daemon.wait_status(
            lambda status: status.calls_in_flight == limits.CALLS_IN_FLIGHT_MAX,
            "as many calls in flight as there may be",
        )
        reply = raw.ask(daemon.port, raw.chat_request(MODEL))
        assert (reply.status, reply.code) == (503, "too_busy")
        assert reply.headers["retry-after"] == "1"
    daemon.wait_status(lambda status: status.calls_in_flight == 0, "the end of all calls")
    assert raw.ask(daemon.port, raw.chat_request(MODEL)).status == 200


def test_a_head_that_does_not_end_is_too_slow(daemon: Daemon, slow_head: raw.RawConnection) -> None:
    """``too_slow``, at a deadline that further bytes would not have moved."""
    reply = slow_head.reply("GET")
    assert (reply.status, reply.code) == (408, "too_slow")
    assert daemon.turned_away()["too_slow"] == 1
