"""What recorded decisions are put to: a signed bundle, or a policy as its author writes it.

Owns: telling the two apart, and whose signatures a bundle must have. Refuses: fetching; it is a
file. A bundle that no daemon would use (it does not compile, or fails its own tests) is not used.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from gatepost.export_file import Unusable
from gateway import documents, limits, policy, roots, seal
from gateway.documents import Envelope
from gateway.errors import DocumentInvalid
from gateway.policy import Policy
from gateway.replay import Replay
from gateway.selftest import run_self_tests

_BYTES_MAX: Final = 2 * limits.POLICY_BUNDLE_BYTES_MAX


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """``digest``, ``scope`` and ``version``: of a bundle; None for a plain policy, which no record
    can name. ``envelope``: the bundle's, to check signatures of."""

    replay: Replay
    digest: str | None
    scope: str | None
    version: int | None
    envelope: Envelope | None


def read_given(path: Path) -> Given:
    """The bundle or policy in ``path``, compiled and tested. Raises Unusable."""
    try:
        with path.open("rb") as file:
            data = file.read(_BYTES_MAX)
        return given_in(data)
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror or error}") from error
    except DocumentInvalid as error:
        raise Unusable(f"{path}: {error}") from error


def given_in(data: bytes) -> Given:
    """The bundle or policy that ``data`` is. Raises DocumentInvalid."""
    return _bundle(data) if b'"payloadType"' in data[:64] else _plain(data)


def _bundle(data: bytes) -> Given:
    envelope = seal.parse_envelope(data)
    if envelope.payload_type != documents.BUNDLE:
        raise DocumentInvalid("type", f"is {envelope.payload_type!r}, not a bundle")
    payload = seal.unbase64(envelope.payload, "unreadable")
    document = policy.decode_bundle(payload)
    if document.spec != policy.SPEC or document.engine != policy.ENGINE:
        raise DocumentInvalid(
            "incompatible", f"bundle spec {document.spec}, engine {document.engine!r}"
        )
    digest = seal.sha256_text(payload)
    return Given(
        replay=_tested(document.policy, digest),
        digest=digest,
        scope=document.scope,
        version=document.version,
        envelope=envelope,
    )


def _plain(data: bytes) -> Given:
    replay = _tested(policy.decode_policy(data), None)
    return Given(replay=replay, digest=None, scope=None, version=None, envelope=None)


def _tested(document: Policy, digest: str | None) -> Replay:
    replay = Replay(document, digest)
    run_self_tests(replay.table)
    return replay


def check_signed(bundle: Envelope, chain: Sequence[Envelope], fingerprint: str) -> None:
    """Whether the people whom one of the roots in ``chain`` entrusts with bundles signed it.

    Any root of the chain from ``fingerprint`` counts: a bundle outlives its signers' keys in the
    newest one. Raises Unusable.
    """
    try:
        found = roots.walk(chain, fingerprint)
    except DocumentInvalid as error:
        raise Unusable(f"the root documents of the export: {error}") from error
    refused = ""
    for root in reversed(found):
        held = roots.role_keys(root, "bundle")
        try:
            seal.open_envelope(bundle, documents.BUNDLE, held.keys, held.threshold)
        except DocumentInvalid as error:
            refused = refused or str(error)
        else:
            return
    raise Unusable(f"the bundle is not signed as these roots want: {refused}")
