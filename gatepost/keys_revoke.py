"""``gatepost keys revoke``: a signed statement that a key is no longer to be believed.

Owns: drafting it and the first signatures. Refuses: keys of a role (the next root drops those),
and bringing it to the services; it is its own credential, and anybody may.
"""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from gatepost import signing_report
from gatepost.faults import InputOutputError
from gatepost.key_file import read_signer
from gatepost.signed_file import read_envelope, read_roots, replace_envelope, write_draft
from gateway import documents, quorum, revoking
from gateway.errors import DocumentInvalid
from gateway.io.clock import SystemClock
from gateway.timestamp import time_micros


@click.command()
@click.argument("kid")
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    required=True,
    help="The newest root, or better the directory 1.json … N.json.",
)
@click.option("--reason", required=True, help="Stands in the revocation, for every auditor.")
@click.option(
    "--untrusted-from",
    help="Nothing that the key signed from here on is believed: 2026-11-28T09:30:00.000000Z,"
    " the earliest moment at which somebody else may have had it. By default now.",
)
@click.option("--serial", help="Take back this one certificate of the key only.")
@click.option(
    "--key",
    "keys",
    type=click.Path(path_type=Path),
    multiple=True,
    help="A key file of the role revocation. Others sign with gatepost keys sign.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The file to write.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of words.")
def revoke(
    kid: str,
    root: Path,
    reason: str,
    untrusted_from: str | None,
    serial: str | None,
    keys: tuple[Path, ...],
    out: Path,
    as_json: bool,
) -> None:
    """Write a revocation of the instance key or host key KID (ed25519:<hex>).

    Keys of the roles root, bundle, policy_head, issuer, log and revocation are not revoked: draft
    the next root without them (gatepost keys rotate-root).
    """
    held = read_roots(root)
    now_us = SystemClock().wall_us()
    signers = [read_signer(path) for path in keys]
    try:
        document = revoking.draft(
            kid=kid,
            serial=serial,
            reason=reason,
            untrusted_from_us=_moment(untrusted_from, now_us),
            now_us=now_us,
            chain=held,
        )
    except DocumentInvalid as error:
        raise InputOutputError(error.detail) from error
    write_draft(out, documents.REVOCATION, documents.encode(document))
    envelope = read_envelope(out)
    try:
        needs = quorum.needs_of(envelope, held[-1])
        for signer in signers:
            envelope = quorum.add_signature(envelope, signer, needs)
        found = signing_report.report(out, envelope, held)
    except DocumentInvalid as error:
        out.unlink()
        raise click.ClickException(error.detail) from error
    replace_envelope(out, envelope)
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    signing_report.tell(found)
    if found.complete:
        click.echo(signing_report.next_step(envelope))
    else:
        click.echo(f"others sign it with: gatepost keys sign {out} --root {root} --key THEIR.key")


def _moment(text: str | None, now_us: int) -> int:
    if text is None:
        return now_us
    try:
        return time_micros(text)
    except ValueError as error:
        raise click.UsageError(f"--untrusted-from {text!r}: {error}") from error
