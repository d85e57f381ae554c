"""Children of a one-machine set-up: started, waited for, heard and ended."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from gatepost.process import Child, Children, StartFailed

SPEAKER = "import json, sys, signal; print(json.dumps({'port': 7}), flush=True); signal.pause()"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where modules of these tests are found by children."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def child(path: Path, code: str, *arguments: str, **environment: str) -> Child:
    (path / "a_child.py").write_text(code)
    return Child("a-child", "a_child", arguments, path / "a-child.log", environment)


def test_its_first_line_says_where_it_is(path: Path) -> None:
    one = child(path, SPEAKER)
    assert one.wait_ready() == {"port": 7}
    assert one.stop() == -signal.SIGTERM
    assert one.stop() == -signal.SIGTERM, "ending it twice is harmless"
    assert one.returncode == -signal.SIGTERM


def test_a_line_in_pieces_is_one_line(path: Path) -> None:
    code = "import sys, time\nfor c in '{\"a\":1}\\n': sys.stdout.write(c); sys.stdout.flush()\n"
    one = child(path, code)
    assert one.wait_ready() == {"a": 1}
    one.stop()


def test_it_gets_its_arguments_and_environment(path: Path) -> None:
    code = "import json, os, sys; print(json.dumps({'a': sys.argv[1:], 'e': os.environ['X']}))"
    one = child(path, code, "--port", "0", X="y")
    assert one.wait_ready() == {"a": ["--port", "0"], "e": "y"}
    one.stop()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise SystemExit(3)", "it said nothing"),
        ("import sys; sys.exit('no such port')", "no such port"),
        ("print('not json')", "it said nothing"),
        ("print('[1]')", "it said nothing"),
        ("import sys\nfor n in range(9): print(n, file=sys.stderr)", "6 | 7 | 8"),
    ],
)
def test_one_that_does_not_start_is_quoted(path: Path, code: str, words: str) -> None:
    one = child(path, code)
    with pytest.raises(StartFailed, match="a-child did not start") as caught:
        one.wait_ready()
    assert words in str(caught.value)
    assert one.returncode is not None


def test_one_that_stays_silent_is_left(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatepost.process.START_SECONDS_MAX", 0.3)
    one = child(path, "import signal; signal.pause()")
    with pytest.raises(StartFailed, match="did not start"):
        one.wait_ready()
    assert one.returncode == -signal.SIGTERM


def test_one_that_does_not_end_is_killed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatepost.process.STOP_SECONDS_MAX", 0.1)
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SPEAKER
    one = child(path, deaf)
    one.wait_ready()
    assert one.stop() == -signal.SIGKILL


def test_a_signal_of_ones_terminal_does_not_reach_it(path: Path) -> None:
    one = child(path, SPEAKER)
    one.wait_ready()
    assert os.getpgid(one.pid) != os.getpgid(0)
    one.stop()


def test_children_end_in_reverse_order_whatever_happened(path: Path) -> None:
    (path / "a_child.py").write_text(
        "import atexit, signal, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit())\n"
        "atexit.register(lambda: open('ended', 'a').write(sys.argv[1]))\n" + SPEAKER
    )
    before = Path.cwd()
    os.chdir(path)
    try:
        with pytest.raises(RuntimeError, match="of the block"), Children(path) as children:  # noqa: PT012 - the block is what ends
            for name in ("a", "b", "c"):
                children.start(name, "a_child", [name]).wait_ready()
            assert children.dead() == []
            raise RuntimeError("of the block")
    finally:
        os.chdir(before)
    assert (path / "ended").read_text() == "cba"
    assert (path / "a.log").exists()


def test_one_that_ended_by_itself_is_told(path: Path) -> None:
    with Children(path) as children:
        one = children.start("short", "this")
        os.waitid(os.P_PID, one.pid, os.WEXITED | os.WNOWAIT)
        assert children.dead() == [one]
        assert one.stop() == 0
