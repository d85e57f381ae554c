"""The bundles that a head names beside the one in force.

Owns: finding every pin of a head. Refuses: fetching, and judging what a pin names
(``policy_cache.trusted``).
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from gateway import documents, seal
from gateway.documents import BundlePin, Candidate, PolicyHead


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
