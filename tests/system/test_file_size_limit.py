"""RLIMIT_FSIZE: the kernel writes a part of what is given and then refuses, in a real process.

Python ignores SIGXFSZ, so a write beyond the limit fails with EFBIG; a daemon that died of the
signal would end with another code than these tests want.
"""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from tests.integration import raw
from tests.integration.conftest import MakeCentral, MakeSite
from tests.integration.load import Load
from tests.integration.rules import MODEL
from tests.integration.system import Central, Daemon, replaced
from tests.integration.waiting import eventually
from tests.system.proof import nothing_lost_or_doubled, report, shipped

pytestmark = [pytest.mark.system, pytest.mark.timeout(150)]

_SMALL = replaced(spool_bytes_max="16777216\nsegment_bytes = 262144")
_BELOW_A_SEGMENT = 200 * 1024
_INTO_THE_FIRST = 100 * 1024 + 7
_CALLERS = 6


def _limit(daemon: Daemon, bytes_max: int) -> None:
    """How far into a file the daemon may write from now on; -1 for any."""
    hard = resource.prlimit(daemon.child.pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(daemon.child.pid, resource.RLIMIT_FSIZE, (bytes_max, hard))


def _calls_until_refused(daemon: Daemon) -> tuple[list[str], raw.Reply]:
    """Ids of what was answered, and the first answer that was a refusal."""
    answered: list[str] = []
    with raw.RawConnection(daemon.port) as connection:
        while True:
            connection.send(raw.chat_request(MODEL))
            reply = connection.reply()
            if reply.status != 200:
                return answered, reply
            answered.append(reply.decision_id)
            assert len(answered) < 1_000


def test_a_segment_that_cannot_be_prepared_stops_admission_before_any_write_fails(
    make_central: MakeCentral, make_site: MakeSite, tmp_path: Path
) -> None:
    """And calls go on, in the same process, once it can."""
    services = make_central()
    daemon = make_site(_SMALL, services).start()
    _limit(daemon, _BELOW_A_SEGMENT)
    answered, refused = _calls_until_refused(daemon)
    assert (refused.status, refused.code) == (503, "spool_full")
    reached = services.ends.total()
    assert raw.ask(daemon.port, raw.chat_request(MODEL)).code == "spool_full"
    assert services.ends.total() == reached
    spool = daemon.status().spool
    assert (spool.state, spool.may_grow) == ("full", False)
    assert "File too large" in (spool.reason or "")
    _limit(daemon, resource.RLIM_INFINITY)
    daemon.wait_status(lambda status: status.ready, "room for a segment")
    answered.append(raw.ask(daemon.port, raw.chat_request(MODEL)).decision_id)
    assert daemon.stop() == 0
    _proved(services, answered, tmp_path)


def test_a_write_that_fails_half_way_ends_the_daemon_and_loses_nothing_answered(
    make_central: MakeCentral, make_site: MakeSite, tmp_path: Path
) -> None:
    services = make_central()
    before = services.ends.total()
    daemon = make_site(services=services).start()
    _limit(daemon, _INTO_THE_FIRST)
    with Load(daemon.port, _CALLERS) as load:
        eventually(lambda: daemon.child.returncode is not None, "the end of a failed disk", 60)
    assert daemon.child.returncode == 74
    assert load.answered
    segment = next((daemon.site.home.directory / "spool" / daemon.instance).glob("seg-*.log"))
    with segment.open("rb") as file:
        file.seek(_INTO_THE_FIRST - 1)
        assert file.read(1) != b"\0", "the kernel wrote up to the limit"
        assert file.read(64) == bytes(64), "and nothing beyond it"
    successor = daemon.site.start()
    answer = raw.ask(successor.port, raw.chat_request(MODEL))
    assert answer.status == 200
    shipped(successor)
    assert successor.stop() == 0
    _proved(services, [*load.answered, answer.decision_id], tmp_path)
    allowed = services.records.all(kind="decision", outcome="allow")
    assert services.ends.total() - before <= len(allowed), "what reached the provider was decided"


def _proved(services: Central, answered: list[str], directory: Path) -> None:
    nothing_lost_or_doubled(services, answered)
    assert report(services, directory).records > len(answered)
