"""Where a run of the benchmark writes, and what that place is.

Owns: the directory (``GATEPOST_BENCH_DIR``, else the system's for temporary files) and the name
of its file system, without which a figure about a disk cannot be read. Refuses: timing
(``disk.py``).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

VARIABLE = "GATEPOST_BENCH_DIR"


@contextmanager
def bench_directory() -> Iterator[Path]:
    """An empty directory on the volume to be measured; it is gone afterwards."""
    with tempfile.TemporaryDirectory(
        prefix="gatepost-bench-", dir=os.environ.get(VARIABLE)
    ) as directory:
        yield Path(directory)


def file_system(directory: Path) -> str:
    """The type of the mounted file system that ``directory`` is on: ``ext4``, ``overlay`` …"""
    device = os.stat(directory).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    found = "unknown"
    # proc_pid_mountinfo(5): id, parent, major:minor, root, mount point, options, tags, "-", type.
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, rest = line.partition(" - ")
        if mount.split()[2] == wanted:
            found = rest.split()[0]
    return found
