"""What the demonstration calls a success, and what it prints."""

from __future__ import annotations

import io
from types import SimpleNamespace

import msgspec
import pytest
from rich.console import Console

from gatepost import demo_report
from gatepost.demo import Row, Verdict
from gatepost.demo_outcome import Outcome


def outcome(**changes: object) -> Outcome:
    good = Outcome(
        name="chat",
        client="openai",
        asked="gpt-4o-mini",
        expected="allowed",
        outcome="allowed",
        detail="hello",
        exception=None,
    )
    return msgspec.structs.replace(good, **changes)


ALLOWED = Row(call=outcome(), upstream_requests=1)
DENIED = Row(call=outcome(name="card", expected="denied", outcome="denied"), upstream_requests=0)


def good() -> Verdict:
    records: list[dict[str, object]] = [{"id": str(n), "kind": "decision"} for n in range(2)]
    return Verdict(
        rows=[ALLOWED, DENIED],
        records=records,
        daemon_exit=0,
        verified_exit=0,
        verified={"verdicts": []},
        flipped_exit=1,
    )


def test_all_as_it_should_be_is_no_problem() -> None:
    assert good().problems == []


@pytest.mark.parametrize(
    ("row", "right"),
    [
        (ALLOWED, True),
        (DENIED, True),
        (Row(call=outcome(), upstream_requests=0), False),
        (Row(call=outcome(), upstream_requests=2), False),
        (msgspec.structs.replace(DENIED, upstream_requests=1), False),
        (Row(call=outcome(outcome="denied"), upstream_requests=1), False),
        (Row(call=outcome(expected="denied"), upstream_requests=0), False),
        (Row(call=outcome(outcome="failed"), upstream_requests=1), False),
    ],
)
def test_a_call_is_right_by_its_outcome_and_by_what_the_far_end_counted(
    row: Row, right: bool
) -> None:
    assert row.as_it_should_be == right
    verdict = good()
    verdict.rows = [row]
    assert bool(verdict.problems) != right


@pytest.mark.parametrize(
    ("member", "value", "words"),
    [
        ("records", [], "0 decisions in the store for 2 calls"),
        ("records", [{"id": "1", "kind": "decision"}] * 2, "1 decisions in the store"),
        ("records", [{"id": str(n), "kind": "completion"} for n in range(2)], "0 decisions"),
        ("daemon_exit", 75, "the daemon ended with 75"),
        ("daemon_exit", None, "the daemon ended with None"),
        ("verified_exit", 3, "the verifier ended with 3"),
        ("flipped_exit", 0, "a flipped byte: the verifier ended with 0"),
        ("flipped_exit", 2, "a flipped byte: the verifier ended with 2"),
    ],
)
def test_each_thing_that_may_fail_is_a_problem(member: str, value: object, words: str) -> None:
    verdict = good()
    setattr(verdict, member, value)
    (problem,) = verdict.problems
    assert words in problem


def printed(show: str, *arguments: object) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=250, color_system=None)
    getattr(demo_report, show)(console, *arguments)
    return stream.getvalue()


def test_the_tables_show_calls_records_and_verdicts() -> None:
    denied = outcome(outcome="denied", exception="openai.PermissionDeniedError", detail="no: r1")
    calls = printed("calls", [ALLOWED, Row(call=denied, upstream_requests=0)])
    assert "openai.PermissionDeniedError" in calls
    assert "gpt-6-mini" in printed("records", [{"id": "x", "model": "gpt-6-mini"}])
    verdicts = {"verdicts": [{"name": "signatures", "state": "true", "counted": 9}]}
    assert "signatures" in printed("verdict", verdicts, 1)
    assert "NOT found out" in printed("verdict", None, 0)
    assert "gatepost up" in printed("next_steps")


def test_what_a_far_end_answered_is_not_markup() -> None:
    odd = outcome(detail="[/green]\x1b[2J[bold]", asked="[x]")
    text = printed("calls", [SimpleNamespace(call=odd, upstream_requests=1, as_it_should_be=True)])
    assert "[/green]\\x1b[2J[bold]" in text
    assert "[/nothing]" in printed("records", [{"id": "x", "model": "[/nothing]"}])
