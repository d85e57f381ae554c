"""A seeded asyncio loop: virtual time, and a ready queue whose order the seed decides.

The real code runs on it unchanged, on production's own scheduler. Time moves only when nothing
is ready, straight to the next timer, so an hour costs nothing. With nothing ready and no timer
the world is stuck, which is a finding: ``Stuck`` is raised instead of hanging.

Worker threads are invisible to virtual time, so nothing that runs here may use one; the disk is
a port for that reason.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

import anyio

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

T = TypeVar("T")


class Stuck(AssertionError):
    """Every task waits for something that can no longer happen."""


class _VirtualSelector(selectors.BaseSelector):
    """Turns the loop's wait for its next timer into a step of the virtual clock."""

    def __init__(self) -> None:
        self._real = selectors.DefaultSelector()
        self.now = 0.0

    def register(
        self, fileobj: FileDescriptorLike, events: int, data: object = None
    ) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Stuck("no task is ready and no timer is set")
        self.now += max(0.0, timeout)
        return []

    def close(self) -> None:
        self._real.close()

    def get_map(self) -> Mapping[FileDescriptorLike, selectors.SelectorKey]:
        return self._real.get_map()


class _Shuffled(deque[asyncio.Handle]):
    """A ready queue that hands out any of its handles next, as the seed says."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self._chance = chance

    def popleft(self) -> asyncio.Handle:
        self.rotate(-self._chance.randrange(len(self)))
        return super().popleft()


class SeededLoop(asyncio.SelectorEventLoop):
    """See the module's text. One seed is one order of events."""

    def __init__(self, seed: int) -> None:
        self._virtual = _VirtualSelector()
        super().__init__(self._virtual)
        self._ready = _Shuffled(random.Random(seed))

    def time(self) -> float:
        return self._virtual.now


def simulate(seed: int, world: Callable[[], Awaitable[T]]) -> T:
    """Run ``world`` on a loop of its own and return what it returns."""
    return anyio.run(
        world, backend="asyncio", backend_options={"loop_factory": lambda: SeededLoop(seed)}
    )


async def elapse(seconds: float) -> None:
    """Let virtual time pass: everything that is due happens meanwhile."""
    await anyio.sleep(seconds)
