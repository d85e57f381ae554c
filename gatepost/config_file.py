"""The daemon's configuration as commands find it.

Owns: where it is by default, and the messages for a file that cannot be used. Refuses: what
stands in it (``sidecar.config``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from gatepost.faults import InputOutputError
from gateway.errors import ConfigInvalid
from sidecar.config import SidecarConfig, read

DEFAULT: Final = Path(".gatepost/sidecar.toml")
"""Where `gatepost up` writes it."""


def load(path: Path) -> SidecarConfig:
    """The configuration in ``path``. Raises InputOutputError."""
    try:
        return read(str(path))
    except OSError as error:
        raise InputOutputError(
            f"{path}: {error.strerror}; start `gatepost up`, or name the daemon's configuration "
            "with --config"
        ) from error
    except ConfigInvalid as error:
        raise InputOutputError(str(error)) from error
