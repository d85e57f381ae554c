"""SIGSTOP and SIGCONT under load: a process stands still for a while, as on a paused machine."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.integration import raw
from tests.integration.conftest import MakeCentral, MakeSite
from tests.integration.load import Load
from tests.integration.rules import MODEL
from tests.integration.system import Daemon
from tests.integration.waiting import eventually
from tests.system.proof import nothing_lost_or_doubled, report, shipped

pytestmark = [pytest.mark.system, pytest.mark.timeout(150)]

_CALLERS = 6
_ANSWERS = 60
_STANDSTILL_SECONDS = 6.0
"""Longer than an idle connection to the central services is kept, and than many refreshes."""


def _more(load: Load, count: int = _ANSWERS) -> None:
    """Wait until that many more calls were answered."""
    least = len(load.answered) + count
    eventually(lambda: len(load.answered) >= least, f"{count} more answers", 40)


def _stopped(pid: int) -> bool:
    """Whether the kernel has stopped every thread of the process."""
    states = [
        (task / "stat").read_text().rpartition(")")[2].split()[0]
        for task in Path(f"/proc/{pid}/task").iterdir()
    ]
    return set(states) == {"T"}


def test_a_daemon_that_stood_still_goes_on_as_before(
    make_central: MakeCentral, make_site: MakeSite, tmp_path: Path
) -> None:
    services = make_central()
    daemon = make_site(services=services).start()
    with Load(daemon.port, _CALLERS) as load:
        _more(load)
        daemon.signal(signal.SIGSTOP)
        eventually(lambda: _stopped(daemon.child.pid), "the standstill")
        answered, until = len(load.answered), time.perf_counter() + _STANDSTILL_SECONDS
        eventually(lambda: time.perf_counter() >= until, "some seconds of standstill")
        assert len(load.answered) <= answered + _CALLERS, "only what was under way"
        daemon.signal(signal.SIGCONT)
        _more(load)
    _as_before(daemon)
    assert daemon.stop() == 0
    nothing_lost_or_doubled(services, load.answered)
    report(services, tmp_path)


def test_central_services_that_stand_still_hold_up_shipping_and_nothing_else(
    make_central: MakeCentral, make_site: MakeSite, tmp_path: Path
) -> None:
    """What was sent to them and given up is taken in later, and then comes a second time."""
    services = make_central()
    daemon = make_site(services=services).start()
    with Load(daemon.port, _CALLERS) as load:
        _more(load)
        services.signal(signal.SIGSTOP)
        _more(load)
        status = daemon.wait_status(
            lambda status: status.shipping.consecutive_failures > 0, "a batch that nobody answers"
        )
        assert status.ready
        _more(load)
        services.signal(signal.SIGCONT)
        _more(load)
    _as_before(daemon)
    assert daemon.stop() == 0
    nothing_lost_or_doubled(services, load.answered)
    report(services, tmp_path)


def _as_before(daemon: Daemon) -> None:
    """Ready, in time, and everything leaves."""
    assert raw.ask(daemon.port, raw.chat_request(MODEL)).status == 200
    shipped(daemon)
    status = daemon.wait_status(lambda status: status.ready, "readiness")
    assert status.clock_suspect is False
    assert status.shipping.consecutive_failures == 0
    assert status.shipping.lost == 0
    assert status.spool.damaged_records == 0
