"""``gatepost drain``: what killed daemons left is in the store once, and the volume is empty."""

from __future__ import annotations

import signal
from datetime import datetime

import msgspec
import pytest

from gatepost import admin_socket
from tests.integration import raw
from tests.integration.conftest import MakeCentral, MakeSite
from tests.integration.load import Load
from tests.integration.rules import MODEL
from tests.integration.waiting import eventually

pytestmark = pytest.mark.integration

_CALLERS = 6
_ANSWERS = 120
_TIMEOUT_SECONDS = 6.0


def test_a_volume_that_a_killed_daemon_left_is_drained_once_the_store_is_back(
    make_central: MakeCentral, make_site: MakeSite
) -> None:
    services = make_central()
    place = make_site(services=services)
    daemon = place.start()
    services.kill()
    with Load(daemon.socket, _CALLERS) as load:
        eventually(lambda: len(load.answered) >= _ANSWERS, "answers under load")
        daemon.kill()
    services.start()
    drained = place.drain()
    assert drained.code == 0, drained.err
    assert [one for one in (place.home.directory / "spool").iterdir() if one.is_dir()] == []
    last = drained.told[-1]
    assert (last.phase, last.found, last.gone, last.shipped) == ("ended", 1, 1, last.records)
    ids = [item["id"] for item in services.records.all(instance=daemon.instance)]
    assert set(load.answered) <= set(ids)
    assert len(set(ids)) == len(ids) == last.records
    own = services.records.all(instance=last.instance or "")
    assert [item["kind"] for item in own] == ["start", "recovered", "seal"]


def test_with_the_store_away_it_ends_in_time_and_deletes_nothing(
    make_central: MakeCentral, make_site: MakeSite
) -> None:
    services = make_central()
    place = make_site(services=services)
    daemon = place.start()
    services.kill()
    assert raw.ask(daemon.port, raw.chat_request(MODEL)).status == 200
    daemon.kill()
    before = place.spooled()
    drained = place.drain("--timeout-seconds", str(_TIMEOUT_SECONDS))
    assert drained.code == 75
    assert _lived_seconds(drained.err) < _TIMEOUT_SECONDS
    assert place.spooled() == before
    (left,) = drained.told[-1].left
    assert left.instance == daemon.instance
    assert f"left: {daemon.instance}" in drained.err


def test_a_watcher_leaves_the_living_alone_and_takes_the_dead(make_site: MakeSite) -> None:
    place = make_site()
    daemon = place.start()
    socket = str(place.home.directory / "run" / "drain" / "s")
    with place.watching("--admin-socket", socket) as watcher:
        eventually(lambda: b'"ready":true' in _status(socket), "a watcher that watches")
        assert raw.ask(daemon.port, raw.chat_request(MODEL)).status == 200
        daemon.kill()
        spool = place.home.directory / "spool"
        eventually(lambda: not (spool / daemon.instance).exists(), "a drained directory")
        watcher.send_signal(signal.SIGTERM)
        out, _ = watcher.communicate(timeout=40)
        assert watcher.returncode == 0, out
    assert [one for one in spool.iterdir() if one.is_dir()] == []
    kinds = [item["kind"] for item in daemon.records.all(instance=daemon.instance)]
    assert kinds[0] == "start"
    assert "decision" in kinds


def _lived_seconds(log: str) -> float:
    """From the first line of the drainer's log to the last: how busy the machine is with starting
    an interpreter is not its own doing."""
    lines = [msgspec.json.decode(line) for line in log.splitlines() if line.startswith("{")]
    assert lines[-1]["event"] == "stopped"
    first, last = (datetime.fromisoformat(line["time"]) for line in (lines[0], lines[-1]))
    return (last - first).total_seconds()


def _status(socket: str) -> bytes:
    try:
        return bytes(admin_socket.ask(socket, "/status"))
    except Exception:
        return b""
