"""A seeded asyncio loop: virtual time, and a ready queue whose order the seed decides.

The real code runs on it unchanged, on production's own scheduler. Time moves only when nothing
is ready, straight to the next timer, so an hour costs nothing. With nothing ready and no timer
the world is stuck, which is a finding: ``Stuck`` is raised instead of hanging.

Worker threads are invisible to virtual time, so nothing that runs here may use one; the disk is
a port for that reason.

anyio keeps the tasks and scopes of a cancel scope in sets, whose order is that of addresses in
memory: another one in every process. While a world runs they are kept in the order in which they
came, or a seed would not be one history.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import random
import selectors
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, TypeVar

import anyio
from anyio._backends import _asyncio as anyio_asyncio

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

T = TypeVar("T")
Element = TypeVar("Element")


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
        self._fraction = chance.random

    def popleft(self) -> asyncio.Handle:
        waiting = len(self)
        if waiting > 1:
            self.rotate(-int(self._fraction() * waiting))
        return super().popleft()


class _Handle(asyncio.Handle):
    """A handle without what asyncio keeps for its debug mode: a world makes a million of them."""

    __slots__ = ()

    def __init__(
        self,
        callback: Callable[..., object],
        args: Sequence[object],
        loop: asyncio.AbstractEventLoop,
        context: Context | None,
    ) -> None:
        self._context = copy_context() if context is None else context
        self._loop = loop
        self._callback = callback
        self._args = args
        self._cancelled = False
        self._repr = None
        self._source_traceback = None


class _Timer(_Handle, asyncio.TimerHandle):
    """The same for what is due later."""

    __slots__ = ()

    def __init__(
        self,
        when: float,
        callback: Callable[..., object],
        args: Sequence[object],
        loop: asyncio.AbstractEventLoop,
        context: Context | None,
    ) -> None:
        _Handle.__init__(self, callback, args, loop, context)
        self._when = when
        self._scheduled = True


class SeededLoop(asyncio.SelectorEventLoop):
    """See the module's text. One seed is one order of events."""

    _scheduled: list[asyncio.TimerHandle]

    def __init__(self, seed: int) -> None:
        self._virtual = _VirtualSelector()
        super().__init__(self._virtual)
        self._ready = _Shuffled(random.Random(seed))

    def time(self) -> float:
        return self._virtual.now

    def call_soon(
        self,
        callback: Callable[..., object],
        *args: object,
        context: Context | None = None,
    ) -> asyncio.Handle:
        handle = _Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        *args: object,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        timer = _Timer(when, callback, args, self, context)
        heapq.heappush(self._scheduled, timer)
        return timer


class _InOrder(dict[Element, None]):
    """As much of a set as a cancel scope uses, in order of arrival."""

    def add(self, element: Element) -> None:
        self[element] = None

    def remove(self, element: Element) -> None:
        del self[element]

    def discard(self, element: Element) -> None:
        self.pop(element, None)


class _OrderedScope(anyio_asyncio.CancelScope):
    """A cancel scope that is cancelled in order."""

    __slots__ = ()

    def __init__(self, deadline: float = math.inf, shield: bool = False) -> None:
        super().__init__(deadline, shield)
        self._tasks = _InOrder()  # type: ignore[assignment]  # a set as far as it is used
        self._child_scopes = _InOrder()  # type: ignore[assignment]  # the same


@contextmanager
def _ordered_scopes() -> Iterator[None]:
    before = anyio_asyncio.CancelScope
    anyio_asyncio.CancelScope = _OrderedScope  # type: ignore[misc]  # see the module's text
    try:
        yield
    finally:
        anyio_asyncio.CancelScope = before  # type: ignore[misc]  # see the module's text


def simulate(seed: int, world: Callable[[], Awaitable[T]]) -> T:
    """Run ``world`` on a loop of its own and return what it returns."""
    options = {"loop_factory": lambda: SeededLoop(seed)}
    with _ordered_scopes():
        return anyio.run(world, backend="asyncio", backend_options=options)


def now() -> float:
    """Virtual time, in seconds: what ``anyio.current_time`` says, at a tenth of the price."""
    return asyncio.get_running_loop().time()


async def elapse(seconds: float) -> None:
    """Let virtual time pass: everything that is due happens meanwhile."""
    await anyio.sleep(seconds)
