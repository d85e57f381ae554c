"""The daemon's listeners: calls on Unix sockets and loopback, operators, probes.

Owns: opening them all (or none) and what each serves. Refuses: serving before the first record
is durable (``app.py`` opens them) and taking a port that somebody else has.
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
from sidecar.callers import TCP_LISTENER, Callers
from sidecar.config import SidecarConfig
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


async def call_doors(config: SidecarConfig, parts: Parts, outside: Outside) -> AsyncIterator[Door]:
    """Open the listeners that take calls, one by one. Raises ListenFailed."""
    network = outside.network
    callers = Callers(config.listen, network)

    async def handle(incoming: Incoming) -> None:
        await handle_exchange(incoming, parts.world)

    for entry in config.listen.unix:
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
    if config.listen.tcp:
        hosts = frozenset(host.lower().strip("[]") for host in config.listen.tcp_hosts)
        for listening in await network.listen_loopback(config.listen.tcp_port):
            yield Door(
                kind="tcp",
                name=TCP_LISTENER,
                listening=listening,
                identify=callers.tcp,
                handle=handle,
                options=_options(parts, TCP_LISTENER, hosts),
            )


async def operator_doors(
    config: SidecarConfig, parts: Parts, outside: Outside, status: Callable[[], DaemonStatus]
) -> AsyncIterator[Door]:
    """Open the admin socket and the probe port. Raises ListenFailed."""
    network = outside.network
    operators = Operators(status, parts.policy.refresh, parts.recent, parts.spool.wait_change)
    yield Door(
        kind="admin",
        name="admin",
        listening=await network.listen_unix(
            config.listen.admin_socket, group=None, mode=ADMIN_SOCKET_MODE
        ),
        identify=partial(_operator, outside, "admin"),
        handle=operators.handle,
        options=_options(parts, "admin", None, draining=lambda: False),
    )
    if config.listen.probe:
        probes = Probes(status, Metrics(status))
        yield Door(
            kind="probe",
            name="probe",
            listening=await network.listen_tcp(config.listen.probe_host, config.listen.probe_port),
            identify=_anybody,
            handle=probes.handle,
            options=_options(parts, "probe", None, draining=lambda: False),
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
