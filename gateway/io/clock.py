"""The node's clock, and what the kernel says about it.

Owns: wall time, a monotonic time comparable within one boot, and the kernel's own judgement of
whether its clock is synchronised (adjtimex(2)). Refuses: trusting any of it; comparing the
clock with signed times is done where those times are verified. Deadlines never come from here:
they are the event loop's.
"""

from __future__ import annotations

import ctypes
import struct
import time
from collections.abc import Callable
from typing import Final

import msgspec

from gateway import limits
from gateway.vocabulary import ClockSource

_BOOT_ID_PATH: Final = "/proc/sys/kernel/random/boot_id"
# timex.h: the clock is not synchronised.
_STA_UNSYNC: Final = 0x0040
# struct timex (linux/timex.h), native layout: modes, offset, freq, maxerror, esterror, status.
_TIMEX_HEAD: Final = struct.Struct("@Illlli")
# The kernel writes the whole struct: 208 bytes on 64-bit Linux.
_TIMEX_BYTES: Final = 512
# BOOTTIME counts suspended time too; where a platform lacks it, MONOTONIC is the nearest.
_MONOTONIC: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class KernelClock(msgspec.Struct, frozen=True):
    """What the kernel says of its clock. ``error_ms`` is its bound of the error, or None."""

    source: ClockSource
    error_ms: int | None


UNKNOWN: Final = KernelClock(source="unknown", error_ms=None)


class SystemClock:
    """``ports.WallClock`` over the system's clocks.

    ``read_kernel`` and ``read_mono_us`` are there for tests; the kernel is asked at most once in
    ``limits.CLOCK_STATE_SECONDS``.
    """

    def __init__(
        self,
        *,
        read_kernel: Callable[[], KernelClock] | None = None,
        read_mono_us: Callable[[], int] | None = None,
    ) -> None:
        self._read_kernel = read_kernel or read_kernel_clock
        self._read_mono_us = read_mono_us or _system_mono_us
        self._boot_id = _read_boot_id()
        self._kernel = UNKNOWN
        self._kernel_until_us: int | None = None

    def __repr__(self) -> str:
        return f"SystemClock({self._kernel.source}, boot_id={self._boot_id!r})"

    def wall_us(self) -> int:
        """Microseconds since 1970-01-01 UTC."""
        return time.time_ns() // 1_000

    def source(self) -> str:
        """``synchronised``, ``unsynchronised`` or ``unknown``."""
        return self._current_kernel().source

    def error_ms(self) -> int | None:
        """The kernel's bound of its error, rounded up; None unless it is synchronised."""
        return self._current_kernel().error_ms

    def mono_us(self) -> int:
        """Microseconds since boot, suspended time included where the platform counts it."""
        return self._read_mono_us()

    def boot_id(self) -> str | None:
        """The kernel's random id of this boot, or None outside Linux."""
        return self._boot_id

    def _current_kernel(self) -> KernelClock:
        now_us = self._read_mono_us()
        if self._kernel_until_us is None or now_us >= self._kernel_until_us:
            self._kernel = self._read_kernel()
            self._kernel_until_us = now_us + int(limits.CLOCK_STATE_SECONDS * 1_000_000)
        return self._kernel


def judge(*, result: int, status: int, error_us_max: int) -> KernelClock:
    """The meaning of one adjtimex answer: its return value, ``status`` and ``maxerror``.

    Under STA_UNSYNC ``maxerror`` is only a constant of the kernel (16 s), so it is dropped: an
    unsynchronised clock may be wrong by days.
    """
    if result < 0:
        return UNKNOWN
    if status & _STA_UNSYNC:
        return KernelClock(source="unsynchronised", error_ms=None)
    return KernelClock(source="synchronised", error_ms=max(0, -(-error_us_max // 1_000)))


def read_kernel_clock() -> KernelClock:
    """Ask the kernel; ``UNKNOWN`` where there is no adjtimex or a sandbox forbids it."""
    if _adjtimex is None:
        return UNKNOWN
    # All zero: modes = 0 only reads, and needs no privilege.
    answer = ctypes.create_string_buffer(_TIMEX_BYTES)
    result = _adjtimex(answer)
    _modes, _offset, _freq, error_us_max, _estimate, status = _TIMEX_HEAD.unpack_from(answer)
    return judge(result=result, status=status, error_us_max=error_us_max)


def _find_adjtimex() -> Callable[[object], int] | None:
    try:
        return ctypes.CDLL(None).adjtimex
    except (AttributeError, OSError):
        return None


_adjtimex: Final = _find_adjtimex()


def _system_mono_us() -> int:
    return time.clock_gettime_ns(_MONOTONIC) // 1_000


def _read_boot_id() -> str | None:
    try:
        with open(_BOOT_ID_PATH, encoding="ascii") as file:
            return file.read(64).strip() or None
    except OSError:
        return None
