"""The daemon's listeners: calls on Unix sockets and loopback, operators, probes.

Owns: opening them all (or none) and what each serves. Refuses: serving before the first record
is durable (``lifecycle.py`` opens them) and taking a port that somebody else has.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Literal

import msgspec
from anyio.abc import ByteStream

from gateway.call import Peer
from gateway.exchange import handle_exchange
from gateway.io.incoming import ServeOptions
from gateway.wire import Incoming
from gateway.world import World
from sidecar.callers import TCP_LISTENER, Callers
from sidecar.config import Listen
from sidecar.metrics import Metrics
from sidecar.operators import Operators, Probes
from sidecar.outside import Listening, Outside
from sidecar.parts import Parts
from sidecar.status import DaemonStatus

AGENT_SOCKET_MODE = 0o660
ADMIN_SOCKET_MODE = 0o600

DoorKind = Literal["unix", "tcp", "admin", "probe"]


class Door(msgspec.Struct, frozen=True, kw_only=True):
    """One listener with what it serves."""

    kind: DoorKind
    name: str
    listening: Listening
    identify: Callable[[ByteStream], Peer | None]
    handle: Callable[[Incoming], Awaitable[None]]
    options: ServeOptions

    @property
    def takes_calls(self) -> bool:
        return self.kind in ("unix", "tcp")


async def call_doors(listen: Listen, parts: Parts, world: World) -> AsyncIterator[Door]:
    """Open the listeners that take calls, one by one. Raises ListenFailed."""
    network = parts.outside.network
    callers = Callers(listen, network)

    async def handle(incoming: Incoming) -> None:
        await handle_exchange(incoming, world)

    for entry in listen.unix:
        yield Door(
            kind="unix",
            name=entry.name,
            listening=await network.listen_unix(
                entry.path, group=entry.group, mode=AGENT_SOCKET_MODE
            ),
            identify=partial(callers.unix, entry),
            handle=handle,
            options=_options(parts, entry.name, None),
        )
    if listen.tcp:
        hosts = frozenset(host.lower().strip("[]") for host in listen.tcp_hosts)
        for listening in await network.listen_loopback(listen.tcp_port):
            yield Door(
                kind="tcp",
                name=TCP_LISTENER,
                listening=listening,
                identify=callers.tcp,
                handle=handle,
                options=_options(parts, TCP_LISTENER, hosts),
            )


async def operator_doors(
    listen: Listen, parts: Parts, status: Callable[[], DaemonStatus]
) -> AsyncIterator[Door]:
    """Open the admin socket and the probe port. Raises ListenFailed."""
    yield await admin_door(listen.admin_socket, parts, status)
    if listen.probe:
        probes = Probes(status, Metrics(status))
        network = parts.outside.network
        yield Door(
            kind="probe",
            name="probe",
            listening=await network.listen_tcp(listen.probe_host, listen.probe_port),
            identify=_anybody,
            handle=probes.handle,
            options=_options(parts, "probe", None, draining=lambda: False),
        )


async def admin_door(path: str, parts: Parts, status: Callable[[], DaemonStatus]) -> Door:
    """Open the operators' socket at ``path``. Raises ListenFailed."""
    operators = Operators(status, parts.policy.refresh, parts.recent, parts.spool.wait_change)
    return Door(
        kind="admin",
        name="admin",
        listening=await parts.outside.network.listen_unix(path, group=None, mode=ADMIN_SOCKET_MODE),
        identify=partial(_operator, parts.outside, "admin"),
        handle=operators.handle,
        options=_options(parts, "admin", None, draining=lambda: False),
    )


def _options(
    parts: Parts,
    listener: str,
    hosts: frozenset[str] | None,
    draining: Callable[[], bool] | None = None,
) -> ServeOptions:
    return ServeOptions(
        listener=listener,
        hosts=hosts,
        draining=draining or (lambda: parts.in_flight.draining),
        turned_away=parts.tally.turned_away,
        failed=lambda error: parts.log.fault("connection_failed", error),
    )


def _operator(outside: Outside, listener: str, stream: ByteStream) -> Peer | None:
    """The socket's mode already keeps others out; root passes modes, and may look."""
    return Peer(
        listener=listener,
        kind="uds",
        uid=outside.network.unix_uid(stream),
        agent=None,
        attested_by=None,
    )


def _anybody(stream: ByteStream) -> Peer | None:  # noqa: ARG001 - probes have no identity
    return Peer(listener="probe", kind="tcp", uid=None, agent=None, attested_by=None)
