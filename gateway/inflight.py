"""The calls in flight: how many there may be, whether new ones are taken, and how to cut them.

Owns: admission (``too_busy``, ``draining``, ``no_key``), the sum of bodies in memory, and the
cancel scope of each forwarded call, so that a policy lock or the end of the grace period can
end streams. Refuses: deciding when; the daemon's composition root does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

import anyio

from gateway import limits
from gateway.errors import TurnAway


class Cuttable:
    """A forwarded call that may be ended from outside; ``outcome`` says why it was."""

    def __init__(self, scope: anyio.CancelScope) -> None:
        self._scope = scope
        self._hung_up: Callable[[], bool] | None = None
        self.outcome: str | None = None

    def watch(self, hung_up: Callable[[], bool]) -> None:
        """From now on the call ends when ``hung_up`` says that its application is gone."""
        self._hung_up = hung_up

    def cut_if_gone(self) -> bool:
        """Cut the call if its application has hung up."""
        gone = self._hung_up is not None and self._hung_up()
        if gone:
            self.cut("client_abort")
        return gone

    def cut(self, outcome: str) -> None:
        """Cancel the call; ``outcome`` is what its completion record will say."""
        if self.outcome is None:
            self.outcome = outcome
        self._scope.cancel()


class Admission:
    """One call's place among those in flight; a context manager that gives it up."""

    __slots__ = ("_held_bytes", "_in_flight")

    def __init__(self, in_flight: InFlight) -> None:
        self._in_flight = in_flight
        self._held_bytes = 0

    def hold(self, held_bytes: int) -> None:
        """Say how many bytes this call holds in memory now; told before more is read.

        Raises TurnAway (``too_busy``) when it grew and there is no room.
        """
        more = held_bytes - self._held_bytes
        self._in_flight.count_bytes(more)
        self._held_bytes = held_bytes

    def __enter__(self) -> Self:
        self._in_flight.enter()
        return self

    def __exit__(self, *details: object) -> None:
        self.hold(0)
        self._in_flight.leave()


class InFlight:
    """Every call between admission and its last byte. ``cuts``: how often all were cut."""

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
        # A dict for its order: calls are cut in the order in which they came.
        self._forwarded: dict[Cuttable, None] = {}
        self._some_forwarded = anyio.Event()
        self._idle = anyio.Event()
        self._idle.set()
        self._cut_with = ""
        self.cuts = 0
        self.calls = 0
        self.held_bytes = 0
        self.draining = False

    def __repr__(self) -> str:
        return f"InFlight(calls={self.calls}, draining={self.draining})"

    def admitted(self) -> Admission:
        """A place for one call. Raises TurnAway (``draining``, ``too_busy``, ``no_key``)."""
        if self.draining:
            raise TurnAway("draining")
        if self.calls >= self._calls_max:
            raise TurnAway("too_busy")
        if not self._key_usable():
            raise TurnAway("no_key", "the instance has been without a certificate too long")
        return Admission(self)

    def enter(self) -> None:
        """Count a call; ``Admission`` does."""
        if self.calls == 0:
            self._idle = anyio.Event()
        self.calls += 1

    def leave(self) -> None:
        """The inverse of ``enter``."""
        self.calls -= 1
        if self.calls == 0:
            self._idle.set()

    def count_bytes(self, more: int) -> None:
        """Count ``more`` bytes of memory (fewer if negative). Raises TurnAway (``too_busy``)."""
        if more > 0 and self.held_bytes + more > self._body_bytes_max:
            raise TurnAway("too_busy", "too many request bodies are held in memory")
        self.held_bytes += more

    @contextmanager
    def cuttable(self, scope: anyio.CancelScope, since: int) -> Iterator[Cuttable]:
        """Register a forwarded call that runs inside ``scope``.

        ``since``: what ``cuts`` was when the call was decided. A call that was between its
        decision and this moment while all were cut is cut now: nothing slips through.
        """
        entry = Cuttable(scope)
        self._forwarded[entry] = None
        self._some_forwarded.set()
        if self.cuts != since:
            entry.cut(self._cut_with)
        try:
            yield entry
        finally:
            del self._forwarded[entry]

    def cut_all(self, outcome: str) -> int:
        """End every forwarded call with ``outcome``; returns how many there were."""
        self.cuts += 1
        self._cut_with = outcome
        entries = list(self._forwarded)
        for entry in entries:
            entry.cut(outcome)
        return len(entries)

    def cut_hung_up(self) -> int:
        """End every forwarded call whose application has hung up; returns how many there were."""
        return sum(entry.cut_if_gone() for entry in list(self._forwarded))

    async def watch_hang_ups(self) -> None:
        """Do that for ever. One task for all calls: one per call would have to be made and
        cancelled each time, for an answer that most calls never wait for. It sleeps while there
        is no call: an idle daemon costs nothing.
        """
        while True:
            if not self._forwarded:
                self._some_forwarded = anyio.Event()
                await self._some_forwarded.wait()
            await anyio.sleep(limits.HANG_UP_SECONDS)
            self.cut_hung_up()

    async def wait_idle(self) -> None:
        """Return when no call is in flight."""
        await self._idle.wait()
