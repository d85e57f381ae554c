"""``gatepost check-config``: whether a configuration can work, before a pod finds out.

Owns: checking the file, and showing what is in force. Refuses: changing anything, and printing
secrets (the file holds none, only their paths). What the file names on this machine is looked at
by ``machine_fit.py``.
"""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
from rich.table import Table

from gatepost.faults import InputOutputError
from gatepost.machine_fit import Problem, problems
from gatepost.terminal import cell, table_console
from gateway.errors import ConfigInvalid
from sidecar.config import SidecarConfig, read


@click.command("check-config")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def check_config(path: Path, as_json: bool) -> None:
    """Check the configuration in PATH: exit 0 if the daemon would work with it, 1 if not."""
    try:
        config = read(str(path))
    except OSError as error:
        raise InputOutputError(f"{path}: {error.strerror}") from error
    except ConfigInvalid as error:
        if as_json:
            click.echo(msgspec.json.encode({"ok": False, "error": str(error)}))
        else:
            click.echo(str(error), err=True)
        raise SystemExit(1) from error
    found = list(problems(config))
    ok = not any(problem.fatal for problem in found)
    if as_json:
        click.echo(msgspec.json.encode({"ok": ok, "problems": found, "effective": config}))
    else:
        _show(config, found, ok)
    raise SystemExit(0 if ok else 1)


def _show(config: SidecarConfig, found: list[Problem], ok: bool) -> None:
    console = table_console()
    console.print(f"tenant {config.tenant}, region {config.region}, topology {config.topology}")
    routes = Table("route", "prefix", "protocol", "upstreams", box=None)
    for route in config.routes:
        routes.add_row(route.name, route.prefix, route.protocol, ", ".join(route.upstreams))
    console.print(routes)
    for problem in found:
        word = cell("error", "red") if problem.fatal else cell("note", "yellow")
        console.print(word, cell(f"{problem.path}: {problem.message}"))
    console.print("[green]usable[/green]" if ok else "[red]not usable[/red]")
