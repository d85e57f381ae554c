"""Which agent is at the other end of a connection: kernel credentials and configuration.

Owns: turning a stream of a known listener into a ``Peer``. Refuses: tokens (``identity`` reads
them per call) and turning anybody away; a caller without an agent is refused by a ruling, which
is recorded.
"""

from __future__ import annotations

from typing import Protocol

from anyio.abc import ByteStream

from gateway.call import Peer
from gateway.io.peer import LoopbackPeers, unix_peer
from sidecar.config import Listen, UnixListener

TCP_LISTENER = "tcp"


class Credentials(Protocol):
    """Who the kernel says is calling; the simulated network answers for its own streams."""

    def unix_uid(self, stream: ByteStream) -> int | None: ...

    def loopback_uid(self, stream: ByteStream) -> int | None: ...


class KernelCredentials:
    """SO_PEERCRED on Unix sockets, sock_diag on loopback TCP."""

    def __init__(self) -> None:
        self._loopback = LoopbackPeers()

    def unix_uid(self, stream: ByteStream) -> int | None:
        peer = unix_peer(stream)
        return None if peer is None else peer.uid

    def loopback_uid(self, stream: ByteStream) -> int | None:
        return self._loopback.uid_of(stream)

    def close(self) -> None:
        self._loopback.close()


class Callers:
    """The configured bindings of sockets and uids to agents."""

    def __init__(self, listen: Listen, credentials: Credentials) -> None:
        self._credentials = credentials
        self._agents = {entry.uid: entry.agent for entry in listen.agents}
        self._allow_uid_0 = listen.allow_uid_0

    def unix(self, listener: UnixListener, stream: ByteStream) -> Peer:
        """The peer of a Unix connection. Without an agent: a uid that may not use this socket."""
        uid = self._credentials.unix_uid(stream)
        allowed = uid is not None and self._allowed(uid)
        if listener.uids and uid not in listener.uids:
            allowed = False
        agent = listener.agent or (None if uid is None else self._agents.get(uid))
        return Peer(
            listener=listener.name,
            kind="uds",
            uid=uid,
            agent=agent if allowed else None,
            attested_by="uds_uid" if allowed and agent is not None else None,
        )

    def tcp(self, stream: ByteStream) -> Peer:
        """The peer of a loopback connection. An unknown uid leaves room for a local token."""
        uid = self._credentials.loopback_uid(stream)
        agent = self._agents.get(uid) if uid is not None and self._allowed(uid) else None
        return Peer(
            listener=TCP_LISTENER,
            kind="tcp",
            uid=uid,
            agent=agent,
            attested_by="tcp_uid" if agent is not None else None,
        )

    def _allowed(self, uid: int) -> bool:
        return uid != 0 or self._allow_uid_0
