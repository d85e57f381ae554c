"""The record store is away: calls go on while there is room, and nothing is lost or doubled."""

from __future__ import annotations

import pytest

from tests.integration import raw
from tests.integration.conftest import MakeCentral, MakeSite
from tests.integration.load import Load
from tests.integration.rules import MODEL
from tests.integration.system import replaced
from tests.integration.waiting import eventually

pytestmark = pytest.mark.integration

_SMALL_SPOOL = replaced(spool_bytes_max="1048576\nsegment_bytes = 262144")
_CALLS = 12
_CALLERS = 6


def test_calls_go_on_and_every_record_arrives_exactly_once(
    make_central: MakeCentral, make_site: MakeSite
) -> None:
    services = make_central()
    daemon = make_site(services=services).start()
    services.kill()
    before = daemon.status().spool
    replies = [raw.ask(daemon.port, raw.chat_request(MODEL)) for _ in range(_CALLS)]
    assert [reply.status for reply in replies] == [200] * _CALLS
    status = daemon.wait_status(
        lambda status: status.spool.durable_seq >= before.durable_seq + 2 * _CALLS, "all records"
    )
    assert status.ready
    assert status.spool.backlog_records >= 2 * _CALLS
    daemon.wait_status(lambda status: status.shipping.consecutive_failures > 0, "a failed attempt")
    services.start()
    daemon.wait_status(lambda status: status.spool.backlog_records == 0, "an empty backlog")
    asked = {reply.decision_id for reply in replies}
    decisions = services.records.all(instance=daemon.instance, kind="decision")
    assert sorted(item["id"] for item in decisions) == sorted(asked)
    completions = services.records.all(instance=daemon.instance, kind="completion")
    assert sorted(item["of"] for item in completions) == sorted(asked)
    seqs = [item["seq"] for item in services.records.all(instance=daemon.instance)]
    assert sorted(seqs) == list(range(len(seqs)))
    assert daemon.stop() == 0


def test_a_full_spool_forwards_nothing(make_central: MakeCentral, make_site: MakeSite) -> None:
    """``spool_full``; and when the store is back, calls go on."""
    services = make_central()
    ends = services.ends
    daemon = make_site(_SMALL_SPOOL, services).start()
    services.kill()
    with Load(daemon.port, _CALLERS) as load:
        daemon.wait_status(lambda status: status.spool.state == "full", "a full spool")
    reached = ends.total()
    reply = raw.ask(daemon.port, raw.chat_request(MODEL))
    assert (reply.status, reply.code) == (503, "spool_full")
    assert reply.headers["retry-after"] == "5"
    assert ends.total() == reached
    status = daemon.status()
    assert (status.ready, status.spool.state) == (False, "full")
    assert status.spool.alarms
    assert daemon.probe("/readyz")[0] == 503
    assert daemon.probe("/livez")[0] == 200
    services.start()
    # Shipping tries again with a growing, random wait.
    eventually(lambda: daemon.status().ready, "room in the spool", 40)
    last = raw.ask(daemon.port, raw.chat_request(MODEL))
    assert last.status == 200
    assert daemon.stop() == 0
    decisions = services.records.all(instance=daemon.instance, kind="decision")
    assert sorted(item["id"] for item in decisions) == sorted([*load.answered, last.decision_id])
