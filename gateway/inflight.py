"""The calls in flight: how many there may be, whether new ones are taken, and how to cut them.

Owns: admission (``too_busy``, ``draining``, ``no_key``), the sum of bodies in memory, and the
cancel scope of each forwarded call, so that a policy lock or the end of the grace period can
end streams. Refuses: deciding when; the daemon's composition root does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio

from gateway import limits
from gateway.errors import TurnAway


class Cuttable:
    """A forwarded call that may be ended from outside; ``outcome`` says why it was."""

    def __init__(self, scope: anyio.CancelScope) -> None:
        self._scope = scope
        self.outcome: str | None = None

    def cut(self, outcome: str) -> None:
        """Cancel the call; ``outcome`` is what its completion record will say."""
        if self.outcome is None:
            self.outcome = outcome
        self._scope.cancel()


class InFlight:
    """Every call between admission and its last byte."""

    def __init__(
        self,
        *,
        key_usable: Callable[[], bool],
        calls_max: int = limits.CALLS_IN_FLIGHT_MAX,
        body_bytes_max: int = limits.BODIES_IN_MEMORY_BYTES_MAX,
    ) -> None:
        self._key_usable = key_usable
        self._calls_max = calls_max
        self._body_bytes_max = body_bytes_max
        self._body_bytes = 0
        self._forwarded: set[Cuttable] = set()
        self._idle = anyio.Event()
        self._idle.set()
        self.calls = 0
        self.draining = False

    def __repr__(self) -> str:
        return f"InFlight(calls={self.calls}, draining={self.draining})"

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Count one call. Raises TurnAway (``draining``, ``too_busy``, ``no_key``)."""
        if self.draining:
            raise TurnAway("draining")
        if self.calls >= self._calls_max:
            raise TurnAway("too_busy")
        if not self._key_usable():
            raise TurnAway("no_key", "the instance has been without a certificate too long")
        if self.calls == 0:
            self._idle = anyio.Event()
        self.calls += 1
        try:
            yield
        finally:
            self.calls -= 1
            if self.calls == 0:
                self._idle.set()

    @contextmanager
    def holding(self, body_bytes: int) -> Iterator[None]:
        """Count ``body_bytes`` of memory. Raises TurnAway (``too_busy``) when there is no room."""
        if self._body_bytes + body_bytes > self._body_bytes_max:
            raise TurnAway("too_busy", "too many request bodies are held in memory")
        self._body_bytes += body_bytes
        try:
            yield
        finally:
            self._body_bytes -= body_bytes

    @contextmanager
    def cuttable(self, scope: anyio.CancelScope) -> Iterator[Cuttable]:
        """Register a forwarded call that runs inside ``scope``."""
        entry = Cuttable(scope)
        self._forwarded.add(entry)
        try:
            yield entry
        finally:
            self._forwarded.discard(entry)

    def cut_all(self, outcome: str) -> int:
        """End every forwarded call with ``outcome``; returns how many there were."""
        entries = list(self._forwarded)
        for entry in entries:
            entry.cut(outcome)
        return len(entries)

    async def wait_idle(self) -> None:
        """Return when no call is in flight."""
        await self._idle.wait()
