"""What a process inside a container tries: ``python -m tests.system.deeds call 4141 read /etc/x``.

Deeds and their arguments come in pairs, and each gives one line of JSON: what came of it. Owns:
trying, and naming the error by its class and errno. Refuses: judging; the test outside does.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn

import msgspec

from tests.integration import raw
from tests.integration.rules import MODEL

STALLED_MODEL: Final = "fault-stall-stream"
_CONNECT_SECONDS_MAX = 5.0


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of one deed; ``error`` is a name of ``errno``, and None where it was done."""

    error: str | None = None
    status: int | None = None
    code: str | None = None
    decision_id: str | None = None


def _address(text: str) -> tuple[int | str, socket.AddressFamily]:
    """``4141``, ``[::1]:4141`` or the path of a socket."""
    if text.startswith("["):
        return int(text.rpartition(":")[2]), socket.AF_INET6
    return (int(text) if text.isdecimal() else text), socket.AF_INET


def call(where: str) -> Outcome:
    """One chat completion over ``address``, by the first route or by that of ``address route``."""
    address, _, route = where.partition(" ")
    with raw.RawConnection(*_address(address)) as connection:
        connection.send(raw.chat_request(MODEL, route=route or "/openai"))
        reply = connection.reply()
    return Outcome(
        status=reply.status,
        code=reply.code,
        decision_id=reply.headers.get("x-gatepost-decision-id"),
    )


def connect(address: str) -> Outcome:
    """Open a TCP connection to ``host,port``."""
    host, _, port = address.rpartition(",")
    socket.create_connection((host, int(port)), _CONNECT_SECONDS_MAX).close()
    return Outcome()


def datagram(address: str) -> Outcome:
    """Send one UDP datagram to ``host,port``; the kernel says at once if it may not leave."""
    host, _, port = address.rpartition(",")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as opened:
        opened.connect((host, int(port)))
        opened.send(b"out")
    return Outcome()


def read(path: str) -> Outcome:
    """Read a file, or list a directory."""
    place = Path(path)
    if place.is_dir():
        os.listdir(place)
    else:
        place.read_bytes()
    return Outcome()


def remove(path: str) -> Outcome:
    """Take a name away."""
    Path(path).unlink()
    return Outcome()


def rename(path: str) -> Outcome:
    """Put something out of the way, as one does before taking its place."""
    Path(path).rename(path + ".old")
    return Outcome()


def bind(path: str) -> Outcome:
    """Make a socket of one's own at ``path``, and take it away again."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as opened:
        opened.bind(path)
    Path(path).unlink()
    return Outcome()


def knock(path: str) -> Outcome:
    """Connect to a Unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as opened:
        opened.connect(path)
    return Outcome()


def end(pid: str) -> Outcome:
    """Ask another process to end."""
    os.kill(int(pid), signal.SIGTERM)
    return Outcome()


def occupy(address: str) -> Outcome:
    """Take a loopback port, ``host,port``, and keep it until somebody ends this process."""
    host, _, port = address.rpartition(",")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, int(port)), family=family):
        _tell(Outcome())
        signal.pause()
    return Outcome()


def stream(address: str) -> Outcome:
    """Begin a streamed answer that never ends, tell of it, and read until somebody ends us."""
    with raw.RawConnection(*_address(address)) as connection:
        connection.send(raw.chat_request(STALLED_MODEL, stream=True))
        response = connection.begin_reply()
        decision = response.getheader("x-gatepost-decision-id")
        _tell(Outcome(status=response.status, decision_id=decision))
        response.read()
    return Outcome()


DEEDS: Final[dict[str, Callable[[str], Outcome]]] = {
    deed.__name__: deed
    for deed in (bind, call, connect, datagram, end, knock, occupy, read, remove, rename, stream)
}


def attempt(name: str, argument: str) -> Outcome:
    """Do it; an error of the system is an outcome."""
    try:
        return DEEDS[name](argument)
    except OSError as error:
        number = error.errno
        return Outcome(error=type(error).__name__ if number is None else errno.errorcode[number])


def _tell(outcome: Outcome) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(outcome) + b"\n")
    sys.stdout.flush()


def _leave(*_: object) -> NoReturn:
    raise SystemExit(0)


def main(arguments: list[str]) -> None:
    """All pairs, in order. Pid 1 of a container has no default way to end: SIGTERM needs one."""
    signal.signal(signal.SIGTERM, _leave)
    for name, argument in zip(arguments[::2], arguments[1::2], strict=True):
        _tell(attempt(name, argument))


if __name__ == "__main__":
    main(sys.argv[1:])
