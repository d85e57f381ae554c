"""Looking at a spool while its daemon writes, ships, dies and starts again: nothing is disturbed,
and nothing is called damage that is none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.integration import raw
from tests.integration.conftest import MakeCentral, MakeSite
from tests.integration.load import Load
from tests.integration.rules import MODEL
from tests.integration.system import Site, impatient
from tests.integration.waiting import eventually

pytestmark = pytest.mark.integration


def _run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "gatepost", *arguments]
    return subprocess.run(command, capture_output=True, timeout=120, check=False)


def _spool(place: Site, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return _run("spool", *arguments, "--config", str(place.home.sidecar_toml))


def _listed(place: Site) -> dict[str, Any]:
    ended = _spool(place, "ls", "--json")
    assert ended.returncode == 0, ended.stderr
    return {one["instance"]: one for one in msgspec.json.decode(ended.stdout)}


def _states(place: Site, *options: str) -> tuple[int, dict[str, dict[str, str]]]:
    ended = _spool(place, "verify", "--json", *options)
    assert ended.stdout, ended.stderr
    found = msgspec.json.decode(ended.stdout)["instances"]
    return ended.returncode, {
        one["instance"]: {verdict["name"]: verdict["state"] for verdict in one["verdicts"]}
        for one in found
    }


def test_a_spool_can_be_looked_at_while_it_is_written_and_shipped(make_site: MakeSite) -> None:
    place = make_site()
    daemon = place.start()
    root = place.central.home.root_fingerprint
    daemon.wait_status(lambda status: status.instance.certificate_serial is not None, "certified")
    with Load(daemon.socket, 1) as load:
        eventually(lambda: len(load.answered) >= 20, "answers under load")
        first = _listed(place)[daemon.instance]
        code, found = _states(place, "--root", root)
        second = _listed(place)[daemon.instance]
    assert code == 0, found
    assert {name for name, state in found[daemon.instance].items() if state != "true"} == {"tail"}
    assert {"signatures", "entitlement"} < set(found[daemon.instance])
    assert second["last_seq"] > first["last_seq"]
    for one in (first, second):
        assert (one["state"], one["damaged"], one["sealed"]) == ("live", 0, False)
    assert daemon.status().spool.state == "ok"
    assert daemon.stop() == 0
    assert _listed(place) == {}


def test_what_a_killed_daemon_left_is_exported_and_its_successor_undisturbed(
    make_central: MakeCentral, make_site: MakeSite, tmp_path: Path
) -> None:
    services = make_central()
    place = make_site(impatient, services)
    daemon = place.start()
    daemon.wait_status(lambda status: status.instance.certificate_serial is not None, "certified")
    services.kill()
    answers = [raw.ask(daemon.port, raw.chat_request(MODEL)) for _ in range(5)]
    daemon.kill()
    code, found = _states(place)
    assert (code, found[daemon.instance]["tail"]) == (3, "incomplete")
    assert "false" not in found[daemon.instance].values()
    _exported(place, services.home.root_fingerprint, tmp_path / "export.ndjson", len(answers))
    successor = place.start()
    listed = _listed(place)
    assert (listed[successor.instance]["state"], len(listed)) == ("live", 2)
    eventually(lambda: _listed(place)[daemon.instance]["settled"], "its end recorded")
    assert _listed(place)[daemon.instance]["state"] == "shipping"
    services.start()
    eventually(lambda: set(_listed(place)) == {successor.instance}, "the dead one shipped", 40)


def _exported(place: Site, root: str, path: Path, calls: int) -> None:
    """Export what is there; the verifier finds nothing false in it, and nothing missing."""
    ended = _spool(place, "export", "-o", str(path))
    assert (ended.returncode, b"the chain has no seal" in ended.stderr) == (3, True)
    verified = _run("verify", str(path), "--root", root, "--json")
    assert verified.returncode == 3, verified.stdout
    report = msgspec.json.decode(verified.stdout)
    states = {verdict["name"]: verdict["state"] for verdict in report["verdicts"]}
    assert {name for name, state in states.items() if state == "incomplete"} <= {
        *("tail", "outcomes", "inclusion", "consistency")
    }
    assert report["records"] > calls
