"""What keeps the containers of one pod apart: egress rules by user id, mounts, modes of files.

A refusal proves a wall only if the deed succeeds where the wall is not, so each has its control.
"""

from __future__ import annotations

import pytest

from tests.system.container import Mount, User
from tests.system.pod import (
    ADMIN_SOCKET,
    CREDENTIALS,
    SOCKET,
    SPOOL,
    STATE,
    STRANGER,
    Pod,
    Sidecar,
)
from tests.system.workload import AGENT, DAEMON

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

_ROOT = User(0, 0)
_DOOR = SOCKET.rpartition("/")[0]


@pytest.mark.parametrize("route", ["/openai", "/openai6"])
def test_the_agent_reaches_the_provider_through_the_daemon(pod: Pod, route: str) -> None:
    """The daemon's own way out is open, over IPv4 and over IPv6."""
    (done,) = pod.attempt(AGENT, "call", f"{SOCKET} {route}")
    assert done.status == 200


@pytest.mark.parametrize("user", [AGENT, STRANGER, _ROOT], ids=["agent", "stranger", "root"])
def test_nobody_but_the_daemons_user_reaches_the_provider(pod: Pod, user: User) -> None:
    """At once and with an error; root without capabilities is a user like others."""
    outcomes = pod.attempt(
        user,
        *("connect", pod.provider, "connect", pod.provider6),
        *("datagram", f"{pod.network.node},53", "datagram", f"{pod.network.node6},53"),
    )
    assert [done.error for done in outcomes[:2]] == ["ECONNREFUSED"] * 2
    assert all(done.error in ("EPERM", "EACCES") for done in outcomes[2:]), outcomes


def test_the_daemons_user_passes_the_wall_in_any_container(pod: Pod) -> None:
    """The control, and a limit: the rules know users, not containers."""
    outcomes = pod.attempt(
        DAEMON,
        *("connect", pod.provider, "connect", pod.provider6),
        *("datagram", f"{pod.network.node},53", "datagram", f"{pod.network.node6},53"),
        mounts=[],
    )
    assert [done.error for done in outcomes] == [None] * 4


def test_the_agent_cannot_take_the_sockets_place(pod: Pod) -> None:
    """Its mount is read-only. The socket works afterwards as before."""
    outcomes = pod.attempt(
        AGENT,
        *("remove", SOCKET, "rename", SOCKET, "rename", _DOOR),
        *("bind", f"{_DOOR}/other.sock", "bind", "/run/gatepost-agent/other.sock"),
    )
    assert [done.error for done in outcomes] == ["EROFS"] * 5
    (done,) = pod.attempt(AGENT, "call", SOCKET)
    assert done.status == 200


def test_the_sockets_directory_holds_where_the_mount_is_not_read_only(pod: Pod) -> None:
    """A manifest that forgot ``readOnly``: the directory below the mount is the daemon's alone."""
    writable = [Mount(pod.volume("gatepost-socket"), "/run/gatepost-agent")]
    outcomes = pod.attempt(
        AGENT,
        *("remove", SOCKET, "rename", SOCKET, "bind", f"{_DOOR}/other.sock"),
        *("bind", "/run/gatepost-agent/mine.sock"),
        mounts=writable,
    )
    assert [done.error for done in outcomes] == ["EACCES"] * 3 + [None]


@pytest.mark.parametrize("user", [AGENT, STRANGER], ids=["agent", "stranger"])
def test_records_keys_and_the_operators_socket_are_the_daemons_alone(
    pod: Pod, sidecar: Sidecar, user: User
) -> None:
    """Even in a container that mounts all of it, with the group that the kubelet gives."""
    (segment, *_) = (pod.volume("gatepost-spool") / "records" / sidecar.instance).glob("seg-*")
    deeds = (
        *("read", SPOOL, "read", f"{SPOOL}/{sidecar.instance}/{segment.name}"),
        *("read", f"{STATE}/host.key", "bind", f"{STATE}/policy/new", "knock", ADMIN_SOCKET),
    )
    outcomes = pod.attempt(user, *deeds, mounts=pod.mounts("gatepost"))
    assert [done.error for done in outcomes] == ["EACCES"] * 5
    control = pod.attempt(DAEMON, *deeds, mounts=pod.mounts("gatepost"))
    assert [done.error for done in control] == [None] * 5


def test_the_agents_container_has_nothing_of_the_daemons_but_the_socket(pod: Pod) -> None:
    """The company's key is readable for the pod's group: only the missing mount keeps it away."""
    key = f"{CREDENTIALS}/openai.key"
    outcomes = pod.attempt(AGENT, "read", key, "read", SPOOL, "read", STATE, "knock", ADMIN_SOCKET)
    assert [done.error for done in outcomes] == ["ENOENT"] * 4
    (control,) = pod.attempt(AGENT, "read", key, mounts=pod.mounts("gatepost"))
    assert control.error is None


def test_shared_process_numbers_open_nothing_to_another_user(pod: Pod, sidecar: Sidecar) -> None:
    """With ``shareProcessNamespace`` the daemon is seen; its memory, files and life are not had."""
    deeds = ("read", "/proc/1/mem", "read", "/proc/1/environ", "read", "/proc/1/root", "end", "1")
    outcomes = pod.attempt(AGENT, *deeds, of=sidecar.container.pid)
    assert [done.error for done in outcomes] == ["EACCES"] * 3 + ["EPERM"]
    (control,) = pod.attempt(DAEMON, "read", "/proc/1/environ", of=sidecar.container.pid)
    assert control.error is None
    (done,) = pod.attempt(AGENT, "call", SOCKET)
    assert done.status == 200
