"""Golden files: bytes that other versions and other programs rely on.

``hold`` compares; with ``GATEPOST_UPDATE_GOLDEN=1`` it writes instead, and the difference is then
reviewed as a change of format. A file once released is never changed, only added to.
"""

from __future__ import annotations

import os
from pathlib import Path

_FOLDER = Path(__file__).parent / "golden"
_UPDATE = os.environ.get("GATEPOST_UPDATE_GOLDEN") == "1"


def hold(name: str, data: bytes) -> None:
    """Assert that ``data`` is exactly the golden file ``name``."""
    path = _FOLDER / name
    if _UPDATE:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    assert path.exists(), f"no golden file {name}; write it with GATEPOST_UPDATE_GOLDEN=1"
    assert data == path.read_bytes(), f"{name} differs; review it with GATEPOST_UPDATE_GOLDEN=1"


def names(folder: str) -> set[str]:
    """The golden files in ``folder``."""
    return {path.name for path in (_FOLDER / folder).iterdir()}
