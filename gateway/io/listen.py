"""Listening sockets of every kind: where to import them from.

Owns: nothing but the names. Unix sockets are made in ``listen_unix``, TCP in ``listen_tcp``.
"""

from __future__ import annotations

from gateway.errors import ListenFailed
from gateway.io.listen_tcp import listen_loopback, listen_tcp
from gateway.io.listen_unix import UnixListener, listen_unix

__all__ = ["ListenFailed", "UnixListener", "listen_loopback", "listen_tcp", "listen_unix"]
