"""How far a document is signed, as a person or a program reads it.

Owns: the words about thresholds, who signed and who did not, and what to do with a document that
is complete. Refuses: judging (``gateway.quorum``).
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import msgspec

from gatepost.terminal import plain
from gateway import documents, quorum, roots, seal, wording
from gateway.documents import Envelope, Root
from gateway.quorum import Standing

_DAY_US: Final = 86_400_000_000


class RoleLine(msgspec.Struct, frozen=True):
    """One threshold. ``missing``: key ids of the role that have not signed."""

    role: str
    root_version: int
    threshold: int
    signed: list[str]
    missing: list[str]
    met: bool


class SignedFile(msgspec.Struct, frozen=True, kw_only=True):
    """One document. ``digest``: SHA-256 of the payload; of root 1 it is the fingerprint.

    ``says``: what it says in plain words. ``custody``: of the root that it is held against.
    ``strangers``: key ids of signatures that nothing here asks for.
    """

    file: str
    kind: str
    digest: str
    says: list[str]
    roles: list[RoleLine]
    strangers: list[str]
    custody: str
    complete: bool


def report(path: Path, envelope: Envelope, held: list[Root]) -> SignedFile:
    """What ``path`` holds, under the newest of ``held``. Raises DocumentInvalid."""
    before = held[-1] if held else None
    payload = quorum.payload_of(envelope)
    says = wording.told(envelope.payload_type, payload, before)
    needs = quorum.needs_of(envelope, before)
    standings = quorum.standings(envelope, needs)
    ruling = before if envelope.payload_type != documents.ROOT else roots.decode_root(payload)
    return SignedFile(
        file=str(path),
        kind=wording.NAMES[envelope.payload_type],
        digest=seal.sha256_text(payload),
        says=says,
        roles=[_line(one) for one in standings],
        strangers=quorum.strangers(envelope, needs),
        custody="" if ruling is None else ruling.custody,
        complete=all(one.met for one in standings),
    )


def _line(standing: Standing) -> RoleLine:
    need = standing.need
    return RoleLine(
        role=need.role,
        root_version=need.root_version,
        threshold=need.keys.threshold,
        signed=standing.signed,
        missing=[kid for kid in need.keys.keys if kid not in standing.signed],
        met=standing.met,
    )


def tell(found: SignedFile) -> None:
    """Print it."""
    for line in _lines(found):
        click.echo(plain(line))


def _lines(found: SignedFile) -> Iterator[str]:
    yield f"{found.file}: {found.kind} {found.digest}"
    yield from found.says
    yield from signatures(found)


def signatures(found: SignedFile) -> Iterator[str]:
    """Who signed, role by role, and who is asked for."""
    for one in found.roles:
        state = "enough" if one.met else "not enough yet"
        yield (
            f"signed by {len(one.signed)} of the {one.threshold} that root {one.root_version}"
            f" wants for the role {one.role}: {state}"
        )
        yield from (f"  signed   {kid}" for kid in one.signed)
        yield from (f"  not yet  {kid}" for kid in one.missing)
    yield from (f"  a key that is asked nothing here: {kid}" for kid in found.strangers)
    yield f"custody: {found.custody}"
    if found.custody == "development":
        yield "  all these keys lie in one place: its owner could have signed anything"


def expiry(envelope: Envelope, now_us: int) -> str | None:
    """How long the document lasts, in words; None for one that does not end."""
    ends_us = wording.expiry_us(envelope.payload_type, quorum.payload_of(envelope))
    if ends_us is None:
        return None
    if ends_us <= now_us:
        return "it has EXPIRED"
    return f"it expires in {(ends_us - now_us) // _DAY_US} days"


def next_step(envelope: Envelope) -> str:
    """What to do with the document now that enough have signed."""
    payload = base64.b64decode(envelope.payload)
    if envelope.payload_type == documents.ROOT:
        root = roots.decode_root(payload)
        first = f"; everybody pins {seal.sha256_text(payload)}" if root.version == 1 else ""
        return (
            f"complete: put it as {root.version}.json into roots_directory of the central"
            f" services and start them again; daemons follow with their next refresh{first}"
        )
    if envelope.payload_type == documents.BUNDLE:
        return "complete: publish it with POST /v1/policy/<scope>/bundles (an operator's token)"
    if envelope.payload_type == documents.REVOCATION:
        return (
            "complete: bring it to the issuer and to each record store with POST /v1/revocations"
            " (no token is needed)"
        )
    return "complete: install it with gatepost store install-statement"
