"""``python -m bench [PART]``: the cost of a call, policy, spool, record store, verifier, rule pack.

Without a part all of them, but ``fleet``: that one takes ``--sidecars N`` processes. ``--calls N``
per row of the first, ``--records N`` in the store and ``--filled N`` with copies of them,
``--json`` for machines. What is written goes to ``GATEPOST_BENCH_DIR``.
"""

from __future__ import annotations

import os
import subprocess
import sys

import click
import msgspec
from rich.console import Console

from bench import daemon, fleet, policy, spool, store, verifier

_PARTS = ("daemon", "policy", "spool", "store", "verifier", "classify")
_VERIFIED_RECORDS = 100_000
_PROVED_LEAVES = 1_000_000


@click.command()
@click.argument("part", type=click.Choice((*_PARTS, "fleet")), required=False)
@click.option("--calls", default=4000, show_default=True)
@click.option("--records", default=50_000, show_default=True)
@click.option("--filled", default=0, show_default=True)
@click.option("--sidecars", default=50, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(
    part: str | None, calls: int, records: int, filled: int, sidecars: int, as_json: bool
) -> None:
    console = Console(stderr=as_json)
    parts = _PARTS if part is None else (part,)
    if "daemon" in parts:
        result = daemon.run(calls, console)
        if as_json:
            click.echo(msgspec.json.encode(result))
        else:
            daemon.show(result, console)
    if "policy" in parts:
        decided = policy.run(console)
        if as_json:
            click.echo(msgspec.json.encode(decided))
        else:
            policy.show(decided, console)
    if "spool" in parts:
        measured = spool.run(spool.Sizes(), console)
        if as_json:
            click.echo(msgspec.json.encode(measured))
        else:
            spool.show(measured, console)
    if "store" in parts:
        kept = store.run(records, _PROVED_LEAVES, console, filled=filled)
        if as_json:
            click.echo(msgspec.json.encode(kept))
        else:
            store.show(kept, console)
    if "verifier" in parts:
        verified = verifier.run(_VERIFIED_RECORDS, console)
        if as_json:
            click.echo(msgspec.json.encode(verified))
        else:
            verifier.show(verified, console)
    if "fleet" in parts:
        reached = fleet.run(sidecars, console)
        if as_json:
            click.echo(msgspec.json.encode(reached))
        else:
            fleet.show(reached, console)
    if "classify" in parts:
        data = os.environ.get("GATEPOST_BENCH_DATA")
        subprocess.run(
            [sys.executable, "-m", "bench.classify", *([data] if data else [])], check=True
        )


main(prog_name="python -m bench")
