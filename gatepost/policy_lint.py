"""``gatepost policy lint``: whether a policy compiles, and what in it has no effect.

Owns: the command line and the list of findings. Refuses: finding them (``gateway.policy_lint``).
"""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from gatepost.policy_files import policy_in, tests_in
from gatepost.terminal import plain
from gateway import policy_lint
from gateway.errors import DocumentInvalid


@click.command()
@click.argument("policy", type=click.Path(path_type=Path))
@click.argument("tests", type=click.Path(path_type=Path), nargs=-1)
@click.option("--strict", is_flag=True, help="Exit 1 for a warning too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each warning.")
def lint(policy: Path, tests: tuple[Path, ...], strict: bool, as_json: bool) -> None:
    """Check POLICY: a file, a directory of files, or a bundle.

    Mistakes are told with file, line and column, and exit 1. Warnings name what certainly has no
    effect. TESTS are files of tests that do not travel with the policy.
    """
    source = policy_in(policy)
    apart = [test for path in tests for test in tests_in(path)]
    try:
        findings = policy_lint.lint(source.table, [*source.policy.tests, *apart])
    except DocumentInvalid as error:
        raise click.ClickException(plain(error.detail)) from error
    for finding in findings:
        place = source.place(finding.path)
        if as_json:
            told = {"file": place.file, "line": place.line, "warning": finding.said}
            click.echo(msgspec.json.encode(told))
        else:
            click.echo(plain(f"{place}: warning: {finding.said}"))
    if not as_json:
        count = len(source.table.rules)
        click.echo(f"{count} rules, {len(findings)} warnings")
    if findings and strict:
        raise SystemExit(1)
