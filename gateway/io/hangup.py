"""Whether the other end of a connection has hung up, asked without reading.

Owns: the one poll(2) that tells, and the typed attribute by which a stream that is no socket
answers for itself. Refuses: reading; bytes of the next request stay where they are.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Final

from anyio import TypedAttributeSet, typed_attribute
from anyio.abc import ByteStream

from gateway.io.raw_socket import raw_socket

_CLOSED: Final = getattr(select, "POLLRDHUP", select.POLLHUP)
"""Linux tells a closed peer from waiting bytes; elsewhere only a connection closed both ways."""


class HangUp(TypedAttributeSet):
    """What a stream in memory offers instead of a socket."""

    check: Callable[[], bool] = typed_attribute()


def hang_up_check(stream: ByteStream) -> Callable[[], bool]:
    """A function that says whether the peer of ``stream`` has hung up; it never waits.

    A client that closes only its sending half counts as gone: no HTTP client does that and still
    reads.
    """
    own = stream.extra(HangUp.check, None)  # noqa: S610 - anyio's, not Django's
    if own is not None:
        return own
    try:
        raw = raw_socket(stream)
    except OSError:
        return lambda: True
    if raw is None:
        return lambda: False
    poller = select.poll()
    poller.register(raw.fileno(), _CLOSED)
    return lambda: raw.fileno() < 0 or bool(poller.poll(0))
