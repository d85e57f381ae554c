"""``gatepost keys show``: what a signed document says, who signed it, what is missing.

Owns: the command line and the exit code: 0 enough have signed, 1 a signature is wrong or the
document cannot be understood, 3 signatures are missing. Refuses: signing (``keys_sign.py``).
"""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from gatepost import signing_report
from gatepost.signed_file import read_envelope, read_roots
from gatepost.terminal import plain
from gateway.errors import DocumentInvalid
from gateway.io.clock import SystemClock

_INCOMPLETE = 3


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    help="The newest root that you trust, or the directory 1.json … N.json. Root 1 needs none.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of words.")
def show(file: Path, root: Path | None, as_json: bool) -> None:
    """Show FILE: a root, bundle, revocation, log statement, certificate or policy head.

    Exit 0: enough have signed. 1: a signature is wrong. 2: unreadable. 3: signatures are missing.
    """
    envelope = read_envelope(file)
    held = read_roots(root)
    try:
        found = signing_report.report(file, envelope, held)
        lasts = signing_report.expiry(envelope, SystemClock().wall_us())
    except DocumentInvalid as error:
        raise click.ClickException(plain(f"{file}: {error.detail}")) from error
    if as_json:
        click.echo(msgspec.json.encode(found))
    else:
        signing_report.tell(found)
        if lasts is not None:
            click.echo(lasts)
    if not found.complete:
        raise SystemExit(_INCOMPLETE)
