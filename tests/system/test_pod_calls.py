"""Calls in a pod: the agent is known by the kernel's word, and nobody else of the pod gets in."""

from __future__ import annotations

import pytest

from tests.system.pod import LOOPBACK, LOOPBACK6, OUTSIDER, SOCKET, STRANGER, Pod
from tests.system.pod_config import AGENT_ID
from tests.system.workload import AGENT

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]


@pytest.mark.parametrize(
    ("address", "attested_by"),
    [(SOCKET, "uds_uid"), (LOOPBACK, "tcp_uid"), (LOOPBACK6, "tcp_uid")],
    ids=["socket", "loopback", "loopback6"],
)
def test_the_agents_calls_carry_its_identity(pod: Pod, address: str, attested_by: str) -> None:
    """By a socket on a read-only mount, too: connecting writes nothing."""
    (done,) = pod.attempt(AGENT, "call", address)
    assert (done.status, done.error) == (200, None)
    assert done.decision_id is not None
    agent = pod.services.records.decision(done.decision_id)["agent"]
    assert (agent["id"], agent["attested_by"]) == (AGENT_ID, attested_by)


@pytest.mark.parametrize("address", [SOCKET, LOOPBACK, LOOPBACK6])
def test_a_stranger_with_the_pods_group_is_refused_and_recorded(pod: Pod, address: str) -> None:
    """The kubelet gives fsGroup to every container, so the group opens the socket to all."""
    reached = pod.services.ends.total()
    (done,) = pod.attempt(STRANGER, "call", address)
    assert (done.status, done.code) == (403, "peer_not_allowed")
    assert done.decision_id is not None
    record = pod.services.records.decision(done.decision_id)
    assert (record["agent"]["id"], record["agent"]["attested_by"]) == (None, None)
    assert pod.services.ends.total() == reached


def test_who_has_not_the_pods_group_cannot_even_knock(pod: Pod) -> None:
    (done,) = pod.attempt(OUTSIDER, "knock", SOCKET)
    assert done.error == "EACCES"


def test_a_container_without_the_volume_does_not_see_the_socket(pod: Pod) -> None:
    (done,) = pod.attempt(AGENT, "knock", SOCKET, mounts=[])
    assert done.error == "ENOENT"
