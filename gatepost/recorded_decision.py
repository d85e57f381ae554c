"""One recorded decision, from a record store or from an export, and the bundle that made it.

Owns: asking for both. Refuses: proving the record (``gatepost verify``) or the bundle's signatures
(``gatepost replay --root``): what is explained here is what they say.
"""

from __future__ import annotations

import urllib.parse
from pathlib import Path
from typing import Final

import click
import msgspec

from gatepost.central_client import CentralClient, client_of
from gatepost.export_file import Unusable, lines_of
from gatepost.faults import InputOutputError
from gatepost.terminal import plain
from gateway import documents, envelope_line, record, seal
from gateway.errors import DocumentInvalid
from gateway.policy import Policy, decode_bundle
from gateway.record import Decision


class _Detail(msgspec.Struct, frozen=True):
    """Of a store's answer, what is needed here."""

    payload: str


_ID_WITHIN_BYTES: Final = 128
_details: Final = msgspec.json.Decoder(_Detail)


class Wanted(msgspec.Struct, frozen=True):
    """The decision ``name`` (an id; at a store also a record hash) and where it lies: in the file
    ``export``, or at the services of ``central``, with the token in ``token_file``."""

    name: str
    export: Path | None
    central: str | None
    token_file: Path | None
    region: str | None


def decision_of(wanted: Wanted) -> Decision:
    """The decision itself. Raises InputOutputError, and ``click.UsageError`` where no place is
    named; ends with exit code 1 for a record of another kind."""
    if wanted.export is not None:
        return _in_export(wanted.export, wanted.name)
    if wanted.central is None or wanted.token_file is None:
        raise click.UsageError("--decision: name --export, or --central and --token-file")
    client = client_of(wanted.central, wanted.token_file)
    parameters = {} if wanted.region is None else {"region": wanted.region}
    path = f"/v1/records/{urllib.parse.quote(wanted.name, safe='')}"
    answer = client.get(path, parameters)
    try:
        payload = seal.unbase64(_details.decode(answer).payload, "unreadable")
        return _decision(record.decode(payload), wanted.name)
    except (DocumentInvalid, msgspec.DecodeError) as error:
        raise InputOutputError(plain(f"{wanted.name}: the store's answer: {error}")) from error


def _in_export(export: Path, name: str) -> Decision:
    wanted = f'"id":"{name}"'.encode()
    try:
        for line in lines_of(export, lambda _: None):
            if not envelope_line.is_record(line):
                continue
            payload = envelope_line.read_record(line).payload
            # Members stand in one order for ever, so the id is near the beginning.
            if wanted in payload[:_ID_WITHIN_BYTES]:
                return _decision(record.decode(payload), name)
    except (Unusable, DocumentInvalid, msgspec.DecodeError) as error:
        raise InputOutputError(plain(f"{export}: {error}")) from error
    raise InputOutputError(plain(f"{export}: no record {name}"))


def bundle_of(central: str, decision: Decision) -> tuple[Policy, str]:
    """The policy that ruled on ``decision``, and its digest. Raises InputOutputError, and ends
    with exit code 1 where no policy did."""
    digest = decision.policy.digest
    if digest is None:
        raise click.ClickException("no policy was there: the call was refused without one")
    path = f"/v1/policy/blobs/sha256/{digest.removeprefix('sha256:')}"
    try:
        envelope = seal.parse_envelope(CentralClient(central.rstrip("/"), None).get(path))
        payload = seal.unbase64(envelope.payload, "unreadable")
        if envelope.payload_type != documents.BUNDLE or seal.sha256_text(payload) != digest:
            raise DocumentInvalid("digest", "is not what was asked for")
        return decode_bundle(payload).policy, digest
    except DocumentInvalid as error:
        raise InputOutputError(plain(f"the bundle {digest}: {error.detail}")) from error


def _decision(found: object, name: str) -> Decision:
    if isinstance(found, Decision):
        return found
    raise click.ClickException(plain(f"{name} is no decision"))
