"""Files that the command ships: policies and configurations to start from.

Owns: finding them in an installed wheel. Refuses: secrets.
"""

from __future__ import annotations

from importlib import resources


def sample(name: str) -> bytes:
    """The bytes of the sample ``name``."""
    return resources.files(__name__).joinpath(name).read_bytes()
