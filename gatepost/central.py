"""``gatepost central`` and ``gatepost issuer``: the central services, together or apart.

Owns: the command lines, also of a mirror of the policy service. Refuses: everything else;
``central.app`` and ``central.policy_mirror.app`` are the composition roots.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from gateway.errors import ConfigInvalid

if TYPE_CHECKING:
    from central.config import ServiceName

_EXIT_CONFIGURATION = 78

_config = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    required=True,
    help="The services' TOML configuration.",
)


@click.group(invoke_without_command=True)
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    help="The services' TOML configuration.",
)
@click.pass_context
def central(context: click.Context, path: Path | None) -> None:
    """Run the central services until SIGTERM; `services` in the file says which."""
    if context.invoked_subcommand is not None:
        if path is not None:
            raise click.UsageError(f"--config goes behind {context.invoked_subcommand!r}")
        return
    if path is None:
        raise click.UsageError("Missing option '--config'.")
    _run(path, None)


@central.command()
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    required=True,
    help="The mirror's TOML configuration.",
)
@click.option("--mirror-of", help="Base URL of the policy service; instead of `mirror_of`.")
def policy(path: Path, mirror_of: str | None) -> None:
    """Serve another policy service's policy again, verified and without keys, until SIGTERM."""
    from central.policy_mirror import app  # needs the extra [central]
    from central.policy_mirror.config import load

    def announce(url: str) -> None:
        sys.stdout.write(msgspec.json.encode({"url": url}).decode() + "\n")
        sys.stdout.flush()

    try:
        app.serve(load(str(path), mirror_of), started=announce)
    except ConfigInvalid as error:
        click.echo(f"gatepost central policy: {error}", err=True)
        raise SystemExit(_EXIT_CONFIGURATION) from error


@click.command()
@_config
def issuer(path: Path) -> None:
    """Run the issuer alone until SIGTERM, on port 4145; it must not hold the log's key."""
    _run(path, "issuer")


def _run(path: Path, only: ServiceName | None) -> None:
    from central import app  # needs the extra [central]
    from central.config import load

    try:
        config = load(str(path), only)
        app.serve(config, started=lambda url: _announce(url, one_operator=config.one_operator))
    except ConfigInvalid as error:
        click.echo(f"gatepost {only or 'central'}: {error}", err=True)
        raise SystemExit(_EXIT_CONFIGURATION) from error


def _announce(url: str, *, one_operator: bool) -> None:
    line = msgspec.json.encode({"url": url, "one_operator": one_operator})
    sys.stdout.write(line.decode() + "\n")
    sys.stdout.flush()
