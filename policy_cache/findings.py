"""What attempts to get policy have shown so far: counts, the last error, and suspicions.

Owns: turning results, refusals and failures into the flags of the status. Refuses: attempting
anything, and the state of the policy itself (``gateway.snapshot``).
"""

from __future__ import annotations

from collections import Counter

from gateway.errors import DocumentInvalid
from policy_cache.fetch import FetchFailed

_UPDATE_WANTED = frozenset({"update_required", "incompatible", "unsupported"})
_NOTHING_NEWER = frozenset({"not_modified", "unchanged"})


class Findings:
    """``failures``: errors in a row; ``retry_after``: seconds that the last one asked for.

    Flags: ``future_head``, ``update_required`` and ``credential_refused`` hold until an attempt
    shows otherwise, ``equivocation`` until the process ends. ``nothing_newer``: the source
    answered, and only with what is held or has expired.
    """

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self.failures = 0
        self.retry_after: float | None = None
        self.last_success_us: int | None = None
        self.last_error: tuple[str, int] | None = None
        self.future_head = False
        self.equivocation = False
        self.update_required = False
        self.credential_refused = False
        self.nothing_newer = False

    def succeeded(self, result: str, wall_us: int) -> None:
        """An attempt ended with ``result``."""
        self.counters[result] += 1
        self.failures = 0
        self.retry_after = None
        self.last_success_us = wall_us
        self.future_head = self.update_required = self.credential_refused = False
        self.nothing_newer = result in _NOTHING_NEWER

    def unreachable(self, error: FetchFailed, wall_us: int) -> None:
        """An attempt got no usable answer."""
        self._failed("unreachable", str(error), wall_us)
        self.retry_after = error.retry_after_seconds
        self.credential_refused = error.kind == "credential"
        self.nothing_newer = False

    def refused(self, error: DocumentInvalid, wall_us: int) -> None:
        """A candidate was refused."""
        self._failed(f"rejected_{error.reason}", str(error), wall_us)
        self.future_head = error.reason == "future"
        self.equivocation = self.equivocation or error.reason == "equivocation"
        self.update_required = error.reason in _UPDATE_WANTED
        self.credential_refused = False
        self.nothing_newer = error.reason == "expired"

    def _failed(self, counter: str, detail: str, wall_us: int) -> None:
        self.counters[counter] += 1
        self.failures += 1
        self.retry_after = None
        self.last_error = (detail, wall_us)
