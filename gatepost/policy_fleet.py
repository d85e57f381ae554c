"""``gatepost policy fleet``: which daemon runs which version of a policy, and who is behind.

Owns: the command line and the table. Refuses: working anything out (the policy service does), and
knowing a daemon that reports nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import click
import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from central.policy_service.fleet import STANDINGS, Fleet, FleetInstance
from gatepost.policy_service import ScopeClient, scope_option, service_options
from gatepost.terminal import cell, table_console
from gateway.limits import FLEET_PAGE_MAX

_FOLLOW_SECONDS: Final = 2.0
_STYLE: Final = {"current": "green", "behind": "yellow", "silent": "dim"}


@click.command()
@service_options
@scope_option
@click.option("--only", type=click.Choice(STANDINGS), help="List these instances only.")
@click.option("--limit", type=click.IntRange(0, FLEET_PAGE_MAX), default=50, show_default=True)
@click.option("--follow", is_flag=True, help="Show it again every two seconds until interrupted.")
@click.option("--json", "as_json", is_flag=True, help="The service's own JSON, one line each time.")
def fleet(
    central: str,
    token_file: Path,
    scope: str,
    only: str | None,
    limit: int,
    follow: bool,
    as_json: bool,
) -> None:
    """Show which daemons run which version: exit 0 if all that report have it, 1 if not."""
    client = ScopeClient(central, token_file, scope)
    query: dict[str, str | int] = (
        {"limit": limit} if only is None else {"limit": limit, "only": only}
    )
    looks = _looks(client, query, follow=follow)
    seen = next(looks)
    # Ctrl-C is how following ends.
    with suppress(KeyboardInterrupt):
        if as_json:
            click.echo(msgspec.json.encode(seen))
            for seen in looks:
                click.echo(msgspec.json.encode(seen))
        elif follow:
            with Live(page(seen), console=Console(), auto_refresh=False) as live:
                for seen in looks:
                    live.update(page(seen), refresh=True)
        else:
            table_console().print(page(seen))
    raise SystemExit(0 if seen.behind == 0 else 1)


def _looks(client: ScopeClient, query: dict[str, str | int], *, follow: bool) -> Iterator[Fleet]:
    yield client.read("fleet", Fleet, query)
    while follow:
        time.sleep(_FOLLOW_SECONDS)
        yield client.read("fleet", Fleet, query)


def page(seen: Fleet) -> Group:
    """What is said of the whole, and a line for each instance."""
    table = Table(box=None, pad_edge=False)
    for name in ("instance", "region", "channel", "version", "state", "standing", "heard", "note"):
        table.add_column(name)
    for one in seen.instances:
        table.add_row(*_row(one))
    left_out = [Text(f"and {seen.left_out} more; see --only and --limit")] if seen.left_out else []
    return Group(*_summary(seen), table, *left_out)


def _summary(seen: Fleet) -> Iterator[Text]:
    yield cell(f"{seen.scope}: version {seen.version}, published {seen.published}", "bold")
    yield cell(
        f"{seen.current} have it, {seen.behind} are behind, {seen.silent} are silent, "
        f"{seen.refusing} refused something"
    )
    canary = seen.canary
    if canary is not None:
        yield cell(
            f"canary: version {canary.version} for {canary.percent} % since {canary.began}; "
            f"{canary.have} have it, {canary.refusing} refused it"
        )
    reach = seen.reach
    if reach.instances:
        yield cell(
            f"from publication to the report of it, {reach.instances} instances: median "
            f"{_seconds(reach.p50_ms)}, 95 % {_seconds(reach.p95_ms)}, longest "
            f"{_seconds(reach.max_ms)}"
        )
    shares = ", ".join(f"{version}: {count}" for version, count in seen.versions.items())
    yield cell(f"versions  {shares or 'none reported'}")


def _seconds(milliseconds: int | None) -> str:
    return "-" if milliseconds is None else f"{milliseconds / 1_000:.1f} s"


def _row(one: FleetInstance) -> Iterator[Text]:
    yield cell(one.instance)
    yield cell(one.region)
    yield cell(one.channel)
    yield cell("-" if one.version is None else str(one.version))
    yield cell(one.state, "" if one.state == "fresh" else "yellow")
    yield cell(one.standing, _STYLE[one.standing])
    yield cell(one.heard)
    refused = "" if one.refused_version is None else f" version {one.refused_version}"
    yield cell("" if one.refused_code is None else f"refused{refused}: {one.refused_code}", "red")
