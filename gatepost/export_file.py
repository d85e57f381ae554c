"""The file of an export, line by line, gzip or not.

Owns: opening it, its lines, and what is said of one that is cut or damaged. Refuses: what the lines
mean. It needs nothing but the standard library: the bare verifier reads by it, too.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, cast

from gateway import limits

_LINE_BYTES_MAX: Final = 2 * limits.POLICY_BUNDLE_BYTES_MAX
_LINES_PER_UPDATE: Final = 512


class Unusable(Exception):
    """What was given cannot be used: exit code 2. The text says what, and why."""


def lines_of(export: Path, progress: Callable[[int], None]) -> Iterator[bytes]:
    """Lines with their newlines; an endless line is cut, and then fails its form check.

    ``progress``: told the bytes of the file read so far. Raises Unusable.
    """
    try:
        with _opened(export) as (raw, lines):
            number = 0
            while line := lines.readline(_LINE_BYTES_MAX):
                yield line
                if number % _LINES_PER_UPDATE == 0:
                    progress(raw.tell())
                number += 1
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise Unusable(f"{export}: the gzip data is cut or damaged: {error}") from error
    except OSError as error:
        raise Unusable(f"{export}: {error.strerror or error}") from error


@contextmanager
def _opened(export: Path) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """The file itself, for progress, and what to read lines from."""
    with export.open("rb") as raw:
        if raw.read(2) != b"\x1f\x8b":
            raw.seek(0)
            yield raw, raw
            return
        raw.seek(0)
        with gzip.open(raw) as unpacked:
            yield raw, cast("BinaryIO", unpacked)
