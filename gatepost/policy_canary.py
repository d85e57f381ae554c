"""``gatepost policy canary``, ``promote``, ``withdraw``: what becomes of a canary that runs.

Owns: the command lines. Refuses: beginning one (``gatepost policy publish --canary``) and choosing
daemons: each works out for itself whether it is among the percentage.
"""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from central.policy_service.canaries import Percentage
from central.policy_service.catalogue import Published
from gatepost.policy_service import ScopeClient, scope_option, service_options
from gatepost.terminal import plain


@click.command()
@service_options
@scope_option
@click.option("--percent", type=click.IntRange(0, 100), required=True, help="Of the daemons.")
def canary(central: str, token_file: Path, scope: str, percent: int) -> None:
    """Offer the candidate to another share of the daemons; a higher one only adds daemons.

    Exit 0: the head says so. 2: no canary runs, or not reached.
    """
    body = msgspec.json.encode(Percentage(percent=percent))
    done = ScopeClient(central, token_file, scope).put("canary", body, Published)
    click.echo(plain(f"{scope}: version {done.version} is offered to {percent} % of the daemons"))


@click.command()
@service_options
@scope_option
def promote(central: str, token_file: Path, scope: str) -> None:
    """Put the candidate in force for all. What was approved when it began needs no more.

    Exit 0: the head names it. 2: no canary runs, the bundle is not valid any more, or not reached.
    """
    done = ScopeClient(central, token_file, scope).post("canary/promotion", b"", Published)
    click.echo(plain(f"{scope}: version {done.version} is in force for all"))


@click.command()
@service_options
@scope_option
def withdraw(central: str, token_file: Path, scope: str) -> None:
    """Take the candidate back: every daemon returns to what is in force.

    Exit 0: the head offers it no more. 2: no canary runs, or not reached.
    """
    done = ScopeClient(central, token_file, scope).delete("canary", Published)
    click.echo(plain(f"{scope}: version {done.version} is withdrawn"))
