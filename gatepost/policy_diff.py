"""``gatepost policy diff``: what a change of policy allows more, and what less.

Owns: the command line and the list of changes. Refuses: judging them (``gateway.policy_diff``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click
import msgspec

from gatepost.policy_files import policy_in
from gatepost.terminal import plain
from gateway import policy_diff

_MAY_WIDEN: Final = ("widening", "unclear")


@click.command()
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option("--fail-on-widening", is_flag=True, help="Exit 1 if anything may widen access.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each change.")
def diff(old: Path, new: Path, fail_on_widening: bool, as_json: bool) -> None:
    """Compare two policies: files, directories or bundles.

    Each change is widening, narrowing, neutral or unclear. Nothing that is called narrowing or
    neutral lets through a call that was not allowed before.
    """
    changes = policy_diff.diff(policy_in(old).policy, policy_in(new).policy)
    for change in changes:
        if as_json:
            click.echo(msgspec.json.encode(change))
        else:
            click.echo(plain(f"{change.verdict:9}  {change.what}: {change.said}"))
    if not changes and not as_json:
        click.echo("the same policy")
    if fail_on_widening and any(change.verdict in _MAY_WIDEN for change in changes):
        raise SystemExit(1)
