"""Lock files: taken by whoever owns a directory, asked about by whoever only looks.

The lock is a ``flock``: it works on every file system and in every sandbox that we know, and the
kernel drops it with the process. But it cannot be asked about without being taken, and a command
that takes it for a moment makes a starting daemon believe that somebody owns the directory. So
the holder also marks the file with a record lock of the open description (``F_OFD_SETLK``, Linux
3.15), which says nothing new and can be queried (``F_OFD_GETLK``), across namespaces of process
ids too.

Owns: both locks and the question. Refuses: deciding who may own what, and waiting.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from typing import Final

_WRITE: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_CREAT
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_MODE: Final = 0o600
_FLOCK: Final = struct.Struct("hhqqi0q")
"""``struct flock`` of a 64-bit kernel: type, whence, start, length (0: all), pid (0 for these)."""
_SET: Final[int | None] = getattr(fcntl, "F_OFD_SETLK", None)
_GET: Final[int | None] = getattr(fcntl, "F_OFD_GETLK", None)


class OsLock:
    """A lock held by an open descriptor; the kernel lets go of it with the process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        """Harmless when called twice."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def take(path: str) -> OsLock | None:
    """The exclusive lock of ``path`` (created if missing), or None if it is held.

    Raises FileNotFoundError when the file was removed meanwhile, and OSError.
    """
    descriptor = os.open(path, _WRITE, _MODE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever held it may have removed the file meanwhile; a lock on that is worth nothing.
        if not os.path.samestat(os.stat(path), os.fstat(descriptor)):
            raise FileNotFoundError(path)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    _mark(descriptor)
    return OsLock(descriptor)


def _mark(descriptor: int) -> None:
    """Make the lock visible. Where the kernel cannot, the lock holds all the same."""
    if _SET is not None:
        with contextlib.suppress(OSError):
            fcntl.fcntl(descriptor, _SET, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))


def is_held(path: str) -> bool | None:
    """Whether a process holds the lock of ``path``, without taking it; None: cannot be told.

    A file that is not there is held by nobody. Raises OSError where it cannot be opened.
    """
    try:
        descriptor = os.open(path, _READ)
    except FileNotFoundError:
        return False
    try:
        if _GET is None:
            return None
        asked = _FLOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
        try:
            answer = fcntl.fcntl(descriptor, _GET, asked)
        except OSError:
            return None
        kind: int = _FLOCK.unpack(answer)[0]
        return kind != fcntl.F_UNLCK
    finally:
        os.close(descriptor)
