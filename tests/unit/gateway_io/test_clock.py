from __future__ import annotations

import time

import pytest

from gateway.io.clock import UNKNOWN, KernelClock, SystemClock, judge, read_kernel_clock
from gateway.ports import WallClock
from gateway.vocabulary import CLOCK_SOURCES

_UNSYNC = 0x40
_PLL = 0x01


@pytest.mark.parametrize(
    ("result", "status", "error_us_max", "expected"),
    [
        (0, _PLL, 1_500, KernelClock(source="synchronised", error_ms=2)),
        (0, 0, 0, KernelClock(source="synchronised", error_ms=0)),
        (0, _PLL, 16_000_000, KernelClock(source="synchronised", error_ms=16_000)),
        # A leap second is being inserted: the state is no error.
        (1, _PLL, 1_000, KernelClock(source="synchronised", error_ms=1)),
        (5, _UNSYNC, 16_000_000, KernelClock(source="unsynchronised", error_ms=None)),
        (5, _UNSYNC | _PLL, 10, KernelClock(source="unsynchronised", error_ms=None)),
        # The return value alone says nothing: TIME_ERROR has causes beside STA_UNSYNC.
        (5, _PLL, 10, KernelClock(source="synchronised", error_ms=1)),
        (-1, 0, 0, UNKNOWN),
        (-1, _UNSYNC, 16_000_000, UNKNOWN),
    ],
)
def test_the_kernels_word_on_its_clock_is_read_by_its_status(
    result: int, status: int, error_us_max: int, expected: KernelClock
) -> None:
    assert judge(result=result, status=status, error_us_max=error_us_max) == expected


def test_this_kernels_word_is_in_the_vocabulary() -> None:
    found = read_kernel_clock()
    assert found.source in CLOCK_SOURCES
    assert (found.error_ms is None) == (found.source != "synchronised")


def test_the_kernel_is_asked_again_only_when_its_word_is_old() -> None:
    now_us = [1_000_000]
    words = iter(
        [
            KernelClock(source="unsynchronised", error_ms=None),
            KernelClock(source="synchronised", error_ms=7),
        ]
    )
    clock = SystemClock(read_kernel=lambda: next(words), read_mono_us=lambda: now_us[0])
    assert (clock.source(), clock.error_ms()) == ("unsynchronised", None)
    now_us[0] += 4_999_999
    assert clock.source() == "unsynchronised"
    now_us[0] += 1
    assert (clock.source(), clock.error_ms()) == ("synchronised", 7)


def test_the_kernel_is_asked_in_the_first_second_after_boot_too() -> None:
    word = KernelClock(source="synchronised", error_ms=1)
    assert SystemClock(read_kernel=lambda: word, read_mono_us=lambda: 0).source() == "synchronised"


def test_wall_time_is_microseconds_since_1970() -> None:
    clock: WallClock = SystemClock()
    before = time.time_ns() // 1_000
    assert before <= clock.wall_us() <= time.time_ns() // 1_000


def test_monotonic_time_never_steps_back() -> None:
    clock = SystemClock()
    readings = [clock.mono_us() for _ in range(1_000)]
    assert readings == sorted(readings)


def test_the_boot_id_is_one_for_all_clocks_of_a_boot() -> None:
    boot_id = SystemClock().boot_id()
    assert boot_id == SystemClock().boot_id()
    assert boot_id is None or len(boot_id) == 36
    assert str(boot_id) in repr(SystemClock())
