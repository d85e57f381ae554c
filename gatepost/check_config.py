"""``gatepost check-config``: whether a configuration can work, before a pod finds out.

Owns: checking the file, what it names on this machine, and showing what is in force. Refuses:
changing anything, and printing secrets (the file holds none, only their paths).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from gatepost.faults import InputOutputError
from gateway.errors import ConfigInvalid
from sidecar.config import SidecarConfig, parse


class Problem(msgspec.Struct, frozen=True):
    """``path``: the setting; ``fatal``: the daemon would not start or not work."""

    path: str
    message: str
    fatal: bool


def problems(config: SidecarConfig) -> Iterator[Problem]:
    """What in ``config`` does not fit this machine."""
    for credential in config.credentials:
        yield from _secret(f"credentials.{credential.id}.file", credential.file)
    for issuer in config.identity.issuers:
        if not os.access(issuer.jwks_file, os.R_OK):
            yield Problem(f"identity.issuers.{issuer.id}.jwks_file", "is not readable", fatal=True)
    if config.enrolment.host_key_file is None:
        yield Problem(
            "enrolment.host_key_file",
            "is not set: the daemon cannot enrol and stops deciding after the uncertified time",
            fatal=True,
        )
    for where, directory in (
        ("spool.directory", config.spool.directory),
        ("policy.directory", config.policy.directory),
    ):
        if not _can_make(directory):
            yield Problem(where, f"{directory} cannot be created or written", fatal=True)
    if not config.routes:
        yield Problem("routes", "is empty: every call would be turned away", fatal=True)
    if config.listen.allow_uid_0:
        yield Problem("listen.allow_uid_0", "callers with uid 0 are taken", fatal=False)
    if not config.spool.require_checkpoint:
        yield Problem(
            "spool.require_checkpoint",
            "is false: records are deleted on the store's word, without a log checkpoint",
            fatal=False,
        )


def _secret(where: str, path: str) -> Iterator[Problem]:
    try:
        mode = Path(path).stat().st_mode
    except OSError as error:
        yield Problem(where, f"{path}: {error.strerror}", fatal=True)
        return
    if mode & 0o077:
        yield Problem(where, f"{path} can be read by others; chmod 600 it", fatal=False)


def _can_make(directory: str) -> bool:
    place = Path(directory)
    while not place.exists():
        if place == place.parent:
            return False
        place = place.parent
    return place.is_dir() and os.access(place, os.W_OK | os.X_OK)


@click.command("check-config")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def check_config(path: Path, as_json: bool) -> None:
    """Check the configuration in PATH: exit 0 if the daemon would work with it, 1 if not."""
    try:
        config = parse(path.read_text(), str(path))
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
    console = Console()
    console.print(f"tenant {config.tenant}, region {config.region}, topology {config.topology}")
    routes = Table("route", "prefix", "protocol", "upstreams", box=None)
    for route in config.routes:
        routes.add_row(route.name, route.prefix, route.protocol, ", ".join(route.upstreams))
    console.print(routes)
    for problem in found:
        word = "[red]error[/red]" if problem.fatal else "[yellow]note[/yellow]"
        console.print(f"{word} {problem.path}: {problem.message}")
    console.print("[green]usable[/green]" if ok else "[red]not usable[/red]")
