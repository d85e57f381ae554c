"""SIGTERM: open calls end or are cut, the chain is sealed, what is left is shipped."""

from __future__ import annotations

import http.client
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.integration import raw
from tests.integration.conftest import MakeCentral, MakeSite
from tests.integration.rules import MODEL
from tests.integration.system import Daemon, hurried
from tests.integration.waiting import eventually

pytestmark = pytest.mark.integration


@contextmanager
def _open_stream(daemon: Daemon) -> Iterator[http.client.HTTPResponse]:
    """A streamed answer that has begun and does not end."""
    with raw.RawConnection(daemon.port) as connection:
        connection.send(raw.chat_request("fault-stall-stream", stream=True))
        response = connection.begin_reply()
        assert response.status == 200
        yield response


def test_an_idle_daemon_stops_at_once_and_leaves_nothing(make_site: MakeSite) -> None:
    daemon = make_site().start()
    assert raw.ask(daemon.port, raw.chat_request(MODEL)).status == 200
    assert daemon.stop() == 0
    kinds = [item["kind"] for item in daemon.records.all(instance=daemon.instance)]
    assert kinds[0] == "start"
    assert kinds[-1] == "seal"
    assert kinds.count("decision") == kinds.count("completion") == 1
    spool = daemon.site.home.directory / "spool"
    assert not (spool / daemon.instance).exists()
    assert not daemon.site.home.agent_socket.exists()


def test_a_stop_lets_a_stream_end_and_takes_no_new_call(make_site: MakeSite) -> None:
    """``draining`` for a call on a kept connection; the stream is cut when the time is over."""
    daemon = make_site(hurried).start()
    with _open_stream(daemon) as stream, raw.RawConnection(daemon.port) as idle:
        idle.send(raw.chat_request(MODEL))
        assert idle.reply().status == 200
        daemon.signal(signal.SIGTERM)
        eventually(lambda: daemon.probe("/readyz")[0] == 503, "not ready")
        idle.send(raw.chat_request(MODEL))
        reply = idle.reply()
        assert (reply.status, reply.code) == (503, "draining")
        with pytest.raises(ConnectionRefusedError):
            raw.RawConnection(daemon.port)
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            stream.read()
    assert daemon.wait_exit() == 0
    completions = daemon.records.all(instance=daemon.instance, kind="completion")
    assert sorted(item["outcome"] for item in completions) == ["ok", "shutdown"]
    sealed = daemon.records.all(instance=daemon.instance, kind="seal")
    assert len(sealed) == 1
    counters = daemon.records.members(sealed[0]["id"])["counters"]
    assert counters["decisions"] == {"allow": 2}
    assert counters["turned_away"]["draining"] == {"tcp": 1}


def test_a_stream_that_ends_in_time_ends_cleanly(make_site: MakeSite) -> None:
    daemon = make_site().start()
    with raw.RawConnection(daemon.port) as connection:
        connection.send(raw.chat_request(MODEL, stream=True))
        response = connection.begin_reply()
        daemon.signal(signal.SIGTERM)
        assert response.read().endswith(b"data: [DONE]\n\n")
    assert daemon.wait_exit() == 0


def test_with_the_store_away_the_exit_code_says_so(
    make_central: MakeCentral, make_site: MakeSite
) -> None:
    services = make_central()
    daemon = make_site(hurried, services).start()
    assert raw.ask(daemon.port, raw.chat_request(MODEL)).status == 200
    services.kill()
    assert raw.ask(daemon.port, raw.chat_request(MODEL)).status == 200
    daemon.signal(signal.SIGTERM)
    assert daemon.wait_exit() == 75
    services.start()
    successor = daemon.site.start()
    found = services.records.wait(1, instance=daemon.instance, kind="seal")
    assert len(found) == 1
    completions = services.records.all(instance=daemon.instance, kind="completion")
    assert [item["outcome"] for item in completions] == ["ok", "ok"]
    assert successor.stop() == 0


def test_a_second_signal_changes_nothing(make_site: MakeSite) -> None:
    daemon = make_site(hurried).start()
    with _open_stream(daemon):
        for _ in range(3):
            daemon.signal(signal.SIGTERM)
        eventually(lambda: daemon.probe("/livez")[0] == 200, "still alive")
        assert daemon.wait_exit() == 0
