"""``gatepost policy publish``: bring a signed bundle to the policy service.

Owns: the command line, and the look at the head that the service signs then. Refuses: signing, and
judging signatures: the service refuses what its root does not want, and so does every daemon.
"""

from __future__ import annotations

import urllib.parse
from pathlib import Path

import click

from gatepost.central_client import client_of
from gatepost.faults import InputOutputError
from gatepost.signed_file import read_envelope
from gatepost.terminal import plain
from gateway import documents, seal
from gateway.documents import PolicyHead
from gateway.errors import DocumentInvalid
from gateway.policy import decode_bundle


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--central", required=True, help="Base URL of the policy service.")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    required=True,
    help="A file with an operator's token.",
)
def publish(bundle: Path, central: str, token_file: Path) -> None:
    """Publish BUNDLE, signed by as many as the root wants.

    Exit 0: the service's head names it. 1: the head names another. 2: refused, or not reached.
    """
    envelope = read_envelope(bundle)
    try:
        payload = seal.unbase64(envelope.payload, "unreadable")
        document = decode_bundle(payload)
    except DocumentInvalid as error:
        raise click.ClickException(plain(f"{bundle}: {error.detail}")) from error
    client = client_of(central, token_file)
    path = f"/v1/policy/{urllib.parse.quote(document.scope, safe='')}"
    client.post(f"{path}/bundles", documents.encode(envelope))
    try:
        answered = seal.parse_envelope(client.get(f"{path}/head"))
        head = documents.decode_exact(seal.unbase64(answered.payload, "unreadable"), PolicyHead)
    except DocumentInvalid as error:
        raise InputOutputError(plain(f"{central}: the head: {error.detail}")) from error
    if head.bundle.digest != seal.sha256_text(payload):
        raise click.ClickException(f"published, but the head names version {head.bundle.version}")
    click.echo(plain(f"{document.scope}: head {head.version} names version {document.version}"))
