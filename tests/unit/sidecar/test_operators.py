"""What operators and probes can ask, over a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import anyio
import msgspec
import pytest
from anyio.abc import ByteStream
from prometheus_client.parser import text_string_to_metric_families

from gateway.documents import Counters
from gateway.errors import CODES
from gateway.vocabulary import COMPLETION_OUTCOMES, OUTCOMES
from sidecar.alarms import ALARMS
from sidecar.recent import RecentDecision
from sidecar.status import DaemonStatus, SpoolReport
from tests import specimens
from tests.unit.sidecar.operators_end import Daemon, Follower, ask, served
from tests.unit.sidecar.status_specimen import POLICY, SPOOL, STATUS

pytestmark = pytest.mark.anyio
Connect = Callable[[], Awaitable[ByteStream]]


@pytest.fixture
def daemon() -> Daemon:
    return Daemon()


@pytest.fixture
async def admin(daemon: Daemon, tmp_path: Path) -> AsyncIterator[Connect]:
    async with served(daemon, daemon.operators().handle, str(tmp_path / "a" / "s")) as connect:
        yield connect


@pytest.fixture
async def probe(daemon: Daemon, tmp_path: Path) -> AsyncIterator[Connect]:
    async with served(daemon, daemon.probes().handle, str(tmp_path / "p" / "s")) as connect:
        yield connect


# -- the admin socket ------------------------------------------------------------------------


async def test_status_is_the_whole_state(daemon: Daemon, admin: Connect) -> None:
    reply = await ask(admin, "GET", "/status")
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert msgspec.json.decode(reply.body, type=DaemonStatus) == STATUS


async def test_policy_and_spool_have_paths_of_their_own(admin: Connect) -> None:
    policy = await ask(admin, "GET", "/policy/status")
    assert msgspec.json.decode(policy.body)["version"] == POLICY.version
    spool = await ask(admin, "GET", "/spool/status")
    assert msgspec.json.decode(spool.body, type=SpoolReport).spool == SPOOL


async def test_a_refresh_is_asked_for_and_its_result_told(daemon: Daemon, admin: Connect) -> None:
    reply = await ask(admin, "POST", "/policy/refresh")
    assert msgspec.json.decode(reply.body) == {"result": "refreshed"}
    assert daemon.refreshed == 1


@pytest.mark.parametrize("path", ["/", "/status/", "/livez", "/metrics", "/openai/v1/models"])
async def test_another_path_is_unknown(admin: Connect, path: str) -> None:
    assert (await ask(admin, "GET", path)).status == 404


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/status", "GET"),
        ("DELETE", "/spool/status", "GET"),
        ("POST", "/policy/status", "GET"),
        ("GET", "/policy/refresh", "POST"),
        ("PUT", "/decisions", "GET"),
    ],
)
async def test_another_method_changes_nothing(
    daemon: Daemon, admin: Connect, method: str, path: str, allowed: str
) -> None:
    reply = await ask(admin, method, path)
    assert (reply.status, reply.headers["allow"]) == (405, allowed)
    assert daemon.refreshed == 0


@pytest.mark.parametrize(
    "target", ["/status?follow=1", "/spool/status?follow=true", "/decisions?n=5", "/status?x"]
)
async def test_a_query_that_means_nothing_is_said_to(admin: Connect, target: str) -> None:
    reply = await ask(admin, "GET", target)
    assert (reply.status, reply.body) == (400, b"the only query is follow=1\n")


async def test_a_body_is_read_no_further_than_its_bound(daemon: Daemon, admin: Connect) -> None:
    assert (await ask(admin, "POST", "/policy/refresh", b"x" * 1_024)).status == 200
    assert (await ask(admin, "POST", "/policy/refresh", b"x" * 1_025)).status == 413
    assert daemon.turned_away == ["body_too_large"]


# -- following -------------------------------------------------------------------------------


def changed(changes: int) -> DaemonStatus:
    return msgspec.structs.replace(STATUS, spool=msgspec.structs.replace(SPOOL, changes=changes))


async def test_each_change_of_the_spool_is_a_line(daemon: Daemon, admin: Connect) -> None:
    async with await admin() as stream:
        follower = Follower(stream)
        await follower.start("/spool/status?follow=1")
        for changes in (5, 6, 7):
            daemon.change(changed(changes))
            line = await follower.chunk()
            assert line.endswith(b"\n")
            assert line.count(b"\n") == 1
            assert msgspec.json.decode(line, type=SpoolReport).spool.changes == changes


async def test_each_decision_is_a_line_after_the_newest_ones(
    daemon: Daemon, admin: Connect
) -> None:
    def decide(number: int) -> None:
        daemon.recent.add(msgspec.structs.replace(specimens.DECISION, id=f"d-{number}"))

    for number in range(25):
        decide(number)
    async with await admin() as stream:
        follower = Follower(stream)
        await follower.start("/decisions?follow=1")
        lines = (await follower.chunk()).splitlines()
        found = [msgspec.json.decode(line, type=RecentDecision) for line in lines]
        assert [one.id for one in found] == [f"d-{number}" for number in range(5, 25)]
        for number in (25, 26):
            decide(number)
            one = msgspec.json.decode(await follower.chunk(), type=RecentDecision)
            assert one.id == f"d-{number}"
        shown = await ask(admin, "GET", "/decisions")
        assert msgspec.json.decode(shown.body)[-1]["id"] == "d-26"


@pytest.mark.parametrize("target", ["/spool/status?follow=1", "/decisions?follow=1"])
async def test_a_follower_hears_of_an_idle_daemon_and_is_forgotten_when_it_leaves(
    daemon: Daemon, tmp_path: Path, target: str
) -> None:
    leaving = anyio.Event()
    operators = daemon.operators(follow_seconds=0.01)

    async def handle(incoming: object) -> None:
        try:
            await operators.handle(incoming)  # type: ignore[arg-type]  # passed on
        finally:
            leaving.set()

    async with served(daemon, handle, str(tmp_path / "a" / "s")) as connect:
        async with await connect() as stream:
            follower = Follower(stream)
            await follower.start(target)
            for _ in range(3):
                await follower.chunk()
            assert not leaving.is_set()
        await leaving.wait()


# -- probes ----------------------------------------------------------------------------------


async def test_a_daemon_that_is_not_ready_says_why_and_lives(
    daemon: Daemon, probe: Connect
) -> None:
    assert (await ask(probe, "GET", "/readyz")).body == b"ok\n"
    daemon.status = msgspec.structs.replace(
        STATUS, ready=False, not_ready=("policy is empty", "draining")
    )
    reply = await ask(probe, "GET", "/readyz")
    assert (reply.status, reply.body) == (503, b"policy is empty\ndraining\n")
    assert (await ask(probe, "GET", "/livez")).status == 200


async def test_being_alive_depends_on_nothing(daemon: Daemon, probe: Connect) -> None:
    daemon.broken = True
    assert (await ask(probe, "GET", "/livez")).body == b"ok\n"


@pytest.mark.parametrize("path", ["/", "/status", "/policy/status", "/decisions", "/livez/"])
async def test_the_probe_port_serves_nothing_else(probe: Connect, path: str) -> None:
    assert (await ask(probe, "GET", path)).status == 404


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
async def test_probes_only_look(probe: Connect, path: str) -> None:
    head = await ask(probe, "HEAD", path)
    assert (head.status, head.body) == (200, b"")
    reply = await ask(probe, "POST", path)
    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")


# -- metrics ---------------------------------------------------------------------------------


async def metrics(probe: Connect) -> dict[str, dict[tuple[str, ...], float]]:
    """Sample name → label values → value, as Prometheus reads them."""
    reply = await ask(probe, "GET", "/metrics")
    assert reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(reply.body.decode()):
        assert family.documentation
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


async def test_metrics_are_what_prometheus_reads(probe: Connect) -> None:
    found = await metrics(probe)
    assert found["gatepost_decisions_total"] == {("allow",): 20, ("deny",): 2}
    assert found["gatepost_completions_total"] == {("ok",): 19}
    assert found["gatepost_turned_away_total"] == {
        ("unknown_route", "one"): 4,
        ("unknown_route", "tcp"): 1,
    }
    assert found["gatepost_ready"] == {(): 1}
    assert found["gatepost_calls_in_flight"] == {(): 3}
    assert found["gatepost_spool_backlog_records"] == {(): 2}
    assert found["gatepost_policy_age_seconds"] == {(): 12.5}
    assert found["gatepost_policy_version"] == {(): 7}
    assert all(name.startswith("gatepost_") for name in found)


async def test_labels_come_from_closed_lists_and_the_configuration(
    daemon: Daemon, probe: Connect
) -> None:
    names = {one.name for one in STATUS.listeners}
    daemon.status = msgspec.structs.replace(
        STATUS,
        counters=Counters(
            decisions=dict.fromkeys(sorted(OUTCOMES), 1),
            completions=dict.fromkeys(sorted(COMPLETION_OUTCOMES), 1),
            turned_away={code: dict.fromkeys(sorted(names), 1) for code in CODES},
        ),
    )
    found = await metrics(probe)
    labels = {value for samples in found.values() for key in samples for value in key}
    assert labels <= OUTCOMES | COMPLETION_OUTCOMES | set(CODES) | names | set(ALARMS)


async def test_every_alarm_has_a_sample_before_it_is_up(daemon: Daemon, probe: Connect) -> None:
    found = await metrics(probe)
    assert found["gatepost_alarm"] == {(name,): 0 for name in ALARMS}
    daemon.status = msgspec.structs.replace(STATUS, alarms=("not_shipping",))
    found = await metrics(probe)
    assert found["gatepost_alarm"] == {(name,): name == "not_shipping" for name in ALARMS}
    assert (await ask(probe, "GET", "/livez")).status == 200, "a restart would not help"


async def test_what_is_not_known_yet_has_no_sample(daemon: Daemon, probe: Connect) -> None:
    empty = msgspec.structs.replace(POLICY, state="empty", version=None, age_ms=None)
    daemon.status = msgspec.structs.replace(STATUS, ready=False, policy=empty)
    found = await metrics(probe)
    assert "gatepost_policy_version" not in found
    assert "gatepost_policy_age_seconds" not in found
    assert found["gatepost_ready"] == {(): 0}
