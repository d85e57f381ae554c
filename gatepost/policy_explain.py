"""``gatepost policy explain``: which rules decide a call, and which conditions were unknown.

Owns: the command line and the layout. Refuses: evaluating (``gateway.explanation``), and recorded
decisions (``gatepost replay``).
"""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from gatepost.policy_files import call_in, policy_in
from gatepost.terminal import plain
from gateway.errors import DocumentInvalid
from gateway.explanation import Explanation, RuleLine, explain
from gateway.policy import Policy, SampleInput
from gateway.selftest import sample_inputs


@click.command("explain")
@click.argument("policy", type=click.Path(path_type=Path))
@click.argument("call", type=click.Path(path_type=Path), required=False)
@click.option("--test", "name", help="Take the call of this test of the policy.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of words.")
def explain_call(policy: Path, call: Path | None, name: str | None, as_json: bool) -> None:
    """Say how POLICY decides a call, condition by condition.

    CALL is a YAML or JSON file with what stands under "input" in a test; what it leaves out is
    unknown.
    """
    if (call is None) == (name is None):
        raise click.UsageError("name a file with a call, or --test")
    source = policy_in(policy)
    sample = _of_test(source.policy, name or "") if call is None else call_in(call)
    try:
        found = explain(source.table, sample_inputs(name or str(call), sample))
    except DocumentInvalid as error:
        raise click.ClickException(plain(error.detail)) from error
    if as_json:
        click.echo(msgspec.json.encode(found))
    else:
        _tell(found)


def _of_test(policy: Policy, name: str) -> SampleInput:
    for test in policy.tests:
        if test.name == name:
            return test.input
    raise click.ClickException(plain(f"the policy has no test {name!r}"))


def _tell(found: Explanation) -> None:
    click.echo(f"{found.outcome} ({found.reason})")
    for rule in found.rules:
        click.echo(plain(f"{'*' if rule.decided else ' '} {rule.truth:7}  {_words(rule)}"))
        for part in rule.parts:
            click.echo(plain(f"    {part.truth:7}  {'  ' * part.depth}{part.text}"))
    click.echo(f"* decided; {found.others} more rules are not about this call")


def _words(rule: RuleLine) -> str:
    shadow = ", shadow" if rule.shadow else ""
    unsure = "" if rule.certain else ": whether it is about this call is not known"
    return f"{rule.id} ({rule.effect}{shadow}){unsure}"
