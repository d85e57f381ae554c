"""``gatepost store log-keys``: what the operator of a witness has to be given.

Owns: the command line, and the form of what is printed. Refuses: the keys themselves
(``central.record_store.log_keys``).
"""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from gatepost.faults import InputOutputError
from gateway.errors import ConfigInvalid


@click.command()
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    required=True,
    help="The central services' configuration.",
)
@click.option("--json", "as_json", is_flag=True)
def log_keys(path: Path, as_json: bool) -> None:
    """Print the verifier keys of every log, as a witness's configuration takes them.

    Run it again after `reopen-log`, and after a root that changes the role log: a witness cosigns
    what it was told of, and nothing else.
    """
    from central.config import load  # needs the extra [central]
    from central.record_store import log_keys as reading

    try:
        found = reading.log_keys(load(str(path)))
    except ConfigInvalid as error:
        raise InputOutputError(str(error)) from error
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    for one in found:
        click.echo(f"[[logs]]  # tenant {one.tenant}, region {one.region}")
        click.echo(f"keys = {msgspec.json.encode(one.keys).decode()}")
        click.echo(f"threshold = {one.threshold}\n")
