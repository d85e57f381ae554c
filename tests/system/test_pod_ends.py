"""How a pod ends, and what is left on its volumes: by the kubelet's order, by force, for good.

A native sidecar gets SIGTERM when the containers beside it have ended. What it has not shipped when
it ends lies in the spool; the next pod on the volume, or a drainer, ships it.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from sidecar.drain import DrainProgress
from tests.integration.conftest import MakeCentral
from tests.integration.system import Central
from tests.system.container import Container
from tests.system.deeds import Outcome
from tests.system.pod import (
    LOOPBACK,
    LOOPBACK6,
    SOCKET,
    STRANGER,
    Pod,
    Sidecar,
    pod_in_a_box,
    require_namespaces,
)
from tests.system.workload import AGENT, DEPLOYMENT, NODE_SPOOL, STATEFUL_SET

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

MakePod = Callable[..., Pod]


@pytest.fixture
def make_pod(base: Path, make_central: MakeCentral, names: Iterator[int]) -> Iterator[MakePod]:
    """Pods of a test's own, with services of their own: ``make_pod(STATEFUL_SET)``."""
    require_namespaces()
    with ExitStack() as running:

        def make(manifest: str = DEPLOYMENT) -> Pod:
            box = pod_in_a_box(base / f"p{next(names)}", make_central(), manifest)
            return running.enter_context(box)

        yield make


def _streaming(pod: Pod, address: str) -> tuple[Container, str]:
    """The agent's container amid a streamed answer, and the decision's id."""
    agent = pod.begin(AGENT, pod.mounts("agent"), "stream", address)
    begun = msgspec.json.decode(agent.line(), type=Outcome)
    assert begun.status == 200, agent.errors()
    assert begun.decision_id is not None
    return agent, begun.decision_id


def _end_in_order(agent: Container, sidecar: Sidecar) -> int:
    """What the kubelet does to a pod; the daemon's exit code."""
    agent.signal(signal.SIGTERM)
    assert agent.wait() == 0
    assert sidecar.container.running
    sidecar.container.signal(signal.SIGTERM)
    return sidecar.container.wait()


def _answered(pod: Pod, count: int = 3) -> list[str]:
    """Some calls of the agent, answered; their decisions' ids."""
    outcomes = pod.attempt(AGENT, *("call", SOCKET) * count)
    ids = [done.decision_id for done in outcomes if done.status == 200 and done.decision_id]
    assert len(ids) == count
    return ids


def _directories(pod: Pod) -> list[str]:
    """The instances that have something in the spool."""
    records = pod.volume("gatepost-spool") / "records"
    return sorted(place.name for place in records.iterdir() if place.is_dir())


def _all_there(services: Central, instance: str, decisions: list[str]) -> None:
    """The chain begins with its start, and each decision is in it once with its completion."""
    items = services.records.all(instance=instance)
    assert items[0]["kind"] == "start"
    found = [item["id"] for item in items if item["kind"] == "decision"]
    assert sorted(found) == sorted(decisions)
    seqs = [item["seq"] for item in items]
    assert sorted(seqs) == list(range(min(seqs), min(seqs) + len(seqs)))
    assert sum(item["kind"] == "completion" for item in items) == len(decisions)


@pytest.mark.parametrize("address", [SOCKET, LOOPBACK], ids=["socket", "loopback"])
def test_a_pod_that_ends_during_a_stream_loses_nothing(make_pod: MakePod, address: str) -> None:
    pod = make_pod()
    sidecar = pod.start()
    decisions = _answered(pod)
    agent, streamed = _streaming(pod, address)
    assert _end_in_order(agent, sidecar) == 0
    services = pod.services
    _all_there(services, sidecar.instance, [*decisions, streamed])
    assert services.records.completion(streamed)["outcome"] == "client_abort"
    assert services.records.all(instance=sidecar.instance)[-1]["kind"] == "seal"
    assert _directories(pod) == []


def test_with_the_store_away_the_spool_keeps_the_end_for_the_next_pod(make_pod: MakePod) -> None:
    pod = make_pod(STATEFUL_SET)
    pod.configure(grace_seconds="3.0")
    sidecar = pod.start()
    decisions = _answered(pod)
    agent, streamed = _streaming(pod, SOCKET)
    services = pod.services
    services.kill()
    assert _end_in_order(agent, sidecar) == 75
    assert _directories(pod) == [sidecar.instance]
    services.start()
    successor = pod.start()
    services.records.wait(1, seconds=40, instance=sidecar.instance, kind="seal")
    _all_there(services, sidecar.instance, [*decisions, streamed])
    assert services.records.completion(streamed)["outcome"] == "client_abort"
    successor.container.signal(signal.SIGTERM)
    assert successor.container.wait() == 0
    assert _directories(pod) == []


@pytest.mark.parametrize("manifest", [DEPLOYMENT, STATEFUL_SET, NODE_SPOOL])
def test_a_killed_daemons_records_are_shipped_by_the_next_container(
    make_pod: MakePod, manifest: str
) -> None:
    """On each kind of volume, with the modes that it has in a pod; the sockets are found stale."""
    pod = make_pod(manifest)
    sidecar = pod.start()
    services = pod.services
    services.kill()
    decisions = _answered(pod)
    agent, streamed = _streaming(pod, SOCKET)
    sidecar.container.kill()
    agent.wait()
    assert _directories(pod) == [sidecar.instance]
    services.start()
    successor = pod.start()
    (recovered,) = services.records.wait(
        1, seconds=40, instance=successor.instance, kind="recovered"
    )
    assert services.records.members(recovered["id"])["instance"] == sidecar.instance
    kept = services.records.wait(
        len(decisions) + 1, seconds=40, instance=sidecar.instance, kind="decision"
    )
    assert sorted(item["id"] for item in kept) == sorted([*decisions, streamed])
    _answered(pod, 1)
    successor.container.signal(signal.SIGTERM)
    assert successor.container.wait() == 0
    assert _directories(pod) == []


def test_a_drainer_ships_what_a_deleted_pod_left_on_the_node(make_pod: MakePod) -> None:
    pod = make_pod(NODE_SPOOL)
    sidecar = pod.start()
    services = pod.services
    services.kill()
    decisions = _answered(pod)
    sidecar.container.kill()
    services.start()
    pod.configure(worker="1", directory='"/var/lib/gatepost/drain-policy"')
    drainer = pod.gatepost("drain", "--config", "/etc/gatepost/sidecar.toml")
    lines = drainer.rest()
    assert drainer.wait() == 0, drainer.errors()
    last = msgspec.json.decode(lines[-1], type=DrainProgress)
    assert (last.phase, last.found, last.gone) == ("ended", 1, 1)
    assert _directories(pod) == []
    _all_there(services, sidecar.instance, decisions)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_port_that_a_stranger_took_first_stops_the_start(make_pod: MakePod, host: str) -> None:
    """Or the agent would send its calls to the stranger. Nothing else is opened either."""
    pod = make_pod()
    stranger = pod.begin(STRANGER, [], "occupy", f"{host},{LOOPBACK}")
    assert msgspec.json.decode(stranger.line(), type=Outcome).error is None
    daemon = pod.gatepost("run", "--config", "/etc/gatepost/sidecar.toml")
    assert daemon.line() == b""
    assert daemon.wait() == 78
    said = daemon.errors()
    assert f"port {LOOPBACK}" in said
    assert host in said
    assert "taken by another process" in said
    assert "Traceback" not in said
    outcomes = pod.attempt(AGENT, "knock", SOCKET)
    assert [done.error for done in outcomes] == ["ENOENT"]
    stranger.signal(signal.SIGTERM)
    assert stranger.wait() == 0
    pod.start()
    assert [done.status for done in pod.attempt(AGENT, "call", LOOPBACK, "call", LOOPBACK6)] == [
        200,
        200,
    ]
