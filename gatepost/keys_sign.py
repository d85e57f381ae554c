"""``gatepost keys sign``: one holder's signature on a root, bundle, revocation or log statement.

Owns: showing what is signed before it is, asking, and writing the file back with one signature
more. Refuses: a document that this version does not understand, a key that its role does not name,
and touching the payload.
"""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from gatepost import signing_report
from gatepost.key_file import read_signer
from gatepost.signed_file import read_envelope, read_roots, replace_envelope
from gatepost.terminal import plain
from gateway import quorum
from gateway.errors import DocumentInvalid


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--key", type=click.Path(path_type=Path), required=True, help="Your key file (0600, base64)."
)
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    help="The newest root that you trust, or the directory 1.json … N.json. Root 1 needs none.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of words.")
def sign(file: Path, key: Path, root: Path | None, yes: bool, as_json: bool) -> None:
    """Show what FILE says, and add the signature of a key to it."""
    envelope = read_envelope(file)
    held = read_roots(root)
    signer = read_signer(key)
    try:
        before = signing_report.report(file, envelope, held)
        needs = quorum.needs_of(envelope, held[-1] if held else None)
        signed = quorum.add_signature(envelope, signer, needs)
    except DocumentInvalid as error:
        raise click.ClickException(plain(f"{file} is not signed: {error.detail}")) from error
    if signed is not envelope:
        if not yes:
            _ask(before, signer.kid)
        replace_envelope(file, signed)
    found = signing_report.report(file, signed, held)
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    click.echo("signed" if signed is not envelope else "this key had signed it before")
    for line in signing_report.signatures(found):
        click.echo(line)
    if found.complete:
        click.echo(signing_report.next_step(signed))


def _ask(before: signing_report.SignedFile, kid: str) -> None:
    click.echo(plain(f"{before.file}: {before.kind} {before.digest}"), err=True)
    for line in before.says:
        click.echo(plain(line), err=True)
    click.confirm(f"Sign this with {kid}?", abort=True, err=True)
