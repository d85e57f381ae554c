"""The log: fixed events, bounded lines, nothing that a request or an exception could put there."""

from __future__ import annotations

import ast
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.eventlog import EVENTS, EventLog
from tests.sim.loop import elapse, simulate
from tests.unit.sidecar.hand_clock import HandClock

ROOT = Path(__file__).parents[3]


class Written:
    """A log and what it wrote."""

    def __init__(self, stream: io.StringIO | None = None) -> None:
        self.stream = stream or io.StringIO()
        self.log = EventLog(HandClock(), self.stream)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


def write(**values: Any) -> str:
    """The text of one line."""
    written = Written()

    async def world() -> None:
        written.log.info("listening", **values)

    simulate(1, world)
    return written.stream.getvalue()


def test_a_line_is_one_object_with_time_level_and_event() -> None:
    line = write(name="tcp", port=4141, ratio=0.5, on=True, none=None)
    assert line.endswith("\n")
    assert line.count("\n") == 1
    assert json.loads(line) == {
        "time": "2026-11-23T00:00:00.000000Z",
        "level": "info",
        "event": "listening",
        "name": "tcp",
        "port": 4141,
        "ratio": 0.5,
        "on": True,
        "none": None,
    }


def test_levels_are_what_was_called() -> None:
    written = Written()

    async def world() -> None:
        written.log.info("starting")
        written.log.warning("draining")
        written.log.error("stopped")

    simulate(1, world)
    assert [line["level"] for line in written.lines()] == ["info", "warning", "error"]


def test_an_event_that_is_not_in_the_list_is_a_fault() -> None:
    written = Written()

    async def world() -> None:
        with pytest.raises(ValueError, match="unknown log event 'made_up'"):
            written.log.info("made_up")

    simulate(1, world)
    assert written.lines() == []


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=400))
def test_a_line_is_printable_ascii_whatever_a_value_holds(text: str) -> None:
    line = write(address=text)
    assert all(" " <= character <= "~" for character in line.removesuffix("\n"))
    assert len(line) < 4_000
    shown = json.loads(line)["address"]
    assert shown == text[:300].encode("utf-8", "backslashreplace").decode()


@pytest.mark.parametrize("text", ["\x1b[2J", "\x7f", "\x9b31m", "\u202e", "\ud800", "\r\n{}"])
def test_nothing_reaches_a_terminal_as_a_command(text: str) -> None:
    line = write(address=text)
    assert text not in line
    assert line.isascii()
    assert line.count("\n") == 1


def test_a_fault_shows_its_type_and_place_and_never_its_text() -> None:
    written = Written()

    async def world() -> None:
        try:
            raise RuntimeError("Alice's prompt") from KeyError("secret-key")
        except RuntimeError as error:
            written.log.fault("exchange_failed", error)
        written.log.fault("forward_failed", ValueError("never raised"))

    simulate(1, world)
    raised, bare = written.lines()
    assert raised["level"] == "error"
    assert raised["error"] == "RuntimeError"
    assert raised["where"].partition(":")[0].endswith("test_eventlog.py")
    assert bare["where"] == ""
    assert "prompt" not in written.stream.getvalue()
    assert "secret" not in written.stream.getvalue()


def test_a_flood_is_held_back_and_counted() -> None:
    written = Written()

    async def world() -> None:
        for _ in range(100):
            written.log.warning("policy_unreachable")
        assert len(written.lines()) == 20
        written.log.warning("spool_full")
        assert len(written.lines()) == 21, "another event has a limit of its own"
        await elapse(1)
        written.log.warning("policy_unreachable")
        await elapse(60)
        written.log.warning("policy_unreachable")

    simulate(1, world)
    assert written.lines()[-2]["held_back"] == 80
    assert "held_back" not in written.lines()[-1]


def test_a_log_that_cannot_be_written_ends_nothing_and_is_made_up_for() -> None:
    class Full(io.StringIO):
        full = True

        def write(self, text: str) -> int:
            if self.full:
                raise OSError(28, "No space left on device")
            return super().write(text)

    stream = Full()
    written = Written(stream)

    async def world() -> None:
        written.log.info("starting")
        written.log.info("starting")
        stream.full = False
        written.log.info("starting")

    simulate(1, world)
    (line,) = written.lines()
    assert line["held_back"] == 2


def test_a_closed_stream_ends_nothing() -> None:
    written = Written()
    written.stream.close()

    async def world() -> None:
        written.log.info("starting")

    simulate(1, world)


# -- the list itself -------------------------------------------------------------------------


def words() -> set[str]:
    """Every quoted word of the packages that a daemon is made of, but the list itself."""
    found: set[str] = set()
    for package in ("gateway", "policy_cache", "sidecar", "gatepost"):
        for path in (ROOT / package).rglob("*.py"):
            if path.name != "eventlog.py":
                found.update(re.findall(r'"([a-z_]+)"', path.read_text()))
    return found


def logged() -> set[str]:
    """The first argument of every ``….log.<level>("…")`` in the daemon."""
    found: set[str] = set()
    for path in (ROOT / "sidecar").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in ("info", "warning", "error", "fault")
                and node.args
                and isinstance(node.args[0], ast.Constant)
            ):
                found.add(str(node.args[0].value))
    return found


def test_the_list_and_what_is_logged_are_the_same() -> None:
    assert logged() <= EVENTS
    assert words() >= EVENTS, "an event that nobody writes"
    assert len(logged()) >= 15
