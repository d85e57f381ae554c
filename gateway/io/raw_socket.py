"""The operating system's socket beneath a stream.

Owns: finding it, through TLS and other wrappers. Refuses: using it; streams in memory have none.
"""

from __future__ import annotations

import errno
import socket

from anyio.abc import AnyByteStream, SocketAttribute


def raw_socket(stream: AnyByteStream) -> socket.socket | None:
    """The socket beneath ``stream``, or None where there is none. The stream keeps owning it.

    Raises OSError (EBADF) if there was one and the connection is lost.
    """
    try:
        return stream.extra(SocketAttribute.raw_socket, None)  # noqa: S610  # anyio's, not Django's
    except AttributeError as error:
        # uvloop forgets the socket of a lost connection, and anyio then asks None for its peer.
        raise OSError(errno.EBADF, "the connection is closed") from error
