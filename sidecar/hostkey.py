"""The host key: attests every start of a daemon on a machine without a platform identity.

Owns: reading it, drawing it once (0600), and the one-time token's file. Refuses: registering it
(``enrol.py`` does).
"""

from __future__ import annotations

import base64
import os
from typing import Final

import anyio

from gateway import seal
from gateway.errors import ConfigInvalid
from gateway.ports import Disk, Entropy, FileSystem
from spool.segment import pread_all, read_all, write_file

_FILE_BYTES_MAX: Final = 4096
_DIRECTORY_MODE: Final = 0o700
_OTHERS: Final = 0o077
_TURN_SECONDS: Final = 0.05
"""How long to wait while another daemon of this machine draws the key."""


async def load_host_key(disk: Disk, path: str, entropy: Entropy) -> seal.Signer:
    """The key in ``path`` (base64 of a 32-byte seed); drawn and written if there is none.

    It is durable before it is used: a crash in between must not spend a one-time token for a key
    that is gone. Raises ConfigInvalid for a file that is no key, that others may read, or that
    cannot be read or made.
    """
    try:
        text = await disk.run(lambda files: _read_private(files, path))
        if text is None:
            text = await _draw(disk, path, entropy)
    except OSError as error:
        raise ConfigInvalid(f"host key file {path}: {error.strerror or error}") from error
    try:
        return seal.Signer(base64.b64decode(text.strip(), validate=True))
    except ValueError as error:
        raise ConfigInvalid(
            f"host key file {path} does not hold the base64 of {seal.SEED_BYTES} bytes; put the "
            "right file there, or remove it so that a new key is drawn"
        ) from error


async def read_token(disk: Disk, path: str) -> str | None:
    """The one-time token in ``path``, or None where the file is gone or empty.

    Raises ConfigInvalid for a file that cannot be read.
    """
    try:
        text = await disk.run(lambda files: _read(files, path))
    except OSError as error:
        raise ConfigInvalid(f"one-time token file {path}: {error.strerror or error}") from error
    return None if text is None else text.decode(errors="replace").strip() or None


async def _draw(disk: Disk, path: str, entropy: Entropy) -> bytes:
    """What ``path`` holds once it is there: a new key, or the one that another daemon drew."""
    drawn = base64.b64encode(entropy.bytes(seal.SEED_BYTES)) + b"\n"
    while True:
        text = await disk.run(lambda files: _read_or_write(files, path, drawn))
        if text is not None:
            return text
        await anyio.sleep(_TURN_SECONDS)


def _read_or_write(files: FileSystem, path: str, drawn: bytes) -> bytes | None:
    """What ``path`` holds, after ``drawn`` was written if it was missing.

    None while another daemon writes it: two keys under one name would spend the token twice.
    """
    directory = path.rpartition("/")[0] or "."
    _make_directory(files, directory)
    lock = files.lock(f"{path}.lock")
    if lock is None:
        return None
    try:
        text = _read_private(files, path)
        if text is None:
            text = drawn
            write_file(files, path, text)
            files.sync_directory(directory)
        return text
    finally:
        lock.release()


def _read_private(files: FileSystem, path: str) -> bytes | None:
    """What the key file holds. Whoever else can read it could enrol as this machine."""
    place = os.path.realpath(path)
    try:
        file = files.open(place, writable=False)
    except FileNotFoundError:
        return None
    try:
        mode = file.mode()
        if mode & _OTHERS:
            raise ConfigInvalid(
                f"host key file {path}: mode {mode:04o} lets others in; chmod 600 it, and replace "
                "the key if anybody may have read it"
            )
        return pread_all(file, min(file.size(), _FILE_BYTES_MAX), 0)
    finally:
        file.close()


def _read(files: FileSystem, path: str) -> bytes | None:
    try:
        # A mounted Secret is a symbolic link, and the disk port follows none.
        return read_all(files, os.path.realpath(path), _FILE_BYTES_MAX)
    except FileNotFoundError:
        return None


def _make_directory(files: FileSystem, path: str) -> None:
    """Make the missing directories down to ``path``, each durable before the next."""
    try:
        files.list_directory(path)
    except FileNotFoundError:
        above = path.rpartition("/")[0] or "/"
        _make_directory(files, above)
        files.make_directory(path, _DIRECTORY_MODE)
        files.sync_directory(above)
