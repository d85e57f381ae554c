"""Making the signed policy documents: root, bundle and head, as exact bytes.

The other side of ``policy_cache.trusted``, used by those who hold keys. Pure: times are
arguments, keys are ``Signer``s.

Owns: putting a document together, checking that a bundle would be accepted, and signing it.
Refuses: where keys live, who may publish, and version numbering.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from gateway import documents, policy
from gateway.documents import (
    BundlePin,
    Candidate,
    Envelope,
    Lock,
    PolicyHead,
    Refresh,
    Role,
    Roles,
    Root,
)
from gateway.errors import DocumentInvalid
from gateway.limits import POLICY_BUNDLE_BYTES_MAX
from gateway.policy import Bundle, Policy, Source
from gateway.seal import Signer, envelope, pae, sha256_text
from gateway.selftest import run_self_tests
from gateway.table import compile_policy
from gateway.timestamp import time_text

SPEC: Final = 1
ROLE_NAMES: Final = Roles.__struct_fields__


class Issued(msgspec.Struct, frozen=True):
    """A signed document: its exact payload, the DSSE JSON around it, the payload's SHA-256.

    ``envelope`` is what is served: heads and roots by name, bundles by ``digest``.
    """

    payload: bytes
    envelope: bytes
    digest: str

    @property
    def pin(self) -> str:
        """The fingerprint by which root 1 is pinned: ``sha256:<hex>`` of the payload."""
        return self.digest


def sign(payload_type: str, payload: bytes, signers: Sequence[Signer]) -> Issued:
    """``payload`` signed by every one of ``signers``."""
    framed = pae(payload_type, payload)
    sealed: Envelope = envelope(
        payload_type, payload, [(signer.kid, signer.sign(framed)) for signer in signers]
    )
    return Issued(payload, documents.encode(sealed), sha256_text(payload))


def role(public_keys: Sequence[Signer], threshold: int = 1) -> Role:
    """A role held by these keys, of which ``threshold`` must sign."""
    if not 1 <= threshold <= len(public_keys):
        raise ValueError(f"a threshold of {threshold} with {len(public_keys)} keys")
    return Role(keyids=sorted(signer.kid for signer in public_keys), threshold=threshold)


def build_root(
    *,
    version: int,
    epoch: int,
    custody: str,
    issued_us: int,
    expires_us: int,
    scopes: Sequence[str],
    keys: Mapping[str, str],
    roles: Mapping[str, Role],
    signers: Sequence[Signer],
) -> Issued:
    """Root ``version``. ``keys``: keyid → base64 public key; ``roles``: all of ``ROLE_NAMES``.

    ``signers``: for version 1 the root keys of it, for N+1 those of N and of N+1. ``custody``:
    ``development`` or ``offline``. Raises ValueError for a missing role or key.
    """
    if set(roles) != set(ROLE_NAMES):
        raise ValueError(f"roles are {sorted(roles)}, wanted {sorted(ROLE_NAMES)}")
    missing = {keyid for each in roles.values() for keyid in each.keyids} - set(keys)
    if missing:
        raise ValueError(f"no key for {sorted(missing)}")
    document = Root(
        spec=SPEC,
        version=version,
        epoch=epoch,
        custody=custody,
        issued=time_text(issued_us),
        expires=time_text(expires_us),
        scopes=list(scopes),
        keys=dict(sorted(keys.items())),
        roles=Roles(**{name: roles[name] for name in ROLE_NAMES}),
    )
    return sign(documents.ROOT, documents.encode(document), signers)


def build_bundle(
    content: Policy,
    *,
    scope: str,
    epoch: int,
    version: int,
    issued_us: int,
    not_before_us: int,
    expires_us: int,
    source: Source | None,
    signers: Sequence[Signer],
) -> Issued:
    """A bundle of ``content``, compiled and self-tested first.

    Raises DocumentInvalid (``policy``, ``selftest``, ``length``, ``unsupported``, ``unreadable``,
    ``inexact``) for one that no daemon would accept.
    """
    document = Bundle(
        spec=SPEC,
        scope=scope,
        epoch=epoch,
        version=version,
        issued=time_text(issued_us),
        not_before=time_text(not_before_us),
        expires=time_text(expires_us),
        engine=policy.ENGINE,
        source=source,
        policy=content,
    )
    payload = policy.encode(document)
    if len(payload) > POLICY_BUNDLE_BYTES_MAX:
        raise DocumentInvalid(
            "length", f"the bundle has {len(payload)} bytes; at most {POLICY_BUNDLE_BYTES_MAX}"
        )
    # What a daemon will read is checked, not what the caller holds in memory.
    run_self_tests(compile_policy(policy.decode_bundle(payload).policy))
    return sign(documents.BUNDLE, payload, signers)


def build_head(
    bundle: Issued,
    *,
    bundle_version: int,
    scope: str,
    epoch: int,
    version: int,
    root_version: int,
    issued_us: int,
    expires_us: int,
    candidate: Candidate | None = None,
    lock: Lock | None = None,
    refresh: Refresh | None = None,
    min_gatepost: str | None = None,
    signers: Sequence[Signer],
) -> Issued:
    """The head that pins ``bundle``; with ``lock`` it stops every call of the scope."""
    document = PolicyHead(
        spec=SPEC,
        scope=scope,
        epoch=epoch,
        version=version,
        root_version=root_version,
        issued=time_text(issued_us),
        expires=time_text(expires_us),
        bundle=BundlePin(version=bundle_version, digest=bundle.digest, length=len(bundle.payload)),
        next=candidate,
        lock=lock,
        refresh=refresh,
        min_gatepost=min_gatepost,
    )
    return sign(documents.POLICY_HEAD, documents.encode(document), signers)
