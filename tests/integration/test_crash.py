"""kill -9 under load, again and again: every answered call is in the store, exactly once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration import raw
from tests.integration.conftest import MakeCentral, MakeSite
from tests.integration.load import Load
from tests.integration.rules import MODEL
from tests.integration.system import Daemon, Site, hurried
from tests.integration.waiting import eventually

pytestmark = pytest.mark.integration

ROUNDS = 3
_CALLERS = 6
_ANSWERS = 120


def _crash(place: Site) -> tuple[Daemon, list[str]]:
    """Start, load, kill; the daemon and the ids of the calls that it had answered."""
    daemon = place.start()
    with Load(daemon.port, _CALLERS) as load:
        eventually(lambda: len(load.answered) >= _ANSWERS, "answers under load")
        daemon.kill()
    return daemon, load.answered


def _verify(export: Path, root: str) -> int:
    ended = subprocess.run(
        [sys.executable, "-m", "gatepost", "verify", str(export), "--root", root, "--json"],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert ended.stdout, ended.stderr
    return ended.returncode


def test_every_answered_call_is_in_the_store_exactly_once(
    make_central: MakeCentral, make_site: MakeSite, tmp_path: Path
) -> None:
    services = make_central()
    place = make_site(services=services)
    answered: list[str] = []
    crashed: list[str] = []
    for _ in range(ROUNDS):
        daemon, ids = _crash(place)
        crashed.append(daemon.instance)
        answered += ids
    last = place.start()
    assert raw.ask(last.port, raw.chat_request(MODEL)).status == 200
    assert last.stop() == 0
    decisions = [item["id"] for item in services.records.all(kind="decision")]
    assert len(set(answered)) == len(answered)
    assert set(answered) <= set(decisions)
    assert len(set(decisions)) == len(decisions)
    recovered = services.records.all(kind="recovered")
    found = {services.records.members(item["id"])["instance"] for item in recovered}
    assert found == set(crashed)
    assert (
        _verify(services.records.export(tmp_path / "all.ndjson"), services.home.root_fingerprint)
        != 1
    )
    assert [one for one in (place.home.directory / "spool").iterdir() if one.is_dir()] == []


def test_a_crash_while_the_store_is_away_loses_nothing(
    make_central: MakeCentral, make_site: MakeSite
) -> None:
    services = make_central()
    place = make_site(hurried, services)
    daemon = place.start()
    services.kill()
    with Load(daemon.socket, _CALLERS) as load:
        eventually(lambda: len(load.answered) >= _ANSWERS, "answers under load")
        daemon.kill()
    services.start()
    successor = place.start()
    eventually(lambda: successor.status().shipping.backlog_records == 0, "everything shipped", 40)
    decisions = [item["id"] for item in services.records.all(instance=daemon.instance)]
    assert set(load.answered) <= set(decisions)
    assert successor.stop() == 0


def test_a_start_continues_its_predecessor(make_site: MakeSite) -> None:
    place = make_site()
    first = place.start()
    assert raw.ask(first.port, raw.chat_request(MODEL)).status == 200
    first.kill()
    second = place.start()
    assert second.stop() == 0
    records = second.records
    start, recovered = (
        records.members(records.wait(instance=second.instance, kind=kind)[0]["id"])
        for kind in ("start", "recovered")
    )
    continues = start["continues"]
    assert continues["instance"] == first.instance
    assert recovered["last_seq"] == continues["seq"]
    assert recovered["last_hash"] == continues["record_hash"]
    items = records.all(instance=first.instance)
    last = next(item for item in items if item["seq"] == continues["seq"])
    assert last["record_hash"] == continues["record_hash"]
    assert max(item["seq"] for item in items) == continues["seq"]
    assert records.members(items[0]["id"])["continues_reason"] == "first_start"
