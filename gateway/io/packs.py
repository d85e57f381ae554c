"""Rule packs and compiled pattern databases on disk.

Owns: reading the shipped pack, and a private directory of compiled databases. Refuses: compiling
and judging packs (``gateway.classify``).

A compiled database is native code's input and is not checked by hyperscan when it is loaded, so
it is only ever read from a directory and a file that belong to this user and that nobody else can
write.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from importlib import resources
from typing import Final

_DATABASE_BYTES_MAX: Final = 64 * 1024 * 1024
_KEY_CHARACTERS: Final = frozenset("0123456789abcdef")


def read_core_pack() -> bytes:
    """The rule pack that is shipped with Gatepost (TOML)."""
    return (resources.files("gateway.classify") / "packs" / "core.toml").read_bytes()


class PrivateDirectory:
    """``gateway.classify.scanner.DatabaseCache`` in the directory ``path``.

    The directory is made with mode 0700. One that others can write, or that is not ours, is not
    used. Losing the cache costs a compilation at the next start and nothing else, so a disk
    fault here is never an error.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def read(self, key: str) -> bytes | None:
        """The database under ``key``, or None."""
        with contextlib.suppress(OSError):
            if not self._is_private():
                return None
            descriptor = os.open(self._file(key), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with open(descriptor, "rb") as file:
                if _belongs_to_us(os.fstat(descriptor)):
                    return file.read(_DATABASE_BYTES_MAX)
        return None

    def write(self, key: str, database: bytes) -> None:
        """Keep ``database`` under ``key``; it appears whole or not at all."""
        with contextlib.suppress(OSError):
            os.makedirs(self._path, mode=0o700, exist_ok=True)
            if not self._is_private():
                return
            draft = f"{self._file(key)}.{secrets.token_hex(8)}"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            try:
                with open(os.open(draft, flags, 0o600), "wb") as file:
                    file.write(database)
                os.rename(draft, self._file(key))
            except OSError:
                os.unlink(draft)

    def _file(self, key: str) -> str:
        if not key or set(key) - _KEY_CHARACTERS:
            raise ValueError("a cache key is a hex digest")
        return f"{self._path}/{key}.hsdb"

    def _is_private(self) -> bool:
        status = os.lstat(self._path)
        return stat.S_ISDIR(status.st_mode) and _belongs_to_us(status)


def _belongs_to_us(status: os.stat_result) -> bool:
    others = stat.S_IWGRP | stat.S_IWOTH
    return status.st_uid == os.geteuid() and not status.st_mode & others
