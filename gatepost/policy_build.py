"""``gatepost policy build``: the bundle that people read and sign.

Owns: the command line, and what a bundle takes from the head that is in force. Refuses: signing
(``gatepost keys sign``) and publishing.
"""

from __future__ import annotations

import urllib.parse
from pathlib import Path
from typing import Final

import click

from gatepost.central_client import CentralClient
from gatepost.policy_files import policy_in
from gatepost.signed_file import read_envelope, write_envelope
from gatepost.terminal import plain
from gateway import documents, issuing, seal
from gateway.documents import Envelope, PolicyHead
from gateway.errors import DocumentInvalid
from gateway.io.clock import SystemClock
from gateway.policy import Source

_DAY_US: Final = 86_400_000_000


@click.command()
@click.argument("policy", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A new file.")
@click.option("--head", type=click.Path(path_type=Path), help="The head in force, as served.")
@click.option("--central", help="Base URL of the policy service: the head that it serves now.")
@click.option("--scope", help="Whom the policy is for, as the root names it.")
@click.option("--epoch", type=click.IntRange(1), help="The root's epoch.")
@click.option("--version", type=click.IntRange(1), help="Above every version before.")
@click.option("--expires-days", type=click.IntRange(1, 3650), default=90, show_default=True)
@click.option("--git", help="The repository that the policy was written in.")
@click.option("--commit", help="The commit that it was built from.")
@click.option("--approval", multiple=True, help="Who approved it; may be repeated.")
def build(
    policy: Path,
    out: Path,
    head: Path | None,
    central: str | None,
    scope: str | None,
    epoch: int | None,
    version: int | None,
    expires_days: int,
    git: str | None,
    commit: str | None,
    approval: tuple[str, ...],
) -> None:
    """Compile and test POLICY, and write it as an unsigned bundle.

    --head, or --central with --scope, gives scope, epoch and the next version; without them all
    three must be named. The bundle holds from now on.
    """
    current = _current(head, central, scope)
    if current is not None:
        scope = scope or current.scope
        epoch = epoch or current.epoch
        version = version or _newest(current) + 1
    if scope is None or epoch is None or version is None:
        raise click.UsageError(
            "name --head, or --central and --scope, or all of --scope, --epoch and --version"
        )
    source = policy_in(policy)
    now_us = SystemClock().wall_us()
    try:
        issued = issuing.build_bundle(
            source.policy,
            scope=scope,
            epoch=epoch,
            version=version,
            issued_us=now_us,
            not_before_us=now_us,
            expires_us=now_us + expires_days * _DAY_US,
            source=Source(git, commit, list(approval)) if git or commit or approval else None,
            signers=[],
        )
    except DocumentInvalid as error:
        raise click.ClickException(plain(f"{policy}: {error.detail}")) from error
    write_envelope(out, seal.parse_envelope(issued.envelope))
    click.echo(plain(f"{out}: {scope} version {version}, {issued.digest}"))
    click.echo(plain(f"next: gatepost keys sign {out} --key KEY --root ROOTS"))


def _current(head: Path | None, central: str | None, scope: str | None) -> PolicyHead | None:
    """The head in force, if one is named. Its signature is not checked: it only saves typing.
    Every daemon checks what is published."""
    if head is not None:
        return _head(read_envelope(head), str(head))
    if central is None or scope is None:
        return None
    client = CentralClient(central.rstrip("/"), None)
    answer = client.get(f"/v1/policy/{urllib.parse.quote(scope, safe='')}/head")
    try:
        return _head(seal.parse_envelope(answer), central)
    except DocumentInvalid as error:
        raise click.ClickException(plain(f"{central}: {error.detail}")) from error


def _newest(head: PolicyHead) -> int:
    return head.bundle.version if head.next is None else head.next.version


def _head(envelope: Envelope, place: str) -> PolicyHead:
    try:
        if envelope.payload_type != documents.POLICY_HEAD:
            raise DocumentInvalid("type", f"is {envelope.payload_type!r}, not a head")
        return documents.decode_exact(seal.unbase64(envelope.payload, "unreadable"), PolicyHead)
    except DocumentInvalid as error:
        raise click.ClickException(plain(f"{place}: {error.detail}")) from error
