"""The bundles that a head names beside the one in force, and what a mirror asks of them.

Owns: finding every pin of a head, and acceptance of a bundle that is only passed on: length and
digest as the signed head says, and the threshold of the bundle role. Refuses: reading the policy in
it; the daemons that shall run it do, and fetching.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator

import msgspec

from gateway import documents, roots, seal
from gateway.documents import BundlePin, Candidate, PolicyHead, Root
from gateway.errors import DocumentInvalid
from gateway.limits import POLICY_BUNDLE_BYTES_MAX
from policy_cache.trusted import envelope_bytes_max


def head_in(envelope: bytes) -> PolicyHead:
    """The head in an envelope that was verified before. Raises DocumentInvalid."""
    payload = seal.unbase64(seal.parse_envelope(envelope).payload, "unreadable")
    return documents.decode_exact(payload, PolicyHead)


def further_pins(head: PolicyHead) -> list[BundlePin]:
    """Every pin that ``head`` names anywhere in it, without that of the bundle in force."""
    found = {pin.digest: pin for pin in _pins(head)}
    found.pop(head.bundle.digest, None)
    return list(found.values())


def _pins(value: object) -> Iterator[BundlePin]:
    if isinstance(value, BundlePin):
        yield value
    elif isinstance(value, Candidate):
        yield BundlePin(version=value.version, digest=value.digest, length=value.length)
    elif isinstance(value, msgspec.Struct):
        for field in value.__struct_fields__:
            yield from _pins(getattr(value, field))
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _pins(one)


def check_pinned(data: bytes, pin: BundlePin, root: Root) -> None:
    """Raise DocumentInvalid (``length``, ``digest``, ``unreadable``, and those of ``seal``) unless
    ``data`` is the envelope of the bundle that ``pin`` names, signed by the bundle role."""
    if not 0 < pin.length <= POLICY_BUNDLE_BYTES_MAX or len(data) > envelope_bytes_max(pin.length):
        raise DocumentInvalid("length", f"{len(data)} bytes around a bundle of {pin.length}")
    envelope = seal.parse_envelope(data)
    payload = seal.unbase64(envelope.payload, "unreadable")
    if base64.b64encode(payload).decode() != envelope.payload:
        raise DocumentInvalid("unreadable", "the payload is not in the one form of base64")
    if len(payload) != pin.length:
        raise DocumentInvalid("length", f"{len(payload)} bytes, pinned are {pin.length}")
    if seal.sha256_text(payload) != pin.digest:
        raise DocumentInvalid("digest", f"the bundle is not {pin.digest}")
    keys = roots.role_keys(root, "bundle")
    seal.open_envelope(envelope, documents.BUNDLE, keys.keys, keys.threshold)
