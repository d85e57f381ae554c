"""Who is at the other end of a local connection, as the kernel says.

Owns: uid and gid of a Unix peer (SO_PEERCRED, unix(7)) and the uid of a loopback peer
(``sockdiag``). Refuses: the peer's pid, which is 0 across pid namespaces and reused within one;
and binding a uid to an agent, which configuration does.

The uid is as seen from our user namespace: callers of another one all appear as the overflow
uid (65534), so nothing should be bound to that.
"""

from __future__ import annotations

import socket
import struct
from typing import Final

import msgspec
from anyio.abc import AnyByteStream

from gateway.io.raw_socket import raw_socket
from gateway.io.sockdiag import FourTuple, SockDiag

_CREDENTIALS: Final = struct.Struct("iII")  # struct ucred: pid, uid, gid


class PeerCredentials(msgspec.Struct, frozen=True):
    """Effective uid and gid of the process that connected, at the moment it connected."""

    uid: int
    gid: int


def unix_peer(stream: AnyByteStream) -> PeerCredentials | None:
    """The credentials of a Unix stream's peer; None where the kernel can't tell."""
    try:
        raw = raw_socket(stream)
        if raw is None or raw.family != socket.AF_UNIX or not hasattr(socket, "SO_PEERCRED"):
            return None
        packed = raw.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    except OSError:
        return None
    _pid, uid, gid = _CREDENTIALS.unpack(packed)
    # An unmapped or vanished peer has the id -1.
    if uid == 0xFFFF_FFFF:
        return None
    return PeerCredentials(uid=uid, gid=gid)


class LoopbackPeers:
    """Uids of loopback callers. Keeps one netlink socket, opened at the first question.

    Asks for the *client's* socket: its local end is our remote end.
    """

    def __init__(self, diag: SockDiag | None = None) -> None:
        self._diag = diag

    def __repr__(self) -> str:
        return f"LoopbackPeers({self._diag!r})"

    def uid_of(self, stream: AnyByteStream) -> int | None:
        """The caller's uid, or None where it is not certain: then the call is refused.

        Ask at accept: once the caller has hung up its socket has no owner.
        """
        try:
            raw = raw_socket(stream)
            if raw is None or raw.family not in (socket.AF_INET, socket.AF_INET6):
                return None
            theirs, ours = raw.getpeername(), raw.getsockname()
            diag = self._diag = self._diag or SockDiag()
        except OSError:
            return None
        return diag.owner_uid(FourTuple(theirs[0], theirs[1], ours[0], ours[1]))

    def close(self) -> None:
        """Close the netlink socket; the next question opens another."""
        if self._diag is not None:
            self._diag.close()
            self._diag = None
