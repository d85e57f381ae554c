"""What reached the far end: counts by path, and the last requests as they arrived.

Owns: counting, remembering, and the file that says the counts when the process is gone. Refuses:
judging; tests compare what stands here with what the gateway should have let through.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from typing import Final

import msgspec

from gatepost.far_end.web import Request

SEEN_MAX: Final = 64
BODY_CHARACTERS_MAX: Final = 16 * 1024


class Seen(msgspec.Struct, frozen=True):
    """One request as it arrived; ``body`` is cut to ``BODY_CHARACTERS_MAX``."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: str


class Ledger:
    """Counts of one far end; ``count_file`` (or None) is replaced whole at every change."""

    def __init__(self, count_file: str | None) -> None:
        self._count_file = count_file
        self._counts: Counter[str] = Counter()
        self._seen: deque[Seen] = deque(maxlen=SEEN_MAX)
        self._write()

    def __repr__(self) -> str:
        return f"Ledger({dict(self._counts)})"

    def count(self, name: str) -> None:
        """Count ``name`` once; durable enough for a reader once this returns."""
        self._counts[name] += 1
        self._write()

    def arrived(self, request: Request) -> None:
        """Remember ``request`` and count its path."""
        body = request.body.decode("utf-8", errors="replace")[:BODY_CHARACTERS_MAX]
        self._seen.append(Seen(request.method, request.target, request.headers, body))
        self.count(request.path)

    def counts(self) -> bytes:
        """``{"total": n, "by_path": {path: n}}`` as JSON."""
        return msgspec.json.encode({"total": self._counts.total(), "by_path": self._counts})

    def seen(self) -> bytes:
        """The last requests, oldest first, as a JSON list of ``Seen``."""
        return msgspec.json.encode(list(self._seen))

    def _write(self) -> None:
        if self._count_file is None:
            return
        partial = self._count_file + ".partial"
        with open(partial, "wb") as file:
            file.write(self.counts())
        os.replace(partial, self._count_file)
