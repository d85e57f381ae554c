"""Key files: 32 random bytes in base64, one line, for their owner alone (0600).

Owns: writing one so that it is there whole or not at all, and reading one. Refuses: overwriting,
and a file that others may read.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path

from gatepost.faults import InputOutputError
from gateway import seal
from gateway.errors import ConfigInvalid


def write_secret(path: Path, secret: bytes) -> None:
    """Write ``secret`` in base64. Raises OSError, FileExistsError where something is there."""
    write_private(path, base64.b64encode(secret))


def write_private(path: Path, data: bytes) -> None:
    """Write ``data`` and a newline, 0600; an interrupted write leaves no part of it at ``path``.

    Raises OSError, FileExistsError where something is there.
    """
    partial = path.with_name(f"{path.name}.new")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data + b"\n")
            file.flush()
            os.fsync(file.fileno())
        # A rename would take the place of a key that somebody put there meanwhile.
        os.link(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read_signer(path: Path) -> seal.Signer:
    """The key in ``path``. Raises InputOutputError."""
    from central.keys import read_secret  # the same checks as the services make

    try:
        return seal.Signer(read_secret(str(path), "signing"))
    except ConfigInvalid as error:
        raise InputOutputError(str(error)) from error
