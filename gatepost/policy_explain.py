"""``gatepost policy explain``: which rules decide a call, and which conditions were unknown.

The call is one that was thought of (a file, a test of the policy), or one that was recorded.

Owns: the command line and the layout. Refuses: evaluating (``gateway.explanation``,
``gateway.hindsight``), and many decisions at once (``gatepost replay``).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from gatepost.policy_files import call_in, policy_in
from gatepost.recorded_decision import Wanted, bundle_of, decision_of
from gatepost.terminal import plain
from gateway.errors import DocumentInvalid
from gateway.explanation import Explanation, RuleLine, explain
from gateway.hindsight import Hindsight, explain_recorded
from gateway.policy import Policy, SampleInput
from gateway.record import Decision
from gateway.selftest import sample_inputs


@click.command("explain")
@click.argument("policy", type=click.Path(path_type=Path), required=False)
@click.argument("call", type=click.Path(path_type=Path), required=False)
@click.option("--test", "name", help="Take the call of this test of the policy.")
@click.option("--decision", help="Take the recorded decision with this id.")
@click.option(
    "--export", type=click.Path(path_type=Path), help="An export that the decision is in."
)
@click.option("--central", help="Base URL of the central services that hold it.")
@click.option(
    "--token-file", type=click.Path(path_type=Path), help="A file with an auditor's token."
)
@click.option("--region", help="The region that it was recorded in, where the token has several.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of words.")
def explain_call(
    policy: Path | None,
    call: Path | None,
    name: str | None,
    decision: str | None,
    export: Path | None,
    central: str | None,
    token_file: Path | None,
    region: str | None,
    as_json: bool,
) -> None:
    """Say how POLICY decides a call, condition by condition.

    CALL is a YAML or JSON file with what stands under "input" in a test; what it leaves out is
    unknown. With --decision the call is a recorded one, from --central or from --export, and the
    policy that of the bundle that decided it, unless POLICY names another policy or bundle.
    """
    if [call, name, decision].count(None) != 2:
        raise click.UsageError("name one of: a file with a call, --test, --decision")
    if decision is not None:
        wanted = Wanted(decision, export, central, token_file, region)
        told: Hindsight | Explanation = explain_recorded(*_recorded(wanted, policy))
    elif policy is None:
        raise click.UsageError("name the policy")
    else:
        told = _thought_of(policy, call, name or "")
    if as_json:
        click.echo(msgspec.json.encode(told))
    else:
        _tell(told)


def _thought_of(path: Path, call: Path | None, name: str) -> Explanation:
    source = policy_in(path)
    sample = _of_test(source.policy, name) if call is None else call_in(call)
    try:
        return explain(source.table, sample_inputs(name or str(call), sample))
    except DocumentInvalid as error:
        raise click.ClickException(plain(error.detail)) from error


def _recorded(wanted: Wanted, path: Path | None) -> tuple[Policy, str | None, Decision]:
    found = decision_of(wanted)
    if path is not None:
        source = policy_in(path)
        return source.policy, source.digest, found
    if wanted.central is None:
        raise click.UsageError("name the policy, or --central for the bundle that decided")
    policy, digest = bundle_of(wanted.central, found)
    return policy, digest, found


def _of_test(policy: Policy, name: str) -> SampleInput:
    for test in policy.tests:
        if test.name == name:
            return test.input
    raise click.ClickException(plain(f"the policy has no test {name!r}"))


def _tell(found: Explanation | Hindsight) -> None:
    if isinstance(found, Hindsight):
        click.echo(plain(f"{found.id}, decided {found.time}"))
    click.echo(plain(f"{found.outcome} ({found.reason})"))
    width = max([7, *(len(rule.truth) for rule in found.rules)])
    for rule in found.rules:
        click.echo(plain(f"{'*' if rule.decided else ' '} {rule.truth:{width}}  {_words(rule)}"))
        for part in rule.parts:
            click.echo(plain(f"    {part.truth:{width}}  {'  ' * part.depth}{part.text}"))
    click.echo(f"* decided; {found.others} more rules are not about this call")
    if isinstance(found, Hindsight):
        for line in _about(found):
            click.echo(plain(line))


def _about(found: Hindsight) -> Iterator[str]:
    """What must be known to read an explanation of something that was recorded."""
    if found.verdict == "not_by_rules":
        yield "no rule was asked"
    if found.own:
        yield "by the bundle that decided; results of rules are the recorded ones"
    else:
        yield f"by another policy than the one that decided; replayed under it: {found.verdict}"
    if found.missing:
        yield f"not recorded whole: {', '.join(found.missing)}"
    if found.note is not None:
        yield f"note: {found.note}"


def _words(rule: RuleLine) -> str:
    shadow = ", shadow" if rule.shadow else ""
    unsure = "" if rule.certain else ": whether it is about this call is not known"
    return f"{rule.id} ({rule.effect}{shadow}){unsure}"
