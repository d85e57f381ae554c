"""The disk refuses a write: no answer without a record, and an end that says why."""

from __future__ import annotations

import resource

import pytest

from tests.integration import raw
from tests.integration.conftest import MakeSite
from tests.integration.rules import DENIED_MODEL, MODEL
from tests.integration.system import Daemon

pytestmark = pytest.mark.integration


def _refuse_writes(daemon: Daemon) -> None:
    """From now on the kernel refuses this process every write to a file beyond its first bytes.

    RLIMIT_FSIZE holds for bytes that exist already too; Python ignores the signal.
    """
    hard = resource.prlimit(daemon.child.pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(daemon.child.pid, resource.RLIMIT_FSIZE, (1, hard))


@pytest.mark.parametrize("model", [MODEL, DENIED_MODEL])
def test_a_failed_disk_ends_the_daemon_with_74(make_site: MakeSite, model: str) -> None:
    """``disk_failed`` for whom asked, allowed or not, and nothing reaches the far end."""
    daemon = make_site().start()
    ends = daemon.site.central.ends
    assert raw.ask(daemon.port, raw.chat_request(MODEL)).status == 200
    daemon.wait_status(lambda status: status.spool.backlog_records == 0, "an empty backlog")
    reached = ends.total()
    _refuse_writes(daemon)
    reply = raw.ask(daemon.port, raw.chat_request(model))
    assert (reply.status, reply.code) == (503, "disk_failed")
    assert daemon.wait_exit() == 74
    assert ends.total() == reached
    successor = daemon.site.start()
    assert raw.ask(successor.port, raw.chat_request(MODEL)).status == 200
    found = daemon.records.wait(1, instance=successor.instance, kind="recovered")
    assert daemon.records.members(found[0]["id"])["instance"] == daemon.instance
    assert successor.stop() == 0
