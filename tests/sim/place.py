"""Where the files of a world lie: in a directory that is the same in every run.

The configuration holds paths, its digest stands in each chain's first record, and so a path
decides bytes, sizes and in the end a history. Owns: that directory. Refuses: sharing it; whoever
comes while another run has it gets one of his own, and another history.
"""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def place_of(seed: int) -> Iterator[Path]:
    """The directory of the world of ``seed``."""
    place = Path(tempfile.gettempdir()) / f"gatepost-world-{seed}"
    place.mkdir(exist_ok=True)
    with (place / "LOCK").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with tempfile.TemporaryDirectory() as other:
                yield Path(other)
        else:
            yield place
