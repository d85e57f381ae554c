"""``gatepost policy init``: a commented policy to begin with, tests and all.

Owns: writing the file. Refuses: overwriting one.
"""

from __future__ import annotations

from pathlib import Path

import click

from gatepost.faults import InputOutputError
from gatepost.samples import sample
from gatepost.terminal import plain


@click.command()
@click.argument("out", type=click.Path(path_type=Path), default="policy.yaml")
def init(out: Path) -> None:
    """Write a commented policy with its tests to OUT, a new file (policy.yaml)."""
    try:
        with out.open("xb") as file:
            file.write(sample("starter.yaml"))
    except FileExistsError as error:
        raise InputOutputError(f"{out} exists; choose another name or remove it") from error
    except OSError as error:
        raise InputOutputError(f"{out}: {error.strerror}") from error
    click.echo(plain(f"{out} written; next: gatepost policy test {out}"))
