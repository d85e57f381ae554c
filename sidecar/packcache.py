"""Compiled rule packs on disk, so that a restart does not compile again.

Owns: one private directory of this user's. Refuses: files that others could have written: a
compiled database is loaded into the process that holds the keys.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import Final

_BYTES_MAX: Final = 64 * 1024 * 1024


class PackCache:
    """``classify.scanner.DatabaseCache`` over ``directory`` (created with 0700)."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def read(self, key: str) -> bytes | None:
        """What was written under ``key``, unless somebody else could have written it."""
        try:
            if not _private(os.stat(self._directory)):
                return None
            descriptor = os.open(self._path(key), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                if not _private(os.fstat(file.fileno())):
                    return None
                return file.read(_BYTES_MAX)
        except OSError:
            return None

    def write(self, key: str, database: bytes) -> None:
        """Keep ``database``; a cache that cannot write keeps nothing."""
        partial = f"{self._path(key)}.{os.getpid()}"
        with suppress(OSError):
            os.makedirs(self._directory, mode=0o700, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            with os.fdopen(os.open(partial, flags, 0o600), "wb") as file:
                file.write(database)
            os.replace(partial, self._path(key))

    def _path(self, key: str) -> str:
        return os.path.join(self._directory, f"{key}.hyperscan")


def _private(found: os.stat_result) -> bool:
    return found.st_uid == os.geteuid() and not stat.S_IMODE(found.st_mode) & 0o022
