from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway import limits
from gateway.classify.scanner import (
    Pattern,
    compile_scanner,
    engine_identity,
    load_scanner,
)
from gateway.errors import ConfigInvalid


def test_every_pattern_is_found_in_one_pass() -> None:
    scanner = compile_scanner([Pattern("abc"), Pattern("BCD", caseless=True), Pattern("zzz")])
    assert sorted(scanner.scan(b"xabcd").hits) == [(0, 4), (1, 5)]
    assert scanner.scan(b"").hits == []


def test_a_pattern_asked_for_once_is_reported_once() -> None:
    scanner = compile_scanner([Pattern(r"\d", once=True), Pattern("a")])
    assert sorted(scanner.scan(b"1a2a3").hits) == [(0, 1), (1, 2), (1, 4)]


def test_too_many_hits_end_the_scan_and_say_so() -> None:
    scanner = compile_scanner([Pattern("a")])
    scan = scanner.scan(b"a" * (limits.SCAN_EVENTS_MAX + 5))
    assert scan.saturated
    assert len(scan.hits) == limits.SCAN_EVENTS_MAX
    assert not scanner.scan(b"a" * 10).saturated


def test_a_pattern_that_does_not_compile_is_named() -> None:
    with pytest.raises(ConfigInvalid, match=r"b\(ad"):
        compile_scanner([Pattern("good"), Pattern("b(ad")])


def test_a_dumped_database_scans_alike_and_a_damaged_one_is_not_used() -> None:
    scanner = compile_scanner([Pattern("needle")])
    dumped = scanner.dump()
    loaded = load_scanner(dumped)
    assert loaded is not None
    assert loaded.scan(b"a needle").hits == [(0, 8)]
    assert load_scanner(b"") is None
    assert load_scanner(b"x" * 64) is None
    assert load_scanner(dumped[:-1]) is None


def test_the_identity_of_the_engine_is_stable() -> None:
    assert engine_identity() == engine_identity()
    assert len(engine_identity()) == 64


def test_scans_in_several_threads_do_not_disturb_each_other() -> None:
    scanner = compile_scanner([Pattern("needle")])
    text = b"hay " * 50_000 + b"needle"
    with ThreadPoolExecutor(4) as threads:
        scans = list(threads.map(lambda _: scanner.scan(text), range(16)))
    assert {tuple(scan.hits) for scan in scans} == {((0, len(text)),)}


def test_without_the_library_the_message_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['hyperscan'] = None\n"
        "from gateway.classify.scanner import engine_identity\n"
        "from gateway.errors import ConfigInvalid\n"
        "try: engine_identity()\n"
        "except ConfigInvalid as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "install the hyperscan wheel" in done.stdout
