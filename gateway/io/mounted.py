"""Reading a file from a directory that somebody else mounts and fills, such as a ConfigMap.

A kubelet lays its files out as links: ``head.json`` leads to ``..data/head.json``, and ``..data``
to the directory of the present version, which it swaps in one rename. So links have to be
followed, but only inside the directory: what is read may be kept as evidence, and no link may
choose a file of ours for that.

Owns: finding such a file and reading it, bounded. Refuses: writing, and trusting what it reads.
"""

from __future__ import annotations

import os
import stat
from typing import Final

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def read(directory: str, name: str, bytes_max: int) -> bytes:
    """Content of ``name``, at most one byte over ``bytes_max``.

    Raises FileNotFoundError, PermissionError for a link that leads out of ``directory``, and any
    other OSError, as when the directory is swapped at this very moment.
    """
    top = os.path.realpath(directory)
    place = os.path.realpath(os.path.join(top, name))
    if os.path.commonpath([top, place]) != top or place == top:
        raise PermissionError(f"{name} leads out of {directory}")
    descriptor = _open_resolved(top, os.path.relpath(place, top).split(os.sep))
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{name} in {directory} is not a regular file")
        return _read_all(descriptor, bytes_max + 1)
    finally:
        os.close(descriptor)


def _open_resolved(top: str, parts: list[str]) -> int:
    # No link is left in the path, so none is followed: one that is put there meanwhile is an error.
    above = os.open(top, _DIRECTORY)
    try:
        for part in parts[:-1]:
            below = os.open(part, _DIRECTORY | os.O_NOFOLLOW, dir_fd=above)
            os.close(above)
            above = below
        return os.open(parts[-1], _READ, dir_fd=above)
    finally:
        os.close(above)


def _read_all(descriptor: int, length: int) -> bytes:
    data = b""
    while part := os.read(descriptor, length - len(data)):
        data += part
    return data
