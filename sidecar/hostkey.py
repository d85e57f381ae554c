"""The host key: attests every start of a daemon on a machine without a platform identity.

Owns: reading it, drawing it once, and the one-time token's file. Refuses: registering it
(``enrol.py`` does) and modes other than 0600.
"""

from __future__ import annotations

import base64

from gateway import seal
from gateway.errors import ConfigInvalid
from gateway.ports import Disk, Entropy, FileSystem

_FILE_BYTES_MAX = 4096


async def load_host_key(disk: Disk, path: str, entropy: Entropy) -> seal.Signer:
    """The key in ``path`` (base64 of a 32-byte seed); drawn and written if there is none.

    Written before it is registered: a crash in between must not spend the token for nothing.
    Raises ConfigInvalid for a file that is not a key.
    """
    text = await disk.run(lambda files: _read(files, path))
    if text is None:
        seed = entropy.bytes(seal.SEED_BYTES)
        await disk.run(lambda files: _write_new(files, path, base64.b64encode(seed) + b"\n"))
        return seal.Signer(seed)
    try:
        return seal.Signer(base64.b64decode(text.strip(), validate=True))
    except ValueError as error:
        raise ConfigInvalid(f"host key file {path}: {error}") from error


async def read_token(disk: Disk, path: str) -> str | None:
    """The one-time token in ``path``, or None where the file is gone or empty."""
    text = await disk.run(lambda files: _read(files, path))
    return text.decode(errors="replace").strip() or None if text is not None else None


def _read(files: FileSystem, path: str) -> bytes | None:
    try:
        file = files.open(path, writable=False)
    except FileNotFoundError:
        return None
    try:
        return file.pread(_FILE_BYTES_MAX, 0)
    finally:
        file.close()


def _write_new(files: FileSystem, path: str, data: bytes) -> None:
    directory = path.rpartition("/")[0] or "."
    files.make_directory(directory, 0o700)
    file = files.create(path, 0o600)
    try:
        written = 0
        while written < len(data):
            written += file.pwrite(data[written:], written)
        file.fdatasync()
    finally:
        file.close()
    files.sync_directory(directory)
