"""``python -m bench``: the daemon's cost, then the rule pack's precision and recall.

``--calls N`` per row, ``--json`` for machines, ``--only daemon|classify``.
"""

from __future__ import annotations

import os
import subprocess
import sys

import click
import msgspec
from rich.console import Console

from bench import daemon


@click.command()
@click.option("--calls", default=4000, show_default=True)
@click.option("--json", "as_json", is_flag=True)
@click.option("--only", type=click.Choice(["daemon", "classify"]))
def main(calls: int, as_json: bool, only: str | None) -> None:
    console = Console(stderr=as_json)
    if only != "classify":
        result = daemon.run(calls, console)
        if as_json:
            click.echo(msgspec.json.encode(result))
        else:
            daemon.show(result, console)
    if only != "daemon":
        data = os.environ.get("GATEPOST_BENCH_DATA")
        subprocess.run(
            [sys.executable, "-m", "bench.classify", *([data] if data else [])], check=True
        )


main(prog_name="python -m bench")
