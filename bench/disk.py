"""How long one synced write takes on the volume that the spool of this run uses.

Owns: the medium's own figure, without which a latency of a durable gateway says nothing.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

_RECORD_BYTES = 2048
_WRITES = 300


def fdatasync_p50_us(directory: Path) -> int:
    """Median of ``pwrite`` + ``fdatasync`` of 2 KiB into a zero-filled file."""
    path = directory / "fdatasync.probe"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.pwrite(descriptor, bytes(_RECORD_BYTES * _WRITES), 0)
        os.fsync(descriptor)
        taken = []
        for number in range(_WRITES):
            began = time.perf_counter_ns()
            os.pwrite(descriptor, b"x" * _RECORD_BYTES, number * _RECORD_BYTES)
            os.fdatasync(descriptor)
            taken.append(time.perf_counter_ns() - began)
    finally:
        os.close(descriptor)
        path.unlink()
    return sorted(taken)[_WRITES // 2] // 1000
