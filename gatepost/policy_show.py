"""``gatepost policy show``: the rules of a policy or bundle, with their groups written out.

Owns: the layout. Refuses: signatures (``gatepost keys show``) and judging.
"""

from __future__ import annotations

from pathlib import Path

import click

from gatepost.policy_files import policy_in
from gatepost.terminal import plain
from gateway.policy import Grant, Policy, Restriction, json_text


@click.command()
@click.argument("policy", type=click.Path(path_type=Path))
def show(policy: Path) -> None:
    """Show the rules of POLICY, a file, a directory or a bundle, with groups written out."""
    found = policy_in(policy).policy
    rules: list[Grant | Restriction] = [*found.restrictions, *found.grants]
    for rule in rules:
        effect = rule.effect if isinstance(rule, Restriction) else "grant"
        shadow = " (shadow)" if rule.status == "shadow" else ""
        click.echo(plain(f"{effect} {rule.id}{shadow}"))
        if rule.description is not None:
            click.echo(plain(f"    {rule.description}"))
        for member in ("actions", "models", "tools", "routes", "agents"):
            entries = getattr(rule, member)
            if entries is not None:
                click.echo(plain(f"    {member}: {', '.join(_written_out(entries, found))}"))
        if rule.when is not None:
            click.echo(plain(f"    when: {json_text(rule.when).decode()}"))
        if isinstance(rule, Restriction) and rule.obligations:
            given = [json_text(one).decode() for one in rule.obligations]
            click.echo(plain(f"    obligations: {', '.join(given)}"))


def _written_out(entries: list[str], policy: Policy) -> list[str]:
    return [
        name
        for entry in entries
        for name in (policy.groups[entry[1:]] if entry.startswith("@") else [entry])
    ]
