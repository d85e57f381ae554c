"""Whose socket is it? The kernel's answer, by NETLINK_SOCK_DIAG.

Owns: the request for one TCP socket by its exact 4-tuple, the reading of the answer, and the
exchange of both with the kernel (linux/inet_diag.h, sock_diag(7)). Refuses: dumps of all
sockets, and guesses: anything but an ESTABLISHED socket with exactly the asked addresses and an
inode is None. The kernel looks for a *listener* when it finds no connection, and gives orphaned
sockets uid 0: both would make a stranger someone else.

Needs no privilege. One lookup is one sendto and one recv, answered by the kernel before sendto
returns, so nothing here waits.
"""

from __future__ import annotations

import os
import socket
import struct
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

import msgspec

_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_NLMSG_ERROR: Final = 2
_NLM_F_REQUEST: Final = 1
_TCP_ESTABLISHED: Final = 1
_NO_COOKIE: Final = b"\xff" * 8

_HEADER: Final = struct.Struct("=IHHII")  # length, type, flags, sequence, port id
_REQUEST: Final = struct.Struct("=BBBBI")  # family, protocol, extensions, padding, states
_PORTS: Final = struct.Struct("!HH")  # source, destination: network order
_INTERFACE: Final = struct.Struct("=I")
_ANSWER: Final = struct.Struct("=BBBB")  # family, state, timer, retransmits
_ANSWER_TAIL: Final = struct.Struct("=IIIII")  # expires, rqueue, wqueue, uid, inode
_SOCKET_ID_BYTES: Final = 48
_ANSWER_BYTES: Final = _ANSWER.size + _SOCKET_ID_BYTES + _ANSWER_TAIL.size
_RECEIVE_BYTES: Final = 4_096
_STALE_ANSWERS_MAX: Final = 8

Address = IPv4Address | IPv6Address


class FourTuple(msgspec.Struct, frozen=True):
    """A TCP connection as its owner sees it: addresses as literals, ports as numbers."""

    local_host: str
    local_port: int
    remote_host: str
    remote_port: int


class SocketOwner(msgspec.Struct, frozen=True):
    """What the kernel says of one socket. ``state`` is a TCP state number; 1 is ESTABLISHED."""

    connection: FourTuple
    state: int
    uid: int
    inode: int


def encode_request(connection: FourTuple, sequence: int) -> bytes:
    """The netlink message that asks for the socket whose local side is ``connection.local_*``.

    Raises ValueError for a host that is no address, or two hosts of different families.
    """
    local, remote = ip_address(connection.local_host), ip_address(connection.remote_host)
    if local.version != remote.version:
        raise ValueError("the two ends of a connection have one address family")
    family = socket.AF_INET if local.version == 4 else socket.AF_INET6
    body = b"".join(
        (
            # Every state: the answer is judged below, by what the kernel found.
            _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, 0xFFFF_FFFF),
            _PORTS.pack(connection.local_port, connection.remote_port),
            local.packed.ljust(16, b"\0"),
            remote.packed.ljust(16, b"\0"),
            _INTERFACE.pack(0),
            _NO_COOKIE,
        )
    )
    header = _HEADER.pack(
        _HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, sequence, 0
    )
    return header + body


def decode_answer(data: bytes, sequence: int) -> SocketOwner | None:
    """The socket in the kernel's answer to ``sequence``, or None.

    None for an error message (ENOENT: no such socket), an answer to another request, and
    anything cut or unknown: whatever is not certainly the answer is no answer.
    """
    if len(data) < _HEADER.size:
        return None
    length, kind, _flags, answered, _port_id = _HEADER.unpack_from(data)
    if kind != _SOCK_DIAG_BY_FAMILY or answered != sequence:
        return None
    if length > len(data) or length < _HEADER.size + _ANSWER_BYTES:
        return None
    offset = _HEADER.size
    family, state, _timer, _retransmits = _ANSWER.unpack_from(data, offset)
    offset += _ANSWER.size
    local_port, remote_port = _PORTS.unpack_from(data, offset)
    local = _address(family, data[offset + 4 : offset + 20])
    remote = _address(family, data[offset + 20 : offset + 36])
    if local is None or remote is None:
        return None
    _expires, _rqueue, _wqueue, uid, inode = _ANSWER_TAIL.unpack_from(
        data, offset + _SOCKET_ID_BYTES
    )
    connection = FourTuple(str(local), local_port, str(remote), remote_port)
    return SocketOwner(connection=connection, state=state, uid=uid, inode=inode)


def owner_uid(answer: SocketOwner | None, asked: FourTuple) -> int | None:
    """The uid that ``answer`` proves for ``asked``, or None.

    IPv4-mapped addresses compare as IPv4: a client with an IPv6 socket may connect to 127.0.0.1,
    as every Java process does.
    """
    if answer is None or answer.state != _TCP_ESTABLISHED or answer.inode == 0:
        return None
    if _plain(answer.connection) != _plain(asked):
        return None
    return answer.uid


class SockDiag:
    """One netlink socket, asked again and again. Not safe for several threads.

    Opening it raises OSError where the kernel or a sandbox has no sock_diag.
    """

    def __init__(self) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, _NETLINK_SOCK_DIAG)
        self._socket.setblocking(False)
        self._sequence = 0

    def __repr__(self) -> str:
        return f"SockDiag(asked={self._sequence})"

    def owner_uid(self, connection: FourTuple) -> int | None:
        """The uid that opened the socket ``connection``, or None where that is not certain."""
        self._sequence = (self._sequence + 1) & 0xFFFF_FFFF
        try:
            self._socket.sendto(encode_request(connection, self._sequence), (0, 0))
            # An earlier answer may be left over where its reading failed.
            for _ in range(_STALE_ANSWERS_MAX):
                data, sender = self._socket.recvfrom(_RECEIVE_BYTES)
                if sender[0] == 0 and _is_answer_to(data, self._sequence):
                    return owner_uid(decode_answer(data, self._sequence), connection)
        except (OSError, ValueError):
            return None
        return None

    def close(self) -> None:
        self._socket.close()


def sock_diag_available() -> bool:
    """Whether this kernel tells the owner of a loopback connection: tried on one of our own.

    A query for a connection that does not exist would not do: ENOENT is also the answer of a
    kernel whose tcp_diag module is missing.
    """
    try:
        diag = SockDiag()
    except OSError:
        return False
    try:
        return _own_connection_uid(diag) == os.geteuid()
    except OSError:
        return False
    finally:
        diag.close()


def _own_connection_uid(diag: SockDiag) -> int | None:
    with socket.socket(socket.AF_INET) as listener, socket.socket(socket.AF_INET) as client:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        client.connect(listener.getsockname())
        return diag.owner_uid(FourTuple(*client.getsockname(), *client.getpeername()))


def _is_answer_to(data: bytes, sequence: int) -> bool:
    if len(data) < _HEADER.size:
        return False
    _length, kind, _flags, answered, _port_id = _HEADER.unpack_from(data)
    return answered == sequence and kind in (_SOCK_DIAG_BY_FAMILY, _NLMSG_ERROR)


def _address(family: int, data: bytes) -> Address | None:
    if family == socket.AF_INET:
        return IPv4Address(data[:4])
    if family == socket.AF_INET6:
        return IPv6Address(data)
    return None


def _plain(connection: FourTuple) -> tuple[Address, int, Address, int]:
    return (
        _unmapped(connection.local_host),
        connection.local_port,
        _unmapped(connection.remote_host),
        connection.remote_port,
    )


def _unmapped(host: str) -> Address:
    address = ip_address(host)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
