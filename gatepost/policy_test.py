"""``gatepost policy test``: a policy's own tests, and those that are kept beside it.

Owns: the command line, the table of tests and the list of rules that none reaches. Refuses:
judging (``gateway.selftest``).
"""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
from rich.table import Table

from gatepost.policy_files import policy_in, tests_in
from gatepost.terminal import cell, plain, table_console
from gateway.errors import DocumentInvalid
from gateway.selftest import Tested, run_self_test


class TestLine(msgspec.Struct, frozen=True):
    """One test. ``problem``: empty if it passed."""

    name: str
    outcome: str
    reason: str
    rules: tuple[str, ...]
    problem: str


class TestReport(msgspec.Struct, frozen=True):
    """All of them. ``unreached``: ids of the rules that applied in none."""

    tests: list[TestLine]
    failed: int
    unreached: list[str]


@click.command()
@click.argument("policy", type=click.Path(path_type=Path))
@click.argument("tests", type=click.Path(path_type=Path), nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of the table.")
def test(policy: Path, tests: tuple[Path, ...], as_json: bool) -> None:
    """Run the tests of POLICY, and those in the files or directories TESTS.

    Exit 0: all passed. 1: one failed, or there is none. 2: something cannot be read.
    """
    source = policy_in(policy)
    every = [*source.policy.tests, *(one for path in tests for one in tests_in(path))]
    if not every:
        raise click.ClickException(plain(f"{policy} has no tests, and none were named"))
    try:
        ends = [(one.name, run_self_test(source.table, one)) for one in every]
    except DocumentInvalid as error:
        raise click.ClickException(plain(error.detail)) from error
    reached = {rule for _, end in ends for rule in end.reached}
    report = TestReport(
        tests=[_line(name, end) for name, end in ends],
        failed=sum(bool(end.problem) for _, end in ends),
        unreached=[rule.id for rule in source.table.rules if rule.id not in reached],
    )
    if as_json:
        click.echo(msgspec.json.encode(report))
    else:
        _show(report)
    if report.failed:
        raise SystemExit(1)


def _line(name: str, end: Tested) -> TestLine:
    judged = end.judgement
    return TestLine(name, judged.outcome, judged.reason, judged.rules, end.problem)


def _show(report: TestReport) -> None:
    table = Table("", "test", "outcome", "rules")
    for line in report.tests:
        mark = cell("failed", "red") if line.problem else cell("ok", "green")
        rules = ", ".join(line.rules) or line.reason
        table.add_row(mark, cell(line.name), cell(line.outcome), cell(rules))
    table_console().print(table)
    for line in report.tests:
        if line.problem:
            click.echo(plain(f"{line.name}: {line.problem}"))
    if report.unreached:
        click.echo(plain(f"no test reaches: {', '.join(report.unreached)}"))
    click.echo(f"{len(report.tests) - report.failed} passed, {report.failed} failed")
