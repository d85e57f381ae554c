"""The key that turns people into pseudonyms, read once at the start.

Owns: the file's form. Refuses: drawing a key (whoever wants pseudonyms to agree over daemons must
hand all of them the same one) and noticing a new one while running: a person's pseudonym changes
with it, which is a decision and not a reload.
"""

from __future__ import annotations

import base64
import os
from typing import Final

from gateway.errors import ConfigInvalid
from gateway.pseudonym import KEY_BYTES_MIN

_FILE_BYTES_MAX: Final = 4096
_OTHERS: Final = 0o077


def read_pseudonym_key(path: str | None) -> bytes | None:
    """The key in ``path`` (base64), None without a path.

    Raises ConfigInvalid for a file that others may read, that cannot be read, or that does not
    hold at least ``KEY_BYTES_MIN`` bytes.
    """
    if path is None:
        return None
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(_FILE_BYTES_MAX)
    except OSError as error:
        raise ConfigInvalid(f"pseudonyms.key_file {path}: {error.strerror}") from error
    if mode & _OTHERS:
        raise ConfigInvalid(f"pseudonyms.key_file {path}: others may read it; make its mode 0600")
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except ValueError:
        key = b""
    if len(key) < KEY_BYTES_MIN:
        raise ConfigInvalid(
            f"pseudonyms.key_file {path} does not hold the base64 of at least {KEY_BYTES_MIN} bytes"
        )
    return key
