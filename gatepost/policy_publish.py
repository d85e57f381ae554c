"""``gatepost policy publish``: bring a signed bundle to the policy service.

Owns: the command line, and the look at the head that the service signs then. Refuses: signing, and
judging signatures: the service refuses what its root does not want, and so does every daemon.
"""

from __future__ import annotations

from pathlib import Path

import click

from central.policy_service.catalogue import Published
from gatepost.faults import InputOutputError
from gatepost.policy_service import ScopeClient, service_options
from gatepost.policy_wait import wait_until_reached
from gatepost.signed_file import read_envelope
from gatepost.terminal import plain
from gateway import documents, seal
from gateway.documents import PolicyHead
from gateway.errors import DocumentInvalid
from gateway.policy import decode_bundle


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@service_options
@click.option(
    "--canary",
    "share",
    type=click.IntRange(0, 100),
    help="Offer it to this many percent of the daemons; the others keep what is in force.",
)
@click.option(
    "--wait",
    "percent",
    type=click.IntRange(1, 100),
    help="Wait until this many percent of the daemons that report have it.",
)
@click.option(
    "--wait-seconds", type=click.FloatRange(0), default=300.0, show_default=True, help="How long."
)
def publish(
    bundle: Path,
    central: str,
    token_file: Path,
    share: int | None,
    percent: int | None,
    wait_seconds: float,
) -> None:
    """Publish BUNDLE, signed by as many as the root wants.

    Exit 0: the service's head names it, and with --wait it has reached that many. 1: the head names
    another, or it has not reached them. 2: refused, or not reached. 3: another person must approve
    it first. With --canary, the head offers it instead; see gatepost policy promote and withdraw.
    """
    if share is not None and percent is not None:
        raise click.UsageError("--wait is for all daemons; see gatepost policy fleet for a canary")
    envelope = read_envelope(bundle)
    try:
        payload = seal.unbase64(envelope.payload, "unreadable")
        document = decode_bundle(payload)
        digest = seal.sha256_text(payload)
    except DocumentInvalid as error:
        raise click.ClickException(plain(f"{bundle}: {error.detail}")) from error
    client = ScopeClient(central, token_file, document.scope)
    what = "bundles" if share is None else f"bundles?canary={share}"
    if client.post(what, documents.encode(envelope), Published).pending:
        click.echo(
            plain(
                f"{document.scope}: version {document.version} may allow more than the one in "
                f"force; it waits for another person: gatepost policy approve {digest}"
            )
        )
        raise SystemExit(3)
    try:
        answered = seal.parse_envelope(client.get("head"))
        head = documents.decode_exact(seal.unbase64(answered.payload, "unreadable"), PolicyHead)
    except DocumentInvalid as error:
        raise InputOutputError(plain(f"{central}: the head: {error.detail}")) from error
    if share is not None and head.next is not None and head.next.digest == digest:
        told = f"head {head.version} offers version {document.version} to {head.next.percent} %"
        click.echo(plain(f"{document.scope}: {told} of the daemons"))
        return
    if head.bundle.digest != digest:
        raise click.ClickException(f"published, but the head names version {head.bundle.version}")
    click.echo(plain(f"{document.scope}: head {head.version} names version {document.version}"))
    if percent is not None:
        _wait(client, document.version, percent, wait_seconds)


def _wait(client: ScopeClient, version: int, percent: int, seconds: float) -> None:
    found = wait_until_reached(client, version, percent, seconds)
    said = f"{found.have} of {found.of} daemons have version {version} after {found.seconds} s"
    if found.refusing:
        said += f"; {found.refusing} refused it (gatepost policy fleet)"
    if not found.reached:
        raise click.ClickException(said)
    click.echo(said)
